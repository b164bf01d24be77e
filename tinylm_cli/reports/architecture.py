"""What ``tinylm build`` reports: the instantiated model as a tree, its totals and the proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from tinylm_cli.reports.params import ModelParams


@dataclass(frozen=True)
class ModuleNode:
    """A module of the instantiated model, or several identical ones.

    Attributes:
        name: Attribute name in its parent, or dotted where a module that only holds this one is folded into it; for
            several, their places, e.g. ``0..5`` or ``0, 2, …, 24``; the class name at the root.
        kind: Class name.
        count: How many identical siblings the node stands for.
        shape: Shape of its weight when it holds one itself, else None.
        params: Parameters of all ``count`` together, tied tensors counted where they are owned.
        share: ``params`` over the model's total, 0 to 1.
        tied_to: Name of the module that owns its weight, or None.
        settings: What its shapes do not show, by the names of the config: ``n_heads``, ``n_kv_heads`` where they are
            fewer, ``kv_rank``; ``n_experts`` and ``top_k``; ``window`` of a block that has one.
        children: Its parts; for several, those of one of them.
    """

    name: str
    kind: str
    count: int
    shape: tuple[int, ...] | None
    params: int
    share: float
    tied_to: str | None
    settings: Mapping[str, int]
    children: tuple[ModuleNode, ...]


@dataclass(frozen=True)
class Proof:
    """The closed form against the instantiated module.

    Attributes:
        closed_form_params: Total of the tensor table.
        instantiated_params: Elements of the module's parameters, each storage counted once.
        tensors: Named tensors compared.
        differences: One line for each tensor that one side lacks or shapes differently; empty when they agree.
    """

    closed_form_params: int
    instantiated_params: int
    tensors: int
    differences: tuple[str, ...]

    @classmethod
    def between(
        cls,
        closed_form: Mapping[str, tuple[int, ...]],
        closed_form_params: int,
        instantiated: Mapping[str, tuple[int, ...]],
        instantiated_params: int,
    ) -> Self:
        """Compare shapes by full name, those of tied tensors under each of their names, and totals.

        Differences come in the order of ``closed_form``, then in that of ``instantiated``.
        """
        names = {**closed_form, **instantiated}
        differences = tuple(
            f"{name}: closed form {closed_form.get(name, 'absent')}, module {instantiated.get(name, 'absent')}"
            for name in names
            if closed_form.get(name) != instantiated.get(name)
        )
        return cls(closed_form_params, instantiated_params, len(names), differences)

    @property
    def holds(self) -> bool:
        """Whether the two descriptions agree in every name, shape and in the total."""
        return not self.differences and self.closed_form_params == self.instantiated_params


@dataclass(frozen=True)
class BuildReport:
    """One instantiated model.

    Attributes:
        model: Its parameters in closed form.
        device: Where it was built: ``cpu``, ``cuda:0``, ``meta``.
        dtype: Storage type of its weights.
        seed: What its weights were drawn from; None on meta or when loaded.
        weights: Folder the weights were loaded from, or None.
        saved_to: Folder the model was saved to, or None.
        architecture: The module tree.
        proof: Closed form against module.
    """

    model: ModelParams
    device: str
    dtype: str
    seed: int | None
    weights: str | None
    saved_to: str | None
    architecture: ModuleNode
    proof: Proof
