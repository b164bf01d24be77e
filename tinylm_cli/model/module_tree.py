"""What an instantiated model is made of: the tree of its modules, and its parameters by name."""

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
from tinylm_cli.model.rotary import RotaryPosition
from tinylm_cli.reports.architecture import ModuleNode

Shape = tuple[int, ...]

MOST_RANGES = 3

SHOWN_WITHOUT_PARAMETERS = (SinusoidalPosition, RotaryPosition, NoPosition, Norm)
"""A learner looks for the positions and the norms, and learns from a 0 beside them."""


def describe(model: nn.Module, *, expand: bool = False) -> ModuleNode:
    """Return the tree of ``model`` as it stands, on any device.

    Modules without parameters are left out, unless they are positions or norms. In a ``ModuleList``, siblings that
    agree in class, settings, parameters and parts are one node with a count, wherever they stand. A module that does
    nothing but hold a single part is folded into it under a dotted name, such as ``token_embedding.embedding``.

    Args:
        model: The module at the root.
        expand: Whether to give each of such siblings a node of its own.

    Returns:
        The root's node. ``params`` counts a parameter that several modules share at the first that holds it.
    """
    part = _Reader().read(model, "")
    return _node(type(model).__name__, part, total=part.params, expand=expand)


def instantiated(model: nn.Module) -> dict[str, Shape]:
    """Return the shape of each parameter by its full name, one that has several names under each of them."""
    return {name: tuple(tensor.shape) for name, tensor in model.named_parameters(remove_duplicate=False)}


def unique_params(model: nn.Module) -> int:
    """Return the elements of all parameters, one that has several names counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """What identical modules have in common: one object for them all, so that parts are equal when they are the same.

    Attributes:
        kind: Class name.
        shape: Shape of its own weight, or None.
        params: Parameters that it and its parts own.
        tied_to: Path of the module that owns a parameter it shares, or None.
        is_list: Whether its parts are siblings in a ``ModuleList``.
        wraps: Whether it does nothing but hold a single part.
        visible: Whether it belongs in the tree.
        settings: What its shapes do not show, by the names of the config.
        children: Name and part of each parameter that stands beside its parts, and of each visible child.
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
    """Reads a module tree in one walk, recognizing modules it has met before.

    A part is looked up by its class, settings, parameters and *parts already recognized*, so that comparing two modules
    costs as much as they have children, however much lies below.
    """

    def __init__(self) -> None:
        self._known: dict[object, _Part] = {}
        self._owners: dict[int, str] = {}

    def read(self, module: nn.Module, path: str) -> _Part:
        """Return the part for ``module``, which stands at the dotted ``path``."""
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
        """Yield name, shape, elements and, for a parameter met before, the path of the module that has it."""
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
    """Return the part for a parameter that is not a module's only weight or bias, such as attention's sinks."""
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
    """Yield what a reader of the tree wants to know of a module and cannot see in shapes."""
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
    """Yield what sets modules of one class apart beyond their tensors: their public attributes, as they print."""
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
        alike: dict[_Part, list[int]] = {}
        for name, part in parent.children:
            alike.setdefault(part, []).append(int(name))
        for part, places in alike.items():
            yield _node(_ranges(places), part, total=total, expand=expand, count=len(places))


def _ranges(places: list[int]) -> str:
    """Return ascending numbers in words, of many stretches the first two and the last: ``0..4, 6..10, …, 24..25``."""
    stretches: list[list[int]] = []
    for place in places:
        if stretches and place == stretches[-1][-1] + 1:
            stretches[-1].append(place)
        else:
            stretches.append([place])
    words = [str(one[0]) if len(one) == 1 else f"{one[0]}..{one[-1]}" for one in stretches]
    return ", ".join(words if len(words) <= MOST_RANGES else [*words[: MOST_RANGES - 1], "…", words[-1]])
