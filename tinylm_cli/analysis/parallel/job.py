"""What is to be trained, and on what."""

from __future__ import annotations

from typing import NamedTuple

from tinylm_cli.analysis.tensor_table import HALF_PRECISION
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import AttentionKernel, Optimizer, Recompute

KERNEL_EFFICIENCY = 0.55
"""Share of the dense peak that a GPU reaches while it computes a layer, all that is no matrix product included. With it
plans come out at what Llama 3 405B reached on H100s, traffic and waiting being counted on their own (Grattafiori et al.
2024, table 4, https://arxiv.org/abs/2407.21783); the published runs held against plans in docs/costs.md ask for 0.47 to
0.72, the wider the model the more."""


class Machine(NamedTuple):
    """What is known of the GPUs.

    Attributes:
        capacity_bytes: Memory of each.
        peak_flops_per_second: Of each, in the type that is computed in.
        kernel_efficiency: Share of that which a GPU reaches while it computes, above 0, up to 1.
        link_bytes_per_second: From a GPU to all others of its node together.
        peer_bytes_per_second: From a GPU to one other of its node.
        network_bytes_per_second: From a GPU to other nodes, all GPUs of its node sending.
        gpus_per_node: How many the link joins.
    """

    capacity_bytes: int
    peak_flops_per_second: int
    kernel_efficiency: float
    link_bytes_per_second: int
    peer_bytes_per_second: int
    network_bytes_per_second: int
    gpus_per_node: int


class Job(NamedTuple):
    """What is to be trained, and how each GPU computes.

    Attributes:
        config: The model.
        batch_size: Sequences in one pass of one replica.
        seq_len: Tokens in each.
        dtype: Type of weights and activations.
        optimizer: What updates the weights.
        recompute: What the backward pass computes again.
        grad_dtype: Type that gradients are kept in.
        master_weights: Whether there is a float32 copy of the weights.
        kernel: How attention is computed.
    """

    config: ModelConfig
    batch_size: int
    seq_len: int
    dtype: str = "bfloat16"
    optimizer: Optimizer = "adamw"
    recompute: Recompute = "none"
    grad_dtype: str | None = None
    master_weights: bool | None = None
    kernel: AttentionKernel = "flash"

    @property
    def has_copy(self) -> bool:
        """Whether there is a float32 copy of the weights: when not said, in half precision."""
        return self.dtype in HALF_PRECISION if self.master_weights is None else self.master_weights
