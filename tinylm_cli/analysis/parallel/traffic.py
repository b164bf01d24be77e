"""What GPUs send each other in a training step: bytes that leave one, for each kind of parallelism.

A ring of n sends (n - 1) / n of a tensor to gather it or to reduce it to parts, and twice that to reduce it for all
(Patarasuk and Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002).
"""

from __future__ import annotations

from typing import NamedTuple

from tinylm_cli.analysis.parallel.sharding import is_routed, stage_layers
from tinylm_cli.analysis.table import TensorTable
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import Recompute
from tinylm_cli.reports.plan import Layout, Traffic


class Sent(NamedTuple):
    """What decides the traffic beside the layout.

    Attributes:
        config: The model.
        batch_size: Sequences in one pass of one replica.
        seq_len: Tokens in each.
        width: Bytes of an element of weights and activations.
        grad_width: Bytes of an element of gradients.
        recompute: ``full`` makes the forward pass send its part again.
    """

    config: ModelConfig
    batch_size: int
    seq_len: int
    width: int
    grad_width: int
    recompute: Recompute

    def stream_bytes(self, layout: Layout) -> int:
        """Return the bytes of the vectors between two layers, in one pass of one GPU's tokens."""
        return self.batch_size * self.seq_len // layout.context * self.config.d_model * self.width


def traffic(given: Sent, layout: Layout, stage: int, table: TensorTable) -> tuple[Traffic, ...]:
    """Return what a GPU of ``stage`` sends in one step; ``table`` is its part of the tensors.

    References:
        Rajbhandari et al. 2020, section 7, https://arxiv.org/abs/1910.02054 (data);
        Korthikanti et al. 2022, section 4.2, https://arxiv.org/abs/2205.05198 (tensor and sequence);
        Narayanan et al. 2021, section 3.2, https://arxiv.org/abs/2104.04473 (pipeline);
        Liu, Zaharia and Abbeel 2023, https://arxiv.org/abs/2310.01889 (context, as a ring);
        Lepikhin et al. 2020, https://arxiv.org/abs/2006.16668 (experts)
    """
    rings = (_data(given, layout, table), _tensor(given, layout, stage), _pipeline(given, layout, stage))
    return tuple(
        each for each in (*rings, _context(given, layout, stage), _experts(given, layout, stage)) if each.sent_bytes
    )


def _data(given: Sent, layout: Layout, table: TensorTable) -> Traffic:
    """Reduce gradients among replicas; with ZeRO 3 gather weights for each pass, forward and backward."""
    sent = 0
    for routed, replicas in (
        (False, layout.data * layout.context),
        (True, layout.data * layout.context // layout.expert),
    ):
        params = _params(table, routed=routed)
        gathers = 2 * layout.micro_batches if layout.zero == 3 else 1
        reductions = layout.micro_batches if layout.zero >= 2 else 1
        whole = params * (gathers * given.width + reductions * given.grad_width)
        if layout.zero == 0:
            whole = params * 2 * given.grad_width
        sent += whole * (replicas - 1) // replicas
    what = "weights gathered, gradients reduced" if layout.zero else "gradients reduced"
    return Traffic("data", sent, layout.data * layout.context * layout.tensor, what)


def _tensor(given: Sent, layout: Layout, stage: int) -> Traffic:
    """Gather before and reduce after attention and the feed-forward part of each layer, forward and backward."""
    passes = 3 if given.recompute == "full" else 2
    stream = given.stream_bytes(layout) * (layout.tensor - 1) // layout.tensor
    sub_layers = 2 * len(stage_layers(given.config, layout, stage))
    sent = layout.micro_batches * sub_layers * passes * 2 * stream
    return Traffic("tensor", sent, layout.tensor, "vectors gathered and reduced around each sub-layer")


def _pipeline(given: Sent, layout: Layout, stage: int) -> Traffic:
    """Send vectors to the stage after, and their gradients to the one before; each GPU its part of the sequence."""
    neighbours = (stage > 0) + (stage < layout.pipeline - 1)
    sent = layout.micro_batches * neighbours * given.stream_bytes(layout) // layout.tensor
    return Traffic("pipeline", sent, layout.gpus, "vectors and their gradients between stages")


def _context(given: Sent, layout: Layout, stage: int) -> Traffic:
    """Pass keys and values round a ring, and once more with their gradients beside them."""
    config = given.config
    kept = config.attention.kv_rank + config.attention.d_rope
    if config.attention.kind != "latent":
        kept = config.n_kv_heads * (config.d_head + config.d_value) // layout.tensor
    tokens = given.batch_size * given.seq_len // layout.context
    passes = 4 if given.recompute == "full" else 3
    layers = len(stage_layers(config, layout, stage))
    sent = layout.micro_batches * layers * passes * (layout.context - 1) * tokens * kept * given.width
    return Traffic("context", sent, layout.context * layout.tensor, "keys and values round a ring")


def _experts(given: Sent, layout: Layout, stage: int) -> Traffic:
    """Send each token to its experts and back, forward and backward; those at home stay."""
    layers = sum(given.config.has_experts(layer) for layer in stage_layers(given.config, layout, stage))
    passes = 3 if given.recompute == "full" else 2
    vectors = given.stream_bytes(layout) // layout.tensor * given.config.feed_forward.top_k
    sent = layout.micro_batches * layers * passes * 2 * vectors * (layout.expert - 1) // layout.expert
    return Traffic("expert", sent, layout.expert * layout.tensor, "tokens to their experts and back")


def _params(table: TensorTable, *, routed: bool) -> int:
    return sum(s.repeats * t.params for s in table for t in s.tensors if is_routed(t) is routed)
