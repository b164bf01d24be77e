"""The report of ``tinylm build``: the module tree of the built model, its parameters and the proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from tinylm_cli.reports.params import ModelParams
from tinylm_cli.reports.record import Record


class ModuleNode(Record):
    """A module of the built model, or several identical modules."""

    # Attribute name in its parent; dotted if a module that only wraps this one is folded into it; for several modules
    # their indices, e.g. ``0..5`` or ``0, 2, …, 24``; the class name at the root.
    name: str
    kind: str  # Class name.
    count: int  # Number of identical siblings that the node stands for.
    shape: tuple[int, ...] | None  # Shape of its weight; None if it has no weight itself.
    params: int  # Parameters of all ``count`` modules together; a tied tensor counts at its first module.
    share: float  # ``params`` over the model's total, 0 to 1.
    tied_to: str | None  # Name of the module that owns its weight, or None.
    # Settings that its shapes do not show, by the names of the config: ``n_heads``, ``n_kv_heads`` if fewer,
    # ``kv_rank``, ``n_experts`` and ``top_k``, ``window``, or ``chunk`` for a window that is chunked.
    settings: Mapping[str, int]
    layer_kind: str  # Name of the kind of layers that it is of; empty for other modules, and for kinds without a name.
    children: tuple[ModuleNode, ...]  # Its children; for several modules, the children of one.


class Proof(Record):
    """The closed form compared with the built module."""

    closed_form_params: int  # Total of the tensor table.
    instantiated_params: int  # Elements of the module's parameters; a tied parameter counts once.
    n_tensors: int  # Named tensors compared.
    # One line for each tensor that is missing on one side or differs in shape; empty if all agree.
    differences: tuple[str, ...]

    @classmethod
    def between(
        cls,
        closed_form: Mapping[str, tuple[int, ...]],
        closed_form_params: int,
        instantiated: Mapping[str, tuple[int, ...]],
        instantiated_params: int,
    ) -> Self:
        """Compare totals, and shapes by full name; a tied tensor appears under each of its names.

        Differences come in the order of ``closed_form``, then of ``instantiated``.
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
        """Whether every name, every shape and the total agree."""
        return not self.differences and self.closed_form_params == self.instantiated_params


class BuildReport(Record):
    """One built model."""

    model: ModelParams  # Its parameters in closed form.
    device: str  # Device of its weights: ``cpu``, ``cuda:0``, ``meta``.
    dtype: str  # Data type of its weights.
    seed: int | None  # Seed of its weights; None on meta, and if they were loaded.
    weights: str | None  # Folder the weights were loaded from, or None.
    saved_to: str | None  # Folder the model was saved to, or None.
    architecture: ModuleNode  # The module tree.
    proof: Proof  # Closed form against module.
