"""Bytes that autograd keeps from the forward to the backward pass of one training step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.saved import Kept, Pass, block, embedding, head, position
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.memory import (
    Activations,
    AttentionKernel,
    Device,
    KeptPart,
    LayerActivations,
    ModuleKernel,
    Recompute,
)


class Sort(NamedTuple):
    """What sets the layers of one sort apart from others in what they keep.

    Attributes:
        window: Positions that they see, where that is less than the sequence; else None.
        has_experts: Whether they hold a mixture of experts.
    """

    window: int | None
    has_experts: bool


def activation_bytes(
    config: ModelConfig,
    *,
    batch_size: int,
    seq_len: int,
    dtype: str,
    attention_kernel: AttentionKernel = "flash",
    recompute: Recompute = "none",
    device: Device = "cuda",
) -> Activations:
    """Return what tinylm's model keeps for its backward pass, each storage once and parameters not at all.

    Everything is in ``dtype`` but for what torch computes wider: statistics, softmax written out, the router and the
    loss. A fused kernel keeps queries, keys, values, their mixture and one number for each query and head; it is
    given a band of ``seq_len²`` where a window is shorter than the sequence. Of the two devices, CUDA keeps dropout
    masks as one byte an element, and fuses RMSNorm.

    ``selective`` recomputes what lies between queries, keys and values and their mixture; ``full`` keeps of each layer
    its input alone.

    Args:
        config: A validated config.
        batch_size: B, sequences in the pass, >= 1.
        seq_len: T, tokens in each, 1..max_len.
        dtype: A key of ``DTYPE_BYTES``.
        attention_kernel: ``flash`` or ``math``; :func:`module_kernel` says which one the model takes.
        recompute: What the backward pass computes again.
        device: Whose kernels run.

    Raises:
        AnalysisError: If batch_size or seq_len is out of range.

    References:
        Korthikanti et al. 2022, https://arxiv.org/abs/2205.05198;
        Dao 2023 (FlashAttention-2), https://arxiv.org/abs/2307.08691
    """
    check_sizes(config, batch_size=batch_size, seq_len=seq_len)
    run = Pass(config, batch_size, seq_len, DTYPE_BYTES[dtype], attention_kernel, device)
    found = sorts(config, seq_len, config.n_layers)
    layers = tuple(_layer(run, first, _name(sort, found), count, recompute) for sort, (first, count) in found.items())
    outside = _parts(once((*before(run), *head(run))))
    kept = sum(part.kept_bytes for part in outside) + sum(layer.count * layer.layer_bytes for layer in layers)
    again = max(layer.recomputed_bytes for layer in layers)
    return Activations(
        batch_size=batch_size,
        seq_len=seq_len,
        dtype=dtype,
        attention_kernel=attention_kernel,
        recompute=recompute,
        device=device,
        kept_bytes=kept,
        recomputed_bytes=again,
        total_bytes=kept + again,
        outside=outside,
        layers=layers,
    )


def module_kernel(config: ModelConfig, *, seq_len: int, device: Device = "cuda") -> AttentionKernel:
    """Return how tinylm's model computes attention while it trains: ``math`` where :func:`why_math` has a reason."""
    return "math" if why_math(config, seq_len=seq_len, device=device) else "flash"


def module_kernels(config: ModelConfig, *, seq_len: int) -> tuple[ModuleKernel, ...]:
    """Return how tinylm's model computes attention on each device while it trains, and why not by a fused kernel."""
    devices: tuple[Device, ...] = ("cuda", "cpu")
    return tuple(
        ModuleKernel(
            device,
            module_kernel(config, seq_len=seq_len, device=device),
            why_math(config, seq_len=seq_len, device=device),
        )
        for device in devices
    )


def why_math(config: ModelConfig, *, seq_len: int, device: Device = "cuda") -> str:
    """Return why tinylm's model writes scores out while it trains, in a few words; empty where it does not.

    Soft-capped scores and those beside a sink are written out. Torch's fused kernels want values as wide as queries
    and keys, and on the CPU no dropout; on CUDA the one that takes a mask (a band, or fading) takes no groups.

    Args:
        config: A validated config.
        seq_len: T.
        device: Whose kernels run.

    References:
        https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html
    """
    attention = config.attention
    if attention.logit_softcap is not None:
        return "scores are soft-capped"
    if attention.sinks:
        return "sinks stand beside scores"
    if device == "cpu" and config.dropout:
        return "dropout"
    if device == "cpu":
        return "values are not as wide as queries" if config.d_value != config.d_head else ""
    masked = config.position.kind == "alibi" or any(
        sort.window is not None for sort in sorts(config, seq_len, config.n_layers)
    )
    return "keys are grouped under a mask" if masked and config.n_kv_heads != config.n_heads else ""


