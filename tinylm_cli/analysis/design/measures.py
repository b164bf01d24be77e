"""The figures that can be a target, each as sums over a config and what it makes of them; and both in closed form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import NamedTuple

from tinylm_cli.analysis.design.closed_form import Form, Heads, Value, closed_forms
from tinylm_cli.analysis.design.search_space import Shape, Space
from tinylm_cli.analysis.figures import FIGURES
from tinylm_cli.analysis.flops import forward_flops
from tinylm_cli.analysis.inference_memory import serving_moments
from tinylm_cli.analysis.roofline import DecodingStep, Weights, decoding_clock
from tinylm_cli.analysis.serving import decoding_step
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.schema import ModelConfig

DECODE_SECONDS = "decode_step_seconds"
"""The least time of one decoding step on the GPU: the only measure that is no name of ``FIGURES``."""

Made = Callable[[Sequence[int]], Value]


class Measure(NamedTuple):
    """A figure that search can bound.

    Attributes:
        sums: What is affine in each size.
        made: What makes the figure of the sums; never falls as one of them grows.
    """

    sums: Callable[[ModelConfig, Space], tuple[int, ...]]
    made: Callable[[Space], Made] = lambda _: max


def forms(space: Space, names: Sequence[str], d_head: int, *, heads: Heads) -> list[Form]:
    """Return figures in closed form, over all sizes but ``d_head``.

    Args:
        space: What is searched.
        names: Keys of ``MEASURES``.
        d_head: Dimensions per head.
        heads: Which models they hold for.
    """

    @cache  # one config serves all figures
    def config(d_model: int, n_heads: int, n_kv_heads: int, d_ff: int, n_layers: int) -> ModelConfig:
        return space.config(Shape(d_head, d_model, n_heads, n_kv_heads, d_ff), n_layers)

    found = []
    for name in names:
        measure = MEASURES[name]
        sums = partial(_sums, measure, space, config)
        found.append(Form(closed_forms(sums, period=space.period, heads=heads), measure.made(space)).lean())
    return found


def measured(name: str, space: Space, config: ModelConfig) -> Value:
    """Return a measure of a config, without closed forms."""
    if name == DECODE_SECONDS:
        return _clock(space)(decoding_step(config, space.serving))
    return FIGURES[name].compute(config, space.setups)


def _sums(measure: Measure, space: Space, config: Callable[..., ModelConfig], *sizes: int) -> tuple[int, ...]:
    return measure.sums(config(*sizes), space)


def _figure(name: str) -> Measure:
    return Measure(lambda config, space: (FIGURES[name].compute(config, space.setups),))


def _forward_flops(config: ModelConfig, space: Space) -> tuple[int, ...]:
    return (forward_flops(config, batch_size=1, seq_len=space.seq_len),)


def _mean(space: Space) -> Made:
    return lambda sums: round(sums[0] / space.seq_len)


def _training_moments(config: ModelConfig, space: Space) -> tuple[int, ...]:
    found = training_memory(config, space.training)
    return tuple(found.resident_bytes + moment.held_bytes for moment in found.timeline)


def _serving_moments(config: ModelConfig, space: Space) -> tuple[int, ...]:
    return serving_moments(config, space.serving)


def _decoding(config: ModelConfig, space: Space) -> tuple[int, ...]:
    step = decoding_step(config, space.serving)
    weights = step.weights
    return step.flops_per_sequence, step.cache_bytes_per_sequence, weights.dense_bytes, weights.expert_bytes


def _decode_seconds(space: Space) -> Made:
    clock, settings = _clock(space), space.family.config.feed_forward
    routed = () if settings.n_experts is None else (settings.n_experts, settings.top_k)

    def seconds(sums: Sequence[int]) -> float:
        flops, cache_bytes, dense, experts = sums
        return clock(DecodingStep(Weights(dense, experts, *routed), flops, cache_bytes))

    return seconds


def _clock(space: Space) -> Callable[[DecodingStep], float]:
    assert space.accelerator is not None, "a time is that of a GPU"
    clock = decoding_clock(space.accelerator, space.serving)
    return lambda step: clock(step).seconds


MEASURES: dict[str, Measure] = {
    "total_params": _figure("total_params"),
    "active_params": _figure("active_params"),
    "forward_flops_per_token": Measure(_forward_flops, _mean),
    "kv_cache_bytes": _figure("kv_cache_bytes"),
    "decode_read_bytes_per_token": _figure("decode_read_bytes_per_token"),
    "weights_bytes": _figure("weights_bytes"),
    "train_bytes_per_gpu": Measure(_training_moments),
    "serve_bytes": Measure(_serving_moments),
    DECODE_SECONDS: Measure(_decoding, _decode_seconds),
}
"""Every measure by name: names of ``FIGURES``, and a time where there is a GPU."""
