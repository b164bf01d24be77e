"""A constraint on one figure, and its failure: search, ranking, report and view share them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal

Relation = Literal["at_most", "at_least", "within"]
ConstraintUnit = Literal["params", "bytes", "flops", "tokens_per_second", "seconds"]
Origin = Literal["asked", "gpu_memory", "compute_budget", "largest"]


@dataclass(frozen=True)
class Sizes:
    """The shape of a model.

    Attributes:
        d_model: Width of the residual stream.
        n_layers: Number of layers.
        n_heads: Query heads.
        n_kv_heads: Key and value heads.
        d_head: Dimensions per head.
        d_ff: Hidden width of the feed-forward network, or of one expert.
    """

    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_ff: int


@dataclass(frozen=True)
class Constraint:
    """A bound on one figure, or a target for it.

    Attributes:
        figure: Name of the figure.
        unit: Its unit.
        relation: ``at_most`` or ``at_least`` the value, or ``within`` a tolerance of it.
        value: The bound or the target.
        tolerance: Maximum relative deviation from the target; null for a bound.
        origin: ``asked``: an option; ``gpu_memory``: the memory of the GPU; ``compute_budget``:
            the size that the budget trains; ``largest``: the most parameters that the bounds allow.
    """

    figure: str
    unit: ConstraintUnit
    relation: Relation
    value: float
    tolerance: float | None = None
    origin: Origin = "asked"

    @cached_property
    def lower(self) -> float:
        """The smallest value that satisfies it."""
        if self.relation == "at_most":
            return 0
        return self.value - self._margin

    @cached_property
    def upper(self) -> float | None:
        """The largest value that satisfies it; None for any."""
        if self.relation == "at_least":
            return None
        return self.value + (0 if self.origin == "largest" else self._margin)

    @property
    def is_target(self) -> bool:
        """Whether the value is a target rather than a bound."""
        return self.relation == "within"

    def distance(self, value: float) -> float:
        """Return the distance of a value from the nearest one that satisfies it; 0 where the value does."""
        return max(self.lower - value, 0 if self.upper is None else value - self.upper, 0)

    @property
    def _margin(self) -> int:
        return int(self.value * Fraction(str(self.tolerance))) if self.tolerance is not None else 0


@dataclass(frozen=True)
class ConstraintFailure:
    """A constraint that no model of the grid satisfies, by itself or together with others.

    Attributes:
        constraint: The constraint.
        alone: Whether no model satisfies it even by itself.
        nearest: The nearest value of its figure. Alone: over the entire grid. Otherwise, for a target: over the models
            within the bounds; for a bound: over the models that meet the targets.
        sizes: A model with that value.
    """

    constraint: Constraint
    alone: bool
    nearest: float
    sizes: Sizes


@dataclass(frozen=True)
class Relaxation:
    """One change to the search after which models satisfy every constraint.

    Attributes:
        changes: The new value of each constrained figure, or of each field of the search: ``vocab_size``,
            ``tie_weights``, ``d_model``, ``d_head``, ``n_layers``, ``recompute``, ``accelerator``.
        sizes: The model that then ranks first.
        total_params: Its parameters.
        matches: Number of models that then match.
    """

    changes: dict[str, float | str | bool]
    sizes: Sizes
    total_params: int
    matches: int
