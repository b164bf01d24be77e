"""The search space of ``tinylm design``: a family over a grid of sizes. Each choice cites its source."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache
from math import ceil, floor, gcd, lcm
from typing import Any, NamedTuple

from tinylm_cli.analysis.design.closed_form import MIN_LAYERS, ClosedForm, HeadSharing
from tinylm_cli.analysis.design.families import DesignFamily
from tinylm_cli.analysis.parallel.layouts import LARGEST_TENSOR_PARALLEL
from tinylm_cli.analysis.setups import ServingSetup, Setups, TrainingSetup
from tinylm_cli.config.base import MAX_N_LAYERS
from tinylm_cli.config.diagnostic_codes import either
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.layer_kinds import layer_pattern, valid_layer_counts
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.constraint import Sizes
from tinylm_cli.reports.design import GridAxis
from tinylm_cli.reports.plan import Layout

_NVIDIA = "NVIDIA 2023, Matrix Multiplication Background: multiples of 64 and 128 fill tensor cores and tiles"
_KAPLAN = "Kaplan et al. 2020, figure 5, https://arxiv.org/abs/2001.08361: the loss depends on it only weakly"
_LEVINE = "Levine et al. 2020, https://arxiv.org/abs/2006.12467: too many layers for a given width waste parameters"
_VASWANI = "Vaswani et al. 2017, https://arxiv.org/abs/1706.03762: 4"
_SHAZEER = "Shazeer 2020, https://arxiv.org/abs/2002.05202: 8/3 with a gate has the parameters of 4 without"
_DAI = "Dai et al. 2024, https://arxiv.org/abs/2401.06066: many small experts"
_AINSLIE = "Ainslie et al. 2023, https://arxiv.org/abs/2305.13245"
_DAO = "Dao 2023, https://arxiv.org/abs/2307.08691: attention kernels are tuned for 64 and 128"
_SHOEYBI = "Shoeybi et al. 2019, https://arxiv.org/abs/1909.08053: every GPU holds the same number of heads and columns"
_NARAYANAN = "Narayanan et al. 2021, https://arxiv.org/abs/2104.04473: every stage has the same number of layers"
_ASKED = "as requested"


class Shape(NamedTuple):
    """The sizes of a model except its depth, in the order of the search."""

    d_head: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_ff: int

    def sizes(self, n_layers: int) -> Sizes:
        """Return all sizes of the model with ``n_layers`` layers."""
        return Sizes(self.d_model, n_layers, self.n_heads, self.n_kv_heads, self.d_head, self.d_ff)


@dataclass(frozen=True)
class Grid:
    """The sizes that every family is searched over; :mod:`.families` has the sizes that differ between families.

    Attributes:
        d_models: Values of d_model, in finer steps where small. Multiples of 64 fill the tensor cores of a GPU at two
            bytes per element, and multiples of 128 also the tiles of a matmul (NVIDIA 2023, Matrix Multiplication
            Background User's Guide).
        n_layers: Depths.
        aspects: Smallest and largest d_model / n_layers; None for any. The loss hardly depends on it over this range
            (Kaplan et al. 2020, figure 5, https://arxiv.org/abs/2001.08361). Narrower models waste depth, wider ones
            waste width (Levine et al. 2020, https://arxiv.org/abs/2006.12467).
        d_ff_steps: For each minimum d_model, the step of d_ff; in ascending order of d_model. 256 is LLaMA's
            ``multiple_of`` (Touvron et al. 2023, https://arxiv.org/abs/2302.13971).
        d_heads: Dimensions per head; the family's when empty.
    """

    d_models: tuple[range, ...] = (
        range(128, 2048, 64),
        range(2048, 4096, 128),
        range(4096, 8192, 256),
        range(8192, 16384 + 1, 512),
    )
    n_layers: range = range(2, 128 + 1)
    aspects: tuple[int, int] | None = (16, 256)
    d_ff_steps: tuple[tuple[int, int], ...] = ((0, 64), (1024, 256), (8192, 512))
    d_heads: tuple[int, ...] = ()

    def depths(self, d_model: int, valid: range) -> range:
        """Return the values in ``valid`` that n_layers may have for a d_model, in equal steps; may be empty."""
        depths = self.n_layers
        if self.aspects is not None:
            smallest, largest = self.aspects
            depths = depths[bisect_left(depths, ceil(d_model / largest)) : bisect_right(depths, d_model // smallest)]
        return _common_values(depths, valid)

    def d_ffs(self, d_model: int, ratios: tuple[float, float], shards: int = 1) -> range:
        """Return the multiples of ``shards`` that d_ff may be for a d_model, with d_ff / d_model within ``ratios``."""
        step = lcm(shards, next(step for start, step in reversed(self.d_ff_steps) if start <= d_model))
        smallest, largest = ratios
        return range(ceil(smallest * d_model / step) * step, floor(largest * d_model / step) * step + 1, step)


_ONE_GPU = Layout()

MAX_CHUNKS = 1000
"""Maximum number of pipeline chunks, so that the models that polynomials are fitted to have a valid n_layers."""

GRID = Grid()
"""The default grid."""


@dataclass(frozen=True)
class SearchSpace:
    """Every model that is searched."""

    family: DesignFamily  # the architecture, and the sizes that vary with it
    vocab_size: int  # tokens in the vocabulary
    max_len: int  # longest sequence
    tie_weights: bool  # whether the LM head is tied to the embedding
    setups: Setups = Setups()  # how each model is trained and served  # noqa: RUF009 - immutable
    grid: Grid = GRID  # the sizes
    accelerator: Accelerator | None = None  # the GPU, if one is named

    def __post_init__(self) -> None:
        """Check the sizes that all models share.

        Raises:
            AnalysisError: If the layout does not divide the vocabulary, the sequence, the experts or groups of heads
                that all models share, or has more than ``MAX_CHUNKS`` pipeline chunks, or a d_head is odd with RoPE.
        """
        layout, experts = self.layout, self.family.config.feed_forward.n_experts
        if layout.pipeline * layout.virtual > MAX_CHUNKS:
            message = f"{layout.pipeline * layout.virtual:,} pipeline chunks are too many to search"
            raise AnalysisError(message, help=f"use at most {MAX_CHUNKS:,}")
        if self.vocab_size % layout.tensor:
            padded = -(-self.vocab_size // layout.tensor) * layout.tensor
            raise AnalysisError(
                f"tensor parallelism {layout.tensor} does not divide vocab_size {self.vocab_size}",
                help=f"pad the vocabulary to {padded}",
            )
        for name, size in self.family.shared_groups.items():
            if size % layout.tensor:
                message = f"tensor parallelism {layout.tensor} does not divide {name} {size} of {self.family.name}"
                raise AnalysisError(message, help=f"use tensor parallelism {gcd(size, layout.tensor)}")
        if self.seq_len % layout.context:
            message = f"context parallelism {layout.context} does not divide seq_len {self.seq_len}"
            raise AnalysisError(message, help="change either")
        if layout.expert > 1 and (experts is None or experts % layout.expert):
            message = f"expert parallelism {layout.expert} does not divide n_experts {experts or 0}"
            raise AnalysisError(message, help="change the layout, or search another family")
        odd = [each for each in self.d_heads if each % 2]
        if odd and self.family.config.position.kind == "rope":
            raise AnalysisError(f"d_head {odd[0]} is odd; RoPE rotates pairs of dimensions", help="use even values")

    @property
    def training(self) -> TrainingSetup:
        """How each model is trained."""
        return self.setups.training

    @property
    def serving(self) -> ServingSetup:
        """How each model is served."""
        return self.setups.serving

    @property
    def layout(self) -> Layout:
        """How GPUs share the training: tensor parallelism divides heads and d_ff, pipeline parallelism layers."""
        return self.training.layout or _ONE_GPU

    @property
    def seq_len(self) -> int:
        """Tokens per sequence."""
        return self.max_len if self.training.seq_len is None else self.training.seq_len

    @cached_property
    def period(self) -> int:
        """Number of layers after which a window pattern repeats, which may end within a period."""
        if self.family.config.layers.kinds:
            return 1
        return len(layer_pattern(self.family.config).stretches[-1].cycle)

    @cached_property
    def valid_depths(self) -> range:
        """Values of n_layers for which patterns of kinds of layers are complete and pipeline chunks are equal.

        There are at least ``MIN_LAYERS`` patterns.
        """
        chunks = self.layout.pipeline * self.layout.virtual
        return _common_values(self._patterns[MIN_LAYERS - 1 :], range(chunks, MAX_N_LAYERS + 1, chunks))

    @property
    def _patterns(self) -> range:
        """Values of n_layers for which patterns of kinds of layers are complete."""
        return valid_layer_counts(self.family.config, MAX_N_LAYERS)

    @property
    def first_depth(self) -> int:
        """The first value of n_layers with ``MIN_LAYERS`` steps; the space must not be empty."""
        valid = self.valid_depths
        return valid[bisect_left(valid, MIN_LAYERS * valid.step)]

    @property
    def d_heads(self) -> tuple[int, ...]:
        """Dimensions per head."""
        return self.grid.d_heads or self.family.d_heads

    def heads(self, d_model: int, d_head: int) -> tuple[int, ...]:
        """Return the numbers of query heads for a d_model that tensor parallelism divides; may be empty."""
        degree = self.layout.tensor
        return tuple(n_heads for n_heads in self.family.heads(d_model, d_head) if n_heads % degree == 0)

    def kv_heads(self, n_heads: int) -> tuple[int, ...]:
        """Return the numbers of key and value heads that tensor parallelism divides; may be empty."""
        degree = self.layout.tensor
        return tuple(n_kv_heads for n_kv_heads in self.family.kv_heads(n_heads) if n_kv_heads % degree == 0)

    def depths(self, d_model: int) -> range:
        """Return the values of n_layers for a d_model, in equal steps; may be empty."""
        return self.grid.depths(d_model, self.valid_depths)

    def d_ffs(self, d_model: int) -> range:
        """Return the values of d_ff for a d_model."""
        return self.grid.d_ffs(d_model, self.family.d_ff_ratios, self.layout.tensor)

    @cached_property
    def d_models(self) -> tuple[int, ...]:
        """Values of d_model; may be empty."""
        step = self.family.d_model_step or 1
        return tuple(d_model for widths in self.grid.d_models for d_model in widths if d_model % step == 0)

    def widths_and_heads(self, d_head: int) -> Iterator[tuple[int, int]]:
        """Yield every d_model that has valid depths and values of d_ff, with each of its n_heads."""
        for d_model in self.d_models:
            if self.depths(d_model) and self.d_ffs(d_model):
                yield from ((d_model, n_heads) for n_heads in self.heads(d_model, d_head))

    @cached_property
    def closed_forms(self) -> dict[tuple[str, int, HeadSharing], ClosedForm]:
        """Figures fitted so far, by name, d_head and head sharing; shared by spaces that differ only in their grid."""
        return _closed_forms(replace(self, grid=GRID))

    @cached_property
    def n_models(self) -> int:
        """Number of models in the search space."""
        return sum(
            len(self.kv_heads(n_heads)) * len(self.d_ffs(d_model)) * len(self.depths(d_model))
            for d_head in self.d_heads
            for d_model, n_heads in self.widths_and_heads(d_head)
        )

    @cached_property
    def config(self) -> Callable[[Shape, int], ModelConfig]:
        """A function that returns a model as a config, the same object each time, for a shape and n_layers."""
        return _configs(replace(self, grid=GRID, setups=Setups(), accelerator=None))

    def why_empty(self) -> str:
        """Return why the space contains no model; empty if it contains one."""
        if self.n_models:
            return ""
        grid, tensor, widths = self.grid, self.layout.tensor, self.d_models
        d_models, n_layers = ", ".join(map(_range, grid.d_models)), _range(grid.n_layers)
        divisible = f" that tp {tensor} divides" if tensor > 1 else ""
        if not widths:
            return f"d_model {d_models} contains no multiple of {self.family.d_model_step}"
        if not any(map(self.depths, widths)):
            if not self.valid_depths:
                chunks = self.layout.pipeline * self.layout.virtual
                return f"n_layers is {_in_words(self._patterns, 'a multiple')}, which is never a multiple of {chunks}"
            valid = self.valid_depths
            multiple = f" that is {_in_words(valid, 'a multiple')}" if valid.step > 1 else ""
            if grid.aspects is None:
                return f"n_layers {n_layers} contains no depth{multiple}"
            low, high = grid.aspects
            return f"with d_model {d_models}, no n_layers{multiple} makes d_model / n_layers {low} to {high}"
        if not any(map(self.d_ffs, widths)):
            return f"d_model {d_models} has no d_ff{divisible}"
        if not any(self.heads(d_model, d_head) for d_model in widths for d_head in self.d_heads):
            return f"d_model {d_models} has no n_heads{divisible} with d_head {either(self.d_heads)}"
        return f"no n_kv_heads{divisible} fits the number of query heads"

    @property
    def smallest_model(self) -> ModelConfig:
        """The first model of the space, with ``first_depth`` layers; the space must not be empty."""
        return next(
            self.config(Shape(d_head, d_model, n_heads, n_kv_heads, self.d_ffs(d_model)[0]), self.first_depth)
            for d_head in self.d_heads
            for d_model, n_heads in self.widths_and_heads(d_head)
            for n_kv_heads in self.kv_heads(n_heads)
        )

    @cached_property
    def _fields_of_family(self) -> dict[str, Any]:
        return self.family.config.model_dump(exclude={"nominal_params", "budget"})

    def new_config(self, shape: Shape, n_layers: int) -> ModelConfig:
        """Return a model as a config; sizes that equal their defaults are omitted."""
        grouped = shape.n_kv_heads != shape.n_heads
        is_derived = shape.n_heads * shape.d_head == shape.d_model
        base = self._fields_of_family
        values: dict[str, Any] = {
            **base,
            "vocab_size": self.vocab_size,
            "d_model": shape.d_model,
            "n_heads": shape.n_heads,
            "n_layers": n_layers,
            "d_ff": shape.d_ff,
            "max_len": self.max_len,
            "tie_weights": self.tie_weights,
            "attention": {
                **base["attention"],
                "n_kv_heads": shape.n_kv_heads if grouped else None,
                "d_head": None if is_derived else shape.d_head,
            },
            "feed_forward": {**base["feed_forward"], "d_expert": None},
        }
        for name, derive in self.family.derived_fields:
            block, field = name.split(".")
            values[block] = {**values[block], field: derive(shape.sizes(n_layers))}
        return ModelConfig.model_validate(values)

    def axes(self) -> Iterator[GridAxis]:
        """Yield the values of each size, with the source of the choice."""
        family, grid = self.family, self.grid
        low, high = family.d_ff_ratios
        ratio_source = _DAI if high < 1 else _SHAZEER if family.config.feed_forward.gated else _VASWANI
        yield GridAxis(
            "d_model", ", ".join(map(_range, grid.d_models)), _NVIDIA if grid.d_models == GRID.d_models else _ASKED
        )
        yield GridAxis("n_layers", _range(grid.n_layers), _LEVINE if grid.n_layers == GRID.n_layers else _ASKED)
        if family.d_model_step is not None:
            yield GridAxis(
                "d_model", f"multiples of {family.d_model_step}, from which its mixers derive sizes", family.source
            )
        if grid.aspects is not None:
            yield GridAxis("d_model / n_layers", f"{grid.aspects[0]} to {grid.aspects[1]}", _KAPLAN)
        yield GridAxis("d_head", either(self.d_heads), _ASKED if grid.d_heads else _DAO)
        yield GridAxis("n_heads", _heads(family), family.source)
        shared = max(family.groups) > 1
        yield GridAxis("n_heads / n_kv_heads", either(family.groups), _AINSLIE if shared else family.source)
        yield GridAxis("d_ff / d_model", f"{low:g} to {high:g}", ratio_source)
        yield GridAxis("d_ff", ", ".join(_multiples(grid.d_ff_steps)), _NVIDIA)
        if self.layout.tensor > 1:
            yield GridAxis("n_heads, n_kv_heads, d_ff", f"multiples of tp {self.layout.tensor}", _SHOEYBI)
        if self._patterns.step > 1:
            depths = _in_words(self._patterns, "multiples")
            yield GridAxis("n_layers", f"{depths}, the pattern of its layers", family.source)
        if self.layout.pipeline > 1:
            chunks = self.layout.pipeline * self.layout.virtual
            yield GridAxis("n_layers", f"multiples of {chunks} pipeline chunks", _NARAYANAN)


_SPACES = 8  # so that a long series of searches does not keep the models of all of them


@lru_cache(_SPACES)
def _closed_forms(_space: SearchSpace) -> dict[tuple[str, int, HeadSharing], ClosedForm]:
    return {}


@lru_cache(_SPACES)
def _configs(space: SearchSpace) -> Callable[[Shape, int], ModelConfig]:
    return cache(space.new_config)


def node_layout(n_gpus: int, family: DesignFamily, accelerator: Accelerator | None = None) -> Layout:
    """Return the default layout: tensor parallelism within each node, and otherwise data parallelism with ZeRO 1.

    Without an accelerator, a node has 8 GPUs. Groups of heads that all models of the family share limit the degree.
    """
    per_node = LARGEST_TENSOR_PARALLEL if accelerator is None else accelerator.gpus_per_node
    tensor = gcd(n_gpus, per_node, *family.shared_groups.values())
    return Layout(data=n_gpus // tensor, tensor=tensor, zero=1 if n_gpus > tensor else 0)


def _heads(family: DesignFamily) -> str:
    if not family.head_ratios:
        return "d_model / d_head"
    ratios = either([f"{ratio:g}" for ratio in family.head_ratios])
    return f"{ratios} times d_model / d_head, rounded to a multiple of {family.heads_step}"


def _range(values: range) -> str:
    if len(values) == 1:
        return str(values[0])
    return f"{values[0]} to {values[-1]}" + (f" by {values.step}" if values.step > 1 else "")


def _common_values(one: range, other: range) -> range:
    """Return the values in both ascending ranges, in equal steps; may be empty."""
    within = one[bisect_left(one, other.start) : bisect_left(one, other.stop)]
    step = other.step // gcd(one.step, other.step)
    first = next((index for index, value in enumerate(within[:step]) if value in other), len(within))
    return within[first::step]


def _in_words(depths: range, multiple: str) -> str:
    """Return which multiples evenly spaced depths are, such as ``multiples of 4`` or ``8 plus multiples of 11``."""
    rest = depths.start % depths.step
    return (f"{rest} plus " if rest else "") + f"{multiple} of {depths.step}"


def _multiples(steps: Sequence[tuple[int, int]]) -> Iterator[str]:
    for start, step in steps:
        yield f"multiples of {step}" + (f" from d_model {start} on" if start else "")
