"""A constraint on one figure, and its failure: search, ranking, report and view share them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property
from typing import Literal

from tinylm_cli.config.amounts import stated
from tinylm_cli.reports.figures import AMOUNT_KINDS
from tinylm_cli.reports.record import Record
from tinylm_cli.wording import Setting, Value

Relation = Literal["at_most", "at_least", "within"]
ConstraintUnit = Literal["params", "bytes", "flops", "tokens_per_second", "seconds"]
Origin = Literal["option", "gpu_memory", "compute_budget", "largest"]

CONSTRAINING: dict[str, str] = {
    "total_params": "params",
    "active_params": "active_params",
    "forward_flops_per_token": "max_flops_per_token",
    "kv_cache_bytes": "max_kv_bytes",
    "weights_bytes": "max_weights_bytes",
    "train_bytes_per_gpu": "max_train_bytes_per_gpu",
    "serve_bytes": "max_serve_bytes",
    "decode_tokens_per_second": "min_decode_tokens_per_second",
}
"""The setting that constrains each figure."""

_SETTINGS = {**CONSTRAINING, "tie_weights": "tie", "accelerator": "gpu"}
"""The settings of figures, and of fields of the search that have another name."""


class Sizes(Record):
    """The shape of a model."""

    d_model: int  # Width of the residual stream.
    n_layers: int  # Number of layers.
    n_heads: int  # Query heads.
    n_kv_heads: int  # Key and value heads.
    d_head: int  # Dimensions per head.
    d_ff: int  # Hidden width of the feed-forward network, or of one expert.


class Constraint(Record):
    """A bound on one figure, or a target for it."""

    figure: str  # Name of the figure.
    unit: ConstraintUnit  # Its unit.
    relation: Relation  # ``at_most`` or ``at_least`` the value, or ``within`` a tolerance of it.
    value: float  # The bound or the target.
    tolerance: float | None = None  # Maximum relative deviation from the target; null for a bound.
    # ``option``: an option; ``gpu_memory``: the memory of the GPU; ``compute_budget``: the size that the budget trains;
    # ``largest``: the maximum number of parameters within the bounds.
    origin: Origin = "option"

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
        """Return the distance of a value from the nearest one that satisfies it; 0 if the value does."""
        return max(self.lower - value, 0 if self.upper is None else value - self.upper, 0)

    def stated(self, value: float) -> Value:
        """Return a value of the figure as a setting states it: ``125M`` for amounts."""
        if self.unit in AMOUNT_KINDS:
            return stated(int(value), AMOUNT_KINDS[self.unit]).replace(",", "")
        return int(value) if value == int(value) else value

    @property
    def _margin(self) -> int:
        return int(self.value * Fraction(str(self.tolerance))) if self.tolerance is not None else 0


class ConstraintFailure(Record):
    """A constraint that no model of the grid satisfies, by itself or together with others."""

    constraint: Constraint  # The constraint.
    alone: bool  # Whether no model satisfies it even by itself.
    # The nearest value of its figure. Alone: over the entire grid. Otherwise, for a target: over the models within the
    # bounds; for a bound: over the models that meet the targets.
    nearest: float
    sizes: Sizes  # A model with that value.


class Relaxation(Record):
    """One change to the search after which models satisfy every constraint."""

    # The new value of each constrained figure, or of each field of the search: ``vocab_size``, ``tie_weights``,
    # ``d_model``, ``d_head``, ``n_layers``, ``recompute``, ``accelerator``.
    changes: dict[str, float | str | bool]
    sizes: Sizes  # The model that then ranks first.
    total_params: int  # Its parameters.
    matches: int  # Number of models that then match.

    def settings(self, constraints: Iterable[Constraint]) -> tuple[Setting, ...]:
        """Return the settings that make the changes, given the constraints of the search."""
        by_figure = {each.figure: each for each in constraints}
        return tuple(
            Setting(
                _SETTINGS.get(name, name),
                by_figure[name].stated(float(value)) if name in by_figure else _searched(name, value),
            )
            for name, value in self.changes.items()
        )


def _searched(name: str, value: Value) -> Value:
    """Return the value of a field of the search; ``32..256:32`` of a grid as a range, ``16,32`` as a list."""
    if name == "d_head":
        return tuple(map(int, str(value).split(",")))
    if name in ("d_model", "n_layers"):
        bounds, _, step = str(value).partition(":")
        first, _, last = bounds.partition("..")
        return range(int(first), int(last) + 1, int(step or 1))
    return value
