"""The module tree of an instantiated model, with identical siblings merged into one node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from torch import nn

from tinylm_cli.model.block import TransformerBlock
from tinylm_cli.model.experts import ExpertFeedForward
from tinylm_cli.model.loop import Loop
from tinylm_cli.model.norm import Norm
from tinylm_cli.model.position import NoPosition, SinusoidalPosition
from tinylm_cli.model.rope import RotaryPosition, RotaryPositions
from tinylm_cli.model.sequence_mixer import SequenceMixer
from tinylm_cli.model.state_dict import Shape
from tinylm_cli.quantities import consecutive_ranges, index_ranges
from tinylm_cli.reports.architecture import ModuleNode

SHOWN_WITHOUT_PARAMETERS = (SinusoidalPosition, RotaryPosition, RotaryPositions, NoPosition, Norm, Loop)
"""Modules listed even without parameters: readers look for positions, norms and loops."""


def module_tree(model: nn.Module, *, expand: bool = False) -> ModuleNode:
    """Return the module tree of ``model``; works on any device.

    Modules without parameters are omitted, unless they are positions, norms or loops. In a ``ModuleList``, siblings
    with equal class, settings, parameters and children form one node with a count, even if not adjacent. A module that
    only wraps a single child is merged with it under a dotted name, such as ``token_embedding.embedding``.

    Args:
        model: The root module.
        expand: Whether to return a separate node for each sibling.

    Returns:
        The root node. ``params`` counts a tied parameter at the first module that holds it.
    """
    part = _read(model, "", {}, {})
    return _node(type(model).__name__, part, total=part.params, expand=expand)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A module, or a parameter other than a weight or bias, without its name: identical modules share one part.

    Attributes:
        kind: Class name.
        shape: Shape of its own weight, or None.
        params: Number of parameters that it and its children own.
        tied_to: Path of the module that owns its tied parameter, or None.
        is_list: Whether its children are siblings in a ``ModuleList``.
        wraps: Whether it only wraps a single child.
        visible: Whether it appears in the tree.
        settings: Settings that are not visible in its shapes, by config field.
        layer_kind: Name of the kind of layers that it is of; empty if it is not a layer, or its kind has no name.
        children: Name and part of each child, visible or not.
    """

    kind: str
    shape: Shape | None
    params: int
    tied_to: str | None
    is_list: bool = False
    wraps: bool = False
    visible: bool = True
    settings: tuple[tuple[str, int], ...] = ()
    layer_kind: str = ""
    children: tuple[tuple[str, _Part], ...] = ()


_Identity = tuple[object, ...]
"""Distinguishes modules: class, public attributes, parameters, and the parts of the children by identity."""


def _read(module: nn.Module, path: str, owners: dict[int, str], parts: dict[_Identity, _Part]) -> _Part:
    """Return the part for ``module`` at the dotted ``path``.

    Args:
        module: The module.
        path: Its name in the model.
        owners: Paths of the parameters read so far, which are added to.
        parts: The parts read so far, which are added to; an identical module returns the same part.
    """
    parameters: list[tuple[str, Shape, str | None]] = []
    for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
        parameters.append((name, tuple(parameter.shape), owners.get(id(parameter))))
        owners.setdefault(id(parameter), path)
    modules = {
        name: _read(child, f"{path}.{name}" if path else name, owners, parts) for name, child in module.named_children()
    }
    identity = (type(module), *_attributes(module), *parameters, *modules.items())
    if identity not in parts:
        parts[identity] = _part(module, parameters, modules)
    return parts[identity]


def _part(module: nn.Module, parameters: list[tuple[str, Shape, str | None]], modules: dict[str, _Part]) -> _Part:
    """Return the part of a module with these parameters (name, shape, owner if it is tied) and these children."""
    tensors = {
        name: _Part("Parameter", shape, prod(shape) if owner is None else 0, owner) for name, shape, owner in parameters
    }
    own = ("weight", "bias") if "weight" in tensors else ()  # shown in the line of the module
    children = {name: part for name, part in tensors.items() if name not in own} | modules
    if isinstance(module, RotaryPositions):
        children = {}  # encodings without parameters, which differ in their frequencies only
    shown = [part for part in children.values() if part.visible]
    is_list = isinstance(module, nn.ModuleList)
    return _Part(
        kind=type(module).__name__,
        shape=tensors["weight"].shape if "weight" in tensors else None,
        params=sum(part.params for part in (*tensors.values(), *modules.values())),
        tied_to=next((part.tied_to for part in tensors.values() if part.tied_to is not None), None),
        is_list=is_list,
        wraps=not tensors and not is_list and len(shown) == 1 and not shown[0].is_list,
        visible=bool(tensors or shown) or isinstance(module, SHOWN_WITHOUT_PARAMETERS),
        settings=tuple(_shown_settings(module)),
        layer_kind=module.kind if isinstance(module, TransformerBlock) else "",
        children=tuple(children.items()),
    )


def _shown_settings(module: nn.Module) -> Iterator[tuple[str, int]]:
    """Yield the settings of a module that are not visible in its shapes."""
    if isinstance(module, SequenceMixer):
        yield from module.shown_settings()
    elif isinstance(module, TransformerBlock) and module.window is not None:
        yield "chunk" if module.chunked else "window", module.window
    elif isinstance(module, Loop):
        yield from module.shown_settings()
    elif isinstance(module, ExpertFeedForward):
        yield "n_experts", module.experts.n_experts
        yield "top_k", module.router.top_k


def _attributes(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the public attributes of a module as text, without its initial values, which may depend on the layer."""
    for name, value in vars(module).items():
        if not name.startswith("_") and name not in ("training", "initial_values"):
            yield name, repr(value)


def _node(name: str, part: _Part, *, total: int, expand: bool, count: int = 1) -> ModuleNode:
    params = count * part.params
    return ModuleNode(
        name=name,
        kind=part.kind,
        count=count,
        shape=part.shape,
        params=params,
        share=params / total if total else 0.0,
        tied_to=part.tied_to,
        settings=dict(part.settings),
        layer_kind=part.layer_kind,
        children=tuple(_children(part, total=total, expand=expand)),
    )


def _children(parent: _Part, *, total: int, expand: bool) -> Iterator[ModuleNode]:
    shown = [(name, part) for name, part in parent.children if part.visible]
    if parent.is_list and not expand:
        indices_of: dict[_Part, list[int]] = {}
        for name, part in shown:
            indices_of.setdefault(part, []).append(int(name))
        for part, indices in indices_of.items():
            yield _node(index_ranges(consecutive_ranges(indices)), part, total=total, expand=expand, count=len(indices))
        return
    for name, part in shown:
        while part.wraps and not parent.is_list:
            inner, part = next(child for child in part.children if child[1].visible)
            name = f"{name}.{inner}"
        yield _node(name, part, total=total, expand=expand)
