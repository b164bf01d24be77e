"""The module tree of an instantiated model, with identical siblings merged into one node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from tinylm_cli.model.attention import SelfAttention
from tinylm_cli.model.block import TransformerBlock
from tinylm_cli.model.experts import ExpertFeedForward
from tinylm_cli.model.latent_attention import LatentAttention
from tinylm_cli.model.norm import Norm
from tinylm_cli.model.position import NoPosition, SinusoidalPosition
from tinylm_cli.model.rope import RotaryPosition
from tinylm_cli.model.state_dict import Shape
from tinylm_cli.reports.architecture import ModuleNode

MAX_RANGES = 3

SHOWN_WITHOUT_PARAMETERS = (SinusoidalPosition, RotaryPosition, NoPosition, Norm)
"""Modules listed even without parameters: readers look for positions and norms."""


def module_tree(model: nn.Module, *, expand: bool = False) -> ModuleNode:
    """Return the module tree of ``model``; works on any device.

    Modules without parameters are omitted, unless they are positions or norms. In a ``ModuleList``, siblings with equal
    class, settings, parameters and children form one node with a count, even if not adjacent. A module that only wraps
    a single child is merged with it under a dotted name, such as ``token_embedding.embedding``.

    Args:
        model: The root module.
        expand: Whether to return a separate node for each sibling.

    Returns:
        The root node. ``params`` counts a tied parameter at the first module that holds it.
    """
    part = _Reader().read(model, "")
    return _node(type(model).__name__, part, total=part.params, expand=expand)


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """Represents all identical modules; two modules are identical if their parts are the same object.

    Attributes:
        kind: Class name.
        shape: Shape of its own weight, or None.
        params: Number of parameters that it and its children own.
        tied_to: Path of the module that owns its tied parameter, or None.
        is_list: Whether its children are siblings in a ``ModuleList``.
        wraps: Whether it only wraps a single child.
        visible: Whether it appears in the tree.
        settings: Settings that are not visible in its shapes, by config field.
        children: Name and part of each parameter other than weight and bias, and of each visible child.
    """

    kind: str
    shape: Shape | None
    params: int
    tied_to: str | None
    is_list: bool
    wraps: bool
    visible: bool
    settings: tuple[tuple[str, int], ...]
    children: tuple[tuple[str, _Part], ...]


class _Reader:
    """Reads a module tree in one traversal, and recognizes modules identical to earlier ones.

    Parts are keyed by class, settings, parameters and the parts of children. Comparing two modules therefore takes time
    proportional to the number of their direct children.
    """

    def __init__(self) -> None:
        self._known: dict[object, _Part] = {}
        self._owners: dict[int, str] = {}

    def read(self, module: nn.Module, path: str) -> _Part:
        """Return the part for ``module`` at the dotted ``path``."""
        tensors = tuple(self._tensors(module, path))
        children = tuple(
            (name, self.read(child, f"{path}.{name}" if path else name)) for name, child in module.named_children()
        )
        key = (type(module), tensors, tuple(_settings(module)), children)
        part = self._known.get(key)
        if part is None:
            part = self._known[key] = _part(module, tensors, children)
        return part

    def _tensors(self, module: nn.Module, path: str) -> Iterator[tuple[str, Shape, int, str | None]]:
        """Yield name, shape, elements and, for a tied parameter, the path of the module that owns it."""
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            owner = self._owners.get(id(parameter))
            self._owners.setdefault(id(parameter), path)
            yield name, tuple(parameter.shape), parameter.numel(), owner


def _part(
    module: nn.Module,
    tensors: tuple[tuple[str, Shape, int, str | None], ...],
    children: tuple[tuple[str, _Part], ...],
) -> _Part:
    beside = tuple(
        (name, _parameter(shape, n, owner)) for name, shape, n, owner in tensors if name not in ("weight", "bias")
    )
    shown = beside + tuple((name, part) for name, part in children if part.visible)
    is_list = isinstance(module, nn.ModuleList)
    return _Part(
        kind=type(module).__name__,
        shape=next((shape for name, shape, _, _ in tensors if name == "weight"), None),
        params=sum(n for _, _, n, owner in tensors if owner is None) + sum(part.params for _, part in children),
        tied_to=next((owner for _, _, _, owner in tensors if owner is not None), None),
        is_list=is_list,
        wraps=not tensors and not is_list and len(shown) == 1 and not shown[0][1].is_list,
        visible=bool(tensors or shown) or isinstance(module, SHOWN_WITHOUT_PARAMETERS),
        settings=tuple(_shown_settings(module)),
        children=shown,
    )


def _parameter(shape: Shape, elements: int, owner: str | None) -> _Part:
    """Return the part for a parameter other than a weight or bias, such as attention sinks."""
    return _Part(
        kind="Parameter",
        shape=shape,
        params=elements if owner is None else 0,
        tied_to=owner,
        is_list=False,
        wraps=False,
        visible=True,
        settings=(),
        children=(),
    )


def _shown_settings(module: nn.Module) -> Iterator[tuple[str, int]]:
    """Yield the settings of a module that are not visible in its shapes."""
    if isinstance(module, SelfAttention):
        n_heads, n_kv_heads = (proj.out_features // module.d_head for proj in (module.q_proj, module.k_proj))
        yield "n_heads", n_heads
        if n_kv_heads != n_heads:
            yield "n_kv_heads", n_kv_heads
    elif isinstance(module, LatentAttention):
        yield "n_heads", module.n_heads
        yield "kv_rank", module.kv_rank
    elif isinstance(module, TransformerBlock) and module.window is not None:
        yield "window", module.window
    elif isinstance(module, ExpertFeedForward):
        yield "n_experts", module.experts.n_experts
        yield "top_k", module.router.top_k


def _settings(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the public attributes of a module as text; they distinguish modules of one class."""
    for name, value in vars(module).items():
        if not name.startswith("_") and name != "training":
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
        children=tuple(_children(part, total=total, expand=expand)),
    )


def _children(parent: _Part, *, total: int, expand: bool) -> Iterator[ModuleNode]:
    if not parent.is_list:
        for name, part in parent.children:
            while part.wraps:
                inner, part = part.children[0]
                name = f"{name}.{inner}"
            yield _node(name, part, total=total, expand=expand)
    elif expand:
        for name, part in parent.children:
            yield _node(name, part, total=total, expand=expand)
    else:
        indices_of: dict[_Part, list[int]] = {}
        for name, part in parent.children:
            indices_of.setdefault(part, []).append(int(name))
        for part, indices in indices_of.items():
            yield _node(_range_text(indices), part, total=total, expand=expand, count=len(indices))


def _range_text(indices: list[int]) -> str:
    """Format ascending indices as ranges; many are shortened to ``0..4, 6..10, …, 24..25``."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and index == ranges[-1][-1] + 1:
            ranges[-1].append(index)
        else:
            ranges.append([index])
    words = [str(one[0]) if len(one) == 1 else f"{one[0]}..{one[-1]}" for one in ranges]
    return ", ".join(words if len(words) <= MAX_RANGES else [*words[: MAX_RANGES - 1], "…", words[-1]])
