"""The tensors of one GPU: the layers of its pipeline stage, each tensor in its sharded shape."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from math import gcd
from typing import NamedTuple

from tinylm_cli.analysis.layer_kinds import cost_stretches, group_layers, n_layer_runs
from tinylm_cli.analysis.mixers import all_mixers, mixer
from tinylm_cli.analysis.tensor import Tensor
from tinylm_cli.analysis.tensor_table import Section, TensorTable, tensor_table
from tinylm_cli.config.layer_kinds import layer_reads, mtp_layer
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.plan import Layout

_COLUMN_PARALLEL = ("gate_proj", "up_proj", "lora_B", "sub_norm", "lm_head", "embedding")
"""Column-parallel modules: each GPU computes some of the heads, hidden units or logits (rows of (out, in) weights).
Sequence mixers have their own."""

_ROW_PARALLEL = ("down_proj",)
"""Row-parallel modules: each GPU multiplies its slice of the input, and the results are summed."""


@cache
def _parallel_modules(part: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of the column-parallel modules, and of the row-parallel ones, in a mixer or elsewhere.

    Args:
        part: The first part of the names of its tensors: a mixer, ``feed_forward``, ``embedding``, …
    """
    if part not in all_mixers():
        return frozenset(_COLUMN_PARALLEL), frozenset(_ROW_PARALLEL)
    return frozenset(mixer(part).column_parallel), frozenset(mixer(part).row_parallel)


def missing_layers(config: ModelConfig, layout: Layout) -> int:
    """Return how many layers are missing for equal chunks; valid layouts have 0, 1 or 2 missing layers."""
    return -config.n_layers % (layout.pipeline * layout.virtual)


def stage_layers(config: ModelConfig, layout: Layout, stage: int) -> range:
    """Return the layers of a pipeline stage; interleaving does not change their number.

    If one layer is missing, the last stage, which has the LM head, has one layer fewer. If two are missing, the first
    stage, which has the embedding, also has one fewer: Llama 3 405B has 126 layers in 16 stages.

    References:
        Grattafiori et al. 2024, section 3.3.2, https://arxiv.org/abs/2407.21783
    """
    missing = missing_layers(config, layout)
    per_stage, missing_first = (config.n_layers + missing) // layout.pipeline, missing // 2
    start = stage * per_stage - missing_first
    return range(max(start, 0), min(start + per_stage, config.n_layers))


class StageGroup(NamedTuple):
    """Stages with equal layers; the first and the last stage form groups of their own."""

    first: int  # the first of them, which has the most micro-batches in flight
    n_stages: int  # number of such stages


IGNORE_WINDOWS = 1
"""As a sequence length: no window is shorter, so that layers differ only in their tensors."""


def stage_groups(config: ModelConfig, layout: Layout, seq_len: int) -> tuple[StageGroup, ...]:
    """Return the groups of stages with equally many layers of each kind, ordered by their first stage.

    If layers read what earlier layers compute, besides hidden states, they do so at equal places of the stages of a
    group.

    Args:
        config: A validated config.
        layout: The parallel layout.
        seq_len: T; a window of T or more counts as no window.
    """
    return _stage_groups(config, Layout(pipeline=layout.pipeline, virtual=layout.virtual), seq_len)


@lru_cache(maxsize=4096)
def _stage_groups(config: ModelConfig, layout: Layout, seq_len: int) -> tuple[StageGroup, ...]:
    groups: dict[object, list[StageGroup]] = {}
    for each in sorted(_repeated_stages(config, layout, seq_len)):
        groups.setdefault(stage_kind(config, layout, seq_len, each.first), []).append(each)
    return tuple(StageGroup(same[0].first, sum(each.n_stages for each in same)) for same in groups.values())


def stage_kind(config: ModelConfig, layout: Layout, seq_len: int, stage: int) -> tuple[object, ...]:
    """Return a key that is equal for the stages of one group of :func:`stage_groups`."""
    layers = stage_layers(config, layout, stage)
    reads = (each for each in layer_reads(config) if each.source in layers)
    places = [(each.field, each.source - layers.start, each.last_reader - layers.start) for each in reads]
    counts = layers_by_cost(config, seq_len, layers)
    return (stage == 0, stage == layout.pipeline - 1, *counts.items(), *places)


