"""Every model that is searched: a family over a grid, for a vocabulary and a length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tinylm_cli.analysis.design.families import Family
from tinylm_cli.analysis.design.grid import GRID, Grid
from tinylm_cli.analysis.setups import ServingSetup, Setups, TrainingSetup
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.design import Sizes


class Shape(NamedTuple):
    """The sizes of a model but for its depth, in the order of the search."""

    d_head: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_ff: int

    def sizes(self, n_layers: int) -> Sizes:
        """Return all sizes of the model, ``n_layers`` deep."""
        return Sizes(self.d_model, n_layers, self.n_heads, self.n_kv_heads, self.d_head, self.d_ff)


@dataclass(frozen=True)
class Space:
    """A family over a grid.

    Attributes:
        family: What is varied, and what all have in common.
        vocab_size: Tokens.
        max_len: Longest sequence.
        tie_weights: Whether the head shares the embedding's table.
        setups: How each model is trained and served.
        grid: The sizes.
        accelerator: The GPU, where one is named.
    """

    family: Family
    vocab_size: int
    max_len: int
    tie_weights: bool
    setups: Setups = Setups()  # noqa: RUF009 - immutable
    grid: Grid = GRID
    accelerator: Accelerator | None = None

    @property
    def training(self) -> TrainingSetup:
        """How each model is trained."""
        return self.setups.training

    @property
    def serving(self) -> ServingSetup:
        """How each model is served."""
        return self.setups.serving

    @property
    def seq_len(self) -> int:
        """Tokens in a sequence that figures assume."""
        return self.max_len if self.training.seq_len is None else self.training.seq_len

    @property
    def period(self) -> int:
        """Length of the pattern that layers follow."""
        attention = self.family.config.attention
        return len(attention.window_pattern) if attention.window is not None else 1

    def bodies(self, d_head: int) -> Iterator[tuple[int, int]]:
        """Yield d_model and n_heads of all that have a depth."""
        for widths in self.grid.d_models:
            for d_model in widths:
                if self.grid.depths(d_model) and self.d_ffs(d_model):
                    yield from ((d_model, n_heads) for n_heads in self.family.heads(d_model, d_head))

    def d_ffs(self, d_model: int) -> range:
        """Return the feed-forward widths of a width."""
        return self.grid.d_ffs(d_model, self.family.d_ff_ratios)

    def count(self) -> int:
        """Return how many models there are."""
        return sum(
            len(self.family.kv_heads(n_heads)) * len(self.d_ffs(d_model)) * len(self.grid.depths(d_model))
            for d_head in self.family.d_heads
            for d_model, n_heads in self.bodies(d_head)
        )

    def config(self, shape: Shape, n_layers: int) -> ModelConfig:
        """Return a model as a config; sizes that follow from others are left to follow."""
        grouped = shape.n_kv_heads != shape.n_heads
        spans = shape.n_heads * shape.d_head == shape.d_model
        member = self.family.config.model_dump(exclude={"nominal_params", "budget"})
        values: dict[str, Any] = {
            **member,
            "vocab_size": self.vocab_size,
            "d_model": shape.d_model,
            "n_heads": shape.n_heads,
            "n_layers": n_layers,
            "d_ff": shape.d_ff,
            "max_len": self.max_len,
            "tie_weights": self.tie_weights,
            "attention": {
                **member["attention"],
                "n_kv_heads": shape.n_kv_heads if grouped else None,
                "d_head": None if spans else shape.d_head,
            },
            "feed_forward": {**member["feed_forward"], "d_expert": None},
        }
        return ModelConfig.model_validate(values)
