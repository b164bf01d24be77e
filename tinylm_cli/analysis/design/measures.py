"""The figures that can have a constraint: counts of a config and a function that combines them, in closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tinylm_cli.analysis.design.closed_form import ClosedForm, HeadSharing, Value, fit_closed_form
from tinylm_cli.analysis.design.search_space import SearchSpace, Shape
from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.analysis.flops import forward_flops
from tinylm_cli.analysis.inference_memory import serving_timeline
from tinylm_cli.analysis.parallel.layouts import with_micro_batches
from tinylm_cli.analysis.parallel.plan import plan_bytes
from tinylm_cli.analysis.parallel.sharding import layers_by_cost
from tinylm_cli.analysis.parallel.stage_memory import group_length, stage_counts
from tinylm_cli.analysis.roofline import DecodeStep, ReadWeights, decode_clock, decode_step, routed
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.schema import ModelConfig

DECODE_SECONDS = "decode_step_seconds"
"""Lower bound on the time of one decoding step on the GPU: the only measure that is not a name of ``FIGURES``."""

TRAIN_BYTES = "train_bytes_per_gpu"
"""Training memory of the GPU that needs the most."""

Combine = Callable[[Sequence[int]], Value]


class Measure(NamedTuple):
    """A figure that a search can constrain.

    Attributes:
        counts: Returns the counts that it is computed from, each affine in every size.
        combine: Returns the function that computes the figure from them; it is non-decreasing in each.
    """

    counts: Callable[[ModelConfig, SearchSpace], tuple[int, ...]]
    combine: Callable[[SearchSpace], Combine] = lambda _: max


def closed_forms(space: SearchSpace, names: Sequence[str], d_head: int, *, heads: HeadSharing) -> list[ClosedForm]:
    """Return figures in closed form, over all sizes except ``d_head``.

    Args:
        space: The models that are searched.
        names: Keys of ``MEASURES``.
        d_head: Dimensions per head.
        heads: The models that the forms hold for.
    """

    def config(d_model: int, n_heads: int, n_kv_heads: int, d_ff: int, n_layers: int) -> ModelConfig:
        return space.config(Shape(d_head, d_model, n_heads, n_kv_heads, d_ff), n_layers)

    for name in names:
        if (name, d_head, heads) not in space.closed_forms:
            counts, combine = MEASURES[name].counts, MEASURES[name].combine(space)
            form = fit_closed_form(
                lambda *sizes, counts=counts: counts(config(*sizes), space),
                period=space.period,
                first_depth=space.first_depth,
                depth_step=space.valid_depths.step,
                d_model_step=space.family.d_model_step,
                size_step=space.layout.tensor,
                heads_step=space.family.heads_step if space.family.head_ratios else 1,
                heads=heads,
                combine=combine,
            )
            space.closed_forms[name, d_head, heads] = form.pruned()
    return [space.closed_forms[name, d_head, heads] for name in names]


def measured(name: str, space: SearchSpace, config: ModelConfig) -> Value:
    """Return a measure of a config, computed without closed forms."""
    if name == DECODE_SECONDS:
        return _clock(space)(decode_step(config, space.serving))
    training = space.training
    if name == TRAIN_BYTES and training.n_gpus > 1:
        return plan_bytes(config, training, space.layout)
    return FIGURES[name].compute(config, space.setups)


def _figure(name: str) -> Measure:
    return Measure(lambda config, space: (FIGURES[name].compute(config, space.setups),))


def _forward_flops(config: ModelConfig, space: SearchSpace) -> tuple[int, ...]:
    return (forward_flops(config, batch_size=1, seq_len=space.seq_len),)


def _per_token(space: SearchSpace) -> Combine:
    return lambda counts: round(counts[0] / space.seq_len)


def has_closed_form_memory(space: SearchSpace) -> bool:
    """Return whether training memory has a closed form: without pipeline stages, or if all layers cost the same."""
    if space.layout.pipeline == 1:
        return True
    config, training = space.family.config, space.training._replace(seq_len=space.seq_len)
    return len(layers_by_cost(config, group_length(config, training), range(config.n_layers))) == 1


def _training_counts(config: ModelConfig, space: SearchSpace) -> tuple[int, ...]:
    if space.training.n_gpus > 1:
        stages = stage_counts(config, space.training, space.layout).values()
        # times tp, because the slope of a shard in one head or hidden unit is a multiple of 1 / tp
        return tuple([space.layout.tensor * count for stage in stages for count in stage.flat()])
    memory = training_memory(config, space.training)
    return tuple(memory.resident_bytes + phase.held_bytes for phase in memory.timeline)


def _peak_training_bytes(space: SearchSpace) -> Combine:
    training, degree = space.training, space.layout.tensor
    if training.n_gpus == 1:
        return max
    config = space.smallest_model
    layout = with_micro_batches(config, training, space.layout)
    stages = stage_counts(config, training, layout).items()

    def peak_bytes(counts: Sequence[int]) -> int:
        left = iter([count // degree for count in counts])
        peak = max([stage.with_counts(left).total_bytes(training, layout, number) for number, stage in stages])
        assert next(left, None) is None, "every count belongs to a stage"
        return peak

    return peak_bytes


def _serving_phases(config: ModelConfig, space: SearchSpace) -> tuple[int, ...]:
    return serving_timeline(config, space.serving)


def _decoding(config: ModelConfig, space: SearchSpace) -> tuple[int, ...]:
    step = decode_step(config, space.serving)
    weights = step.weights
    experts = weights.expert_bytes, weights.attention_expert_bytes
    return step.flops_per_sequence, step.cache_bytes_per_sequence, weights.dense_bytes, *experts


def _decode_seconds(space: SearchSpace) -> Combine:
    clock, (of_experts, of_attention) = _clock(space), routed(space.family.config)

    def seconds(counts: Sequence[int]) -> float:
        flops, cache_bytes, dense_bytes, expert_bytes, attention_expert_bytes = counts
        weights = ReadWeights(dense_bytes, expert_bytes, *of_experts, attention_expert_bytes, *of_attention)
        return clock(DecodeStep(weights, flops, cache_bytes))

    return seconds


def _clock(space: SearchSpace) -> Callable[[DecodeStep], float]:
    assert space.accelerator is not None, "a decoding time needs a GPU"
    clock = decode_clock(space.accelerator, space.serving)
    return lambda step: clock(step).seconds


MEASURES: dict[str, Measure] = {
    "total_params": _figure("total_params"),
    "active_params": _figure("active_params"),
    "forward_flops_per_token": Measure(_forward_flops, _per_token),
    "kv_cache_bytes": _figure("kv_cache_bytes"),
    "decode_read_bytes_per_token": _figure("decode_read_bytes_per_token"),
    "weights_bytes": _figure("weights_bytes"),
    TRAIN_BYTES: Measure(_training_counts, _peak_training_bytes),
    "serve_bytes": Measure(_serving_phases),
    DECODE_SECONDS: Measure(_decoding, _decode_seconds),
}
"""Every measure by name: names of ``FIGURES``, and a time, which requires a GPU.

Training memory has a closed form if :func:`has_closed_form_memory` returns True; otherwise see :mod:`.planned_memory`.
"""
