"""What training and running a model hold in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AttentionKernel = Literal["flash", "math"]
Recompute = Literal["none", "selective", "full"]
Device = Literal["cuda", "cpu"]
Optimizer = Literal["adamw", "adamw_8bit", "adafactor", "muon", "sgd", "sgd_momentum"]
Quantization = Literal["none", "int8", "int4"]
Moment = Literal["loss", "backward", "embedding gradient", "optimizer step"]


@dataclass(frozen=True)
class KeptPart:
    """What one part of a layer, or of what stands outside the layers, keeps for the backward pass.

    Attributes:
        name: ``residual``, ``norm``, ``attention``, ``router``, ``experts``, ``feed_forward``, ``dropout``; outside the
            layers ``embedding``, ``position``, ``ln_f``, ``lm_head``, ``loss``.
        kept_bytes: All of it.
        tensor_parallel_bytes: Of these, what tensor parallelism divides: heads and hidden layers.
        sequence_parallel_bytes: What only sequence parallelism divides: the residual stream, norms, dropout masks.
            What neither divides, as tables for every position, is the rest.
    """

    name: str
    kept_bytes: int
    tensor_parallel_bytes: int
    sequence_parallel_bytes: int


@dataclass(frozen=True)
class LayerActivations:
    """What each layer of one sort keeps.

    Attributes:
        name: ``blocks``, and what sets the sort apart where there are several: ``blocks, window 4096``.
        count: Layers of the sort.
        layer_bytes: What one layer keeps from its forward pass to its backward pass.
        recomputed_bytes: What one layer computes again, and holds while its backward pass runs.
        parts: What makes up ``layer_bytes``, in the order of the layer.
    """

    name: str
    count: int
    layer_bytes: int
    recomputed_bytes: int
    parts: tuple[KeptPart, ...]


@dataclass(frozen=True)
class Activations:
    """What autograd keeps between the forward and the backward pass of one training step.

    Attributes:
        batch_size: Sequences in the pass.
        seq_len: Tokens in each.
        dtype: Type of weights and activations.
        attention_kernel: ``flash``: scores are never written out; ``math``: they are.
        recompute: What the backward pass computes again.
        device: Whose kernels run.
        kept_bytes: Held at the end of the forward pass.
        recomputed_bytes: What the widest layer holds besides, while its backward pass computes again.
        total_bytes: The sum of these two.
        outside: What stands outside the layers keeps.
        layers: Each sort of layer, held once with its count.
    """

    batch_size: int
    seq_len: int
    dtype: str
    attention_kernel: AttentionKernel
    recompute: Recompute
    device: Device
    kept_bytes: int
    recomputed_bytes: int
    total_bytes: int
    outside: tuple[KeptPart, ...]
    layers: tuple[LayerActivations, ...]
