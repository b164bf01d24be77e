"""What GPUs send each other in a training step: bytes that leave one, for each kind of parallelism.

A ring of n sends (n - 1) / n of a tensor to gather it or to reduce it to parts, and twice that to reduce it for all
(Patarasuk and Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tinylm_cli.analysis.parallel.collective_time import everyone_seconds, neighbor_seconds, ring_seconds
from tinylm_cli.analysis.parallel.sharding import stage_layers, stage_params
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.plan import Collective, Layout, Traffic

_SECONDS: dict[Collective, Callable[[int, Accelerator, int, int], float]] = {
    "data": ring_seconds,
    "expert data": ring_seconds,
    "embedding": ring_seconds,
    "tensor": ring_seconds,
    "pipeline": neighbor_seconds,
    "context": neighbor_seconds,
    "expert": everyone_seconds,
}

ONCE_A_STEP: tuple[Collective, ...] = ("data", "expert data", "embedding")
"""What follows the last micro-batch; all else is sent while each of them passes."""


def traffic(
    config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int, accelerator: Accelerator | None
) -> tuple[Traffic, ...]:
    """Return what a GPU of ``stage`` sends in one step, and how long that takes where the GPU is known.

    References:
        Rajbhandari et al. 2020, section 7, https://arxiv.org/abs/1910.02054 (data);
        Korthikanti et al. 2022, section 4.2, https://arxiv.org/abs/2205.05198 (tensor and sequence);
        Narayanan et al. 2021, sections 2.2 and 3.2, https://arxiv.org/abs/2104.04473 (pipeline);
        Liu, Zaharia and Abbeel 2023, https://arxiv.org/abs/2310.01889 (context, as a ring);
        Lepikhin et al. 2020, https://arxiv.org/abs/2006.16668 (experts)
    """
    found = (
        *_data(config, setup, layout, stage),
        _embedding(config, setup, layout, stage),
        _tensor(config, setup, layout, stage),
        _pipeline(config, setup, layout, stage),
        _context(config, setup, layout, stage),
        _experts(config, setup, layout, stage),
    )
    return tuple(_timed(each, accelerator) for each in found if each.sent_bytes)


def _timed(sent: Traffic, accelerator: Accelerator | None) -> Traffic:
    if accelerator is None:
        return sent
    seconds = _SECONDS[sent.name](sent.sent_bytes, accelerator, sent.members, sent.stride)
    return Traffic(sent.name, sent.sent_bytes, sent.members, sent.stride, seconds, sent.what)


def _data(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> Iterator[Traffic]:
    """Reduce gradients among replicas; with ZeRO 3 gather weights for each pass, forward and backward."""
    width, grad_width = setup.element_bytes, setup.grad_element_bytes
    gathers = 2 * layout.micro_batches if layout.zero == 3 else 1
    reductions = layout.micro_batches if layout.zero >= 2 else 1
    per_param = gathers * width + reductions * grad_width if layout.zero else 2 * grad_width
    what = "weights gathered, gradients reduced" if layout.zero else "gradients reduced"
    dense, routed = stage_params(config, layout, stage)
    replicas = layout.data * layout.context
    few = replicas // layout.expert
    if layout.expert == 1:
        dense, routed = dense + routed, 0
    yield Traffic("data", dense * per_param * (replicas - 1) // replicas, replicas, layout.tensor, None, what)
    stride = layout.tensor * layout.expert
    yield Traffic("expert data", routed * per_param * (few - 1) // few, few, stride, None, f"experts' {what}")


def _embedding(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> Traffic:
    """Reduce the gradient of a tied table between the first stage and the last, which hold it both."""
    holds = config.tie_weights and layout.pipeline > 1 and stage in (0, layout.pipeline - 1)
    rows = -(-config.vocab_size // layout.tensor)
    sent = rows * config.d_model * setup.grad_element_bytes if holds else 0
    stride = layout.gpus // layout.pipeline * (layout.pipeline - 1)
    return Traffic("embedding", sent, 2, stride, None, "gradient of the table that the first and last stage share")


def _tensor(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> Traffic:
    """Gather vectors before and scatter sums after each sub-layer, the other way round in the backward pass.

    There the input is gathered once more for the gradient of the weights, for each GPU keeps its part of it alone: five
    times in all, and seven where the forward pass is run again. What goes to divided experts is gathered as often as
    it has been sent. The embedding scatters what it looks up, and the head gathers what it reads.
    """
    again = setup.recompute == "full"
    layers = stage_layers(config, layout, stage)
    halves = sum(1 + _fed(config, layout, layer) for layer in layers)
    streams = halves * (7 if again else 5) + (2 if stage == 0 else 0) + (3 if stage == layout.pipeline - 1 else 0)
    sent = (
        layout.micro_batches * streams * (_stream_bytes(config, setup, layout) * (layout.tensor - 1) // layout.tensor)
    )
    return Traffic("tensor", sent, layout.tensor, 1, None, "vectors gathered and reduced around each sub-layer")


def _fed(config: ModelConfig, layout: Layout, layer: int) -> int:
    """Return how many streams the feed-forward part of a layer reads: a copy of each vector for each of its experts."""
    settings = config.feed_forward
    if not config.has_experts(layer) or layout.expert == 1:
        return 1
    return settings.top_k + (1 if settings.n_shared_experts else 0)


def _pipeline(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> Traffic:
    """Send vectors to the stage after, and their gradients to the one before; each GPU its part of the sequence.

    Of several chunks a stage has, each sends; the last stage's go on to the first.
    """
    chunks, last = layout.virtual, layout.pipeline - 1
    on = chunks - (stage == last)
    back = chunks - (stage == 0)
    sent = layout.micro_batches * (on + back) * _stream_bytes(config, setup, layout) // layout.tensor if last else 0
    stride = layout.gpus // layout.pipeline
    return Traffic("pipeline", sent, layout.pipeline, stride, None, "vectors and their gradients between stages")


def _context(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> Traffic:
    """ForwardPass keys and values round a ring, and once more with their gradients beside them."""
    kept = config.attention.kv_rank + config.attention.d_rope
    if config.attention.kind != "latent":
        kept = config.n_kv_heads * (config.d_head + config.d_value) // layout.tensor
    tokens = setup.batch_size * setup.length(config) // layout.context
    passes = 4 if setup.recompute == "full" else 3
    layers = len(stage_layers(config, layout, stage))
    sent = layout.micro_batches * layers * passes * (layout.context - 1) * tokens * kept * setup.element_bytes
    return Traffic("context", sent, layout.context, layout.tensor, None, "keys and values round a ring")


def _experts(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> Traffic:
    """Send each token to its experts and back, forward and backward; those at home stay."""
    layers = sum(config.has_experts(layer) for layer in stage_layers(config, layout, stage))
    passes = 3 if setup.recompute == "full" else 2
    vectors = _stream_bytes(config, setup, layout) // layout.tensor * config.feed_forward.top_k
    sent = layout.micro_batches * layers * passes * 2 * vectors * (layout.expert - 1) // layout.expert
    return Traffic("expert", sent, layout.expert, layout.tensor, None, "tokens to their experts and back")


def _stream_bytes(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> int:
    """Return the bytes of the vectors between two layers, in one pass of one GPU's tokens."""
    return setup.batch_size * setup.length(config) // layout.context * config.d_model * setup.element_bytes