def check_sizes(config: ModelConfig, *, batch_size: int, seq_len: int) -> None:
    """Refuse a pass that the model cannot make.

    Raises:
        AnalysisError: If batch_size is below 1, or seq_len outside 1..max_len.
    """
    if batch_size < 1:
        raise AnalysisError(f"batch_size {batch_size} is less than one sequence", help="give a batch_size of 1 or more")
    if not 1 <= seq_len <= config.max_len:
        raise AnalysisError(
            f"seq_len {seq_len:,} is outside 1..{config.max_len:,}: the model's max_len is {config.max_len:,}",
            help=f"give a seq_len of at most {config.max_len:,}, or --set max_len={seq_len}"
            if seq_len > 0
            else "give a seq_len of 1 or more",
        )


def sorts(config: ModelConfig, seq_len: int, n_layers: int) -> dict[Sort, tuple[int, int]]:
    """Return the first layer of each sort among the first ``n_layers``, and how many of them there are."""
    dense = config.feed_forward.n_dense_layers if config.feed_forward.n_experts is not None else 0
    period = len(config.attention.window_pattern)
    found: dict[Sort, tuple[int, int]] = {}
    for layers in (range(min(dense, n_layers)), range(dense, n_layers)):
        for layer in layers[:period]:
            window = config.window(layer)
            seen = window if window is not None and window < seq_len else None
            sort = Sort(seen, config.has_experts(layer))
            first, count = found.get(sort, (layer, 0))
            found[sort] = (first, count + len(layers[layer - layers.start :: period]))
    return found


def before(run: Pass) -> tuple[Kept, ...]:
    """Return what is kept before the first layer: by the embedding, and of positions for all layers."""
    pattern = range(min(run.config.n_layers, len(run.config.attention.window_pattern)))
    return (*embedding(run), *position(run, {run.config.window(layer) for layer in pattern}))


def kept_by_layer(run: Pass, layer: int, recompute: Recompute) -> tuple[Kept, ...]:
    """Return the tensors that a layer keeps; before recomputed scores stand queries, keys and values as projected."""
    if recompute == "selective":
        return tuple(one for one in once(block(run._replace(kernel="flash"), layer)) if not one.core)
    tensors = once(block(run, layer))
    return tensors if recompute == "none" else tuple(one for one in tensors if one.name == "input")


def recomputed_by_layer(run: Pass, layer: int, recompute: Recompute) -> tuple[Kept, ...]:
    """Return the tensors that a layer computes again."""
    if recompute == "none":
        return ()
    tensors = once(block(run, layer))
    return tuple(one for one in tensors if (one.core if recompute == "selective" else one.name != "input"))


def once(kept: Iterable[Kept]) -> tuple[Kept, ...]:
    """Return each tensor once, where it is first named."""
    found: dict[str, Kept] = {}
    for one in kept:
        assert found.setdefault(one.name, one) == one, f"two tensors are named {one.name}"
    return tuple(found.values())


def held_bytes(kept: Iterable[Kept]) -> int:
    """Return the bytes of tensors together."""
    return sum(one.nbytes for one in kept)


def _name(sort: Sort, sorts: Iterable[Sort]) -> str:
    """Return ``blocks`` and what sets the sort apart from the others."""
    words = ["blocks"]
    if len({other.window for other in sorts}) > 1:
        words.append("full attention" if sort.window is None else f"window {sort.window}")
    if len({other.has_experts for other in sorts}) > 1:
        words.append("experts" if sort.has_experts else "dense")
    return ", ".join(words)


def _layer(run: Pass, layer: int, name: str, count: int, recompute: Recompute) -> LayerActivations:
    kept, again = kept_by_layer(run, layer, recompute), recomputed_by_layer(run, layer, recompute)
    return LayerActivations(name, count, held_bytes(kept), held_bytes(again), _parts(kept))


def _parts(kept: Iterable[Kept]) -> tuple[KeptPart, ...]:
    """Return the tensors summed by part, in the order in which parts first come."""
    tensors = tuple(kept)
    names = dict.fromkeys(one.part for one in tensors)
    return tuple(_part(name, [one for one in tensors if one.part == name]) for name in names)


def _part(name: str, kept: list[Kept]) -> KeptPart:
    by = {divided: held_bytes(one for one in kept if one.divided == divided) for divided in ("tensor", "sequence")}
    return KeptPart(name, held_bytes(kept), by["tensor"], by["sequence"])