def _repeated_stages(config: ModelConfig, layout: Layout, seq_len: int) -> Iterator[StageGroup]:
    """Yield all stages, in groups with the same kinds of layers; the layers of two groups may be equal too.

    Stages between the first and the last have equally many layers. Within a stretch of the layer pattern, their layers
    repeat after at most one period of it, so the number of groups does not depend on the number of layers.
    """
    last = layout.pipeline - 1
    yield StageGroup(0, 1)
    if last > 0:
        yield StageGroup(last, 1)
    if last > 1:
        second = stage_layers(config, layout, 1)
        per_stage, start = len(second), second.start - len(second)  # stage s begins with layer start + s · per_stage
        stages = 1  # those before it are yielded
        for layers, pattern_length in cost_stretches(config, seq_len):
            period = pattern_length // gcd(pattern_length, per_stage)
            first = max(-(-(layers.start - start) // per_stage), stages)  # the first stage that begins in the stretch
            stop = min(max((layers.stop - start) // per_stage, first), last)  # stages before it end in the stretch
            for mixed in range(stages, min(first, last)):
                yield StageGroup(mixed, 1)
            for repeated in range(first, stop)[:period]:
                yield StageGroup(repeated, len(range(repeated, stop, period)))
            stages = max(stages, stop)
        for mixed in range(stages, last):
            yield StageGroup(mixed, 1)


def layers_by_cost(config: ModelConfig, seq_len: int, layers: range) -> dict[int, int]:
    """Return the number of ``layers`` in each group with equal cost, by the number of the group."""
    return {group.number: len(group.layers) for group in group_layers(config, seq_len, layers)}


def stage_layer_kinds(config: ModelConfig, layout: Layout, stage: int) -> tuple[tuple[int, ModelConfig], ...]:
    """Return the number and the config of equal layers in a pipeline stage, MTP modules last.

    A looped layer counts once for each pass.
    """
    groups = group_layers(config, None, stage_layers(config, layout, stage))
    found = [(group.n_runs, group.config) for group in groups]
    if config.head.n_mtp_layers and stage == layout.pipeline - 1:
        found.append((config.head.n_mtp_layers, mtp_layer(config)))
    return tuple(found)


def stage_table(config: ModelConfig, layout: Layout, stage: int) -> TensorTable:
    """Return the tensors of one GPU of ``stage``, in their sharded shapes.

    Tensor parallelism shards as in Shoeybi et al. 2019. Norms of the residual stream, routers, the down-projections of
    latent attention, the projections around experts with ``d_latent``, and biases added after the all-reduce are
    replicated. The first stage holds the embedding; the last holds the LM head, with a copy of a tied embedding. It
    also holds multi-token prediction modules, whose projections are replicated, as each GPU projects its part of the
    sequence, and a copy of the embedding that they read.

    Args:
        config: A validated config that ``layout`` divides evenly; the vocabulary is padded.
        layout: The parallel layout.
        stage: Index of the stage, 0..pipeline - 1.

    References:
        Shoeybi et al. 2019, https://arxiv.org/abs/1909.08053;
        Narayanan et al. 2021, https://arxiv.org/abs/2104.04473
    """
    return tuple(_sections(config, layout, stage))


class StageParams(NamedTuple):
    """The parameters that a GPU of a stage computes with."""

    shared: int  # outside routed experts
    routed: int  # in routed experts
    shared_uses: int  # ``shared``, with looped layers counted once per pass
    routed_uses: int  # ``routed``, with looped layers counted once per pass


def stage_params(config: ModelConfig, layout: Layout, stage: int) -> StageParams:
    """Return the parameters that a GPU of ``stage`` computes with."""
    sharding = Layout(tensor=layout.tensor, pipeline=layout.pipeline, expert=layout.expert, virtual=layout.virtual)
    return _stage_params(config, sharding, stage)


@lru_cache(maxsize=4096)
def _stage_params(config: ModelConfig, layout: Layout, stage: int) -> StageParams:
    params, uses = [0, 0], [0, 0]  # outside routed experts, and in them
    for section in stage_table(config, layout, stage):
        n_uses = section.repeats
        if section.layers is not None and section.is_of_each_layer:
            n_uses = n_layer_runs(config, section.layers)
        for tensor in section.tensors:
            params[is_routed(tensor)] += section.repeats * tensor.params
            uses[is_routed(tensor)] += n_uses * tensor.params
    return StageParams(*params, *uses)


def _sections(config: ModelConfig, layout: Layout, stage: int) -> Iterator[Section]:
    own_layers, last = stage_layers(config, layout, stage), layout.pipeline - 1
    table = _sharded_table(config, layout.tensor, layout.expert)
    first_section, last_section = (section for section in table if not section.is_repeated)
    modules = [section for section in table if section.n_mtp_layers]
    embeds = stage == 0 or (stage == last and modules)
    if embeds:
        yield first_section
    for section in table:
        if section.layers is not None and section.layers.count(own_layers):
            yield section._replace(layers=section.layers.within(own_layers))
    if stage == last:  # without the embedding, a tied LM head is a copy of its own
        yield Section(tuple(t if embeds else t._replace(tied_to=None) for t in last_section.tensors))
        yield from modules


@lru_cache(maxsize=256)
def _sharded_table(config: ModelConfig, tensor: int, expert: int) -> TensorTable:
    """Return the tensors of the full model, each with the shape of its shard; all stages share them."""
    layout = Layout(tensor=tensor, expert=expert)
    return tuple(
        s._replace(tensors=tuple(_sharded(t, config, layout) for t in s.tensors)) for s in tensor_table(config)
    )


def is_routed(tensor: Tensor) -> bool:
    """Return whether expert parallelism shards a tensor: routed experts of feed-forward networks, not of attention."""
    return tensor.experts_per_token is not None and tensor.component == "experts"


def _sharded(tensor: Tensor, config: ModelConfig, layout: Layout) -> Tensor:
    """Return a tensor with the shape of the shard on one GPU."""
    names = tensor.name.removeprefix("block.").split(".")  # a multi-token prediction module has its layer in ``block``
    part, module, kind = names[0], names[-2] if len(names) > 1 else "", names[-1]
    shape = list(tensor.shape)
    rows = 0
    if tensor.experts_per_token is not None:
        rows = 1
    if is_routed(tensor):
        shape[0] //= layout.expert
    spans_heads = module in ("q_norm", "k_norm") and config.attention.qk_norm == "full"
    column_parallel, row_parallel = _parallel_modules(part)
    if not column_parallel.isdisjoint((module, kind)) or spans_heads:
        shape[rows] = -(-shape[rows] // layout.tensor)
    elif module in row_parallel and kind == "weight":
        shape[-1] //= layout.tensor
    return tensor._replace(shape=tuple(shape))
