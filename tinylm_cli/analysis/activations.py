"""Bytes that autograd keeps from the forward to the backward pass of one training step."""

from __future__ import annotations

from collections.abc import Iterable

from tinylm_cli.analysis.layer_groups import LayerKind, group_layers
from tinylm_cli.analysis.saved_tensors.model import head, saved_before_layers
from tinylm_cli.analysis.saved_tensors.recompute import recomputed_by_layer, saved_by_layer
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, each_once, total_bytes
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.size_checks import check_sizes
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import Activations, KeptPart, LayerActivations


def activation_bytes(config: ModelConfig, setup: TrainingSetup, *, context: int = 1) -> Activations:
    """Return what tinylm's model keeps for its backward pass, each storage once and parameters not at all.

    Everything is in the setup's ``dtype`` but for what torch computes wider: statistics, softmax written out, the
    router and the loss. A fused kernel keeps queries, keys, values, their mixture and one number for each query and
    head; torch's is given a band of ``seq_len²`` besides where a window is shorter than the sequence, and its mixture
    is copied where heads lie apart. Of the two devices, CUDA keeps dropout masks as one byte an element, and fuses
    RMSNorm.

    ``selective`` recomputes what lies between queries, keys and values and their mixture; ``full`` keeps of each layer
    its input alone.

    Args:
        config: A validated config.
        setup: How it is trained.
        context: Context-parallel degree: GPUs that share each sequence. The queries of one GPU attend to the keys of
            all, and windows are as wide as ever.

    Raises:
        AnalysisError: If batch_size or seq_len is out of range.

    References:
        Korthikanti et al. 2022, https://arxiv.org/abs/2205.05198;
        Dao 2023 (FlashAttention-2), https://arxiv.org/abs/2307.08691
    """
    check_sizes(config, batch_size=setup.batch_size, seq_len=setup.length(config))
    run = ForwardPass(config, setup, context)
    groups = group_layers(config, run.keys)
    layers = tuple(_layer(run, group.first, _name(kind, groups), group.n_layers) for kind, group in groups.items())
    outside = _parts(each_once((*saved_before_layers(run), *head(run))))
    kept = sum(part.kept_bytes for part in outside) + sum(layer.count * layer.layer_bytes for layer in layers)
    again = max(layer.recomputed_bytes for layer in layers)
    return Activations(
        batch_size=setup.batch_size,
        seq_len=run.seq_len,
        dtype=setup.dtype,
        attention_kernel=setup.attention_kernel,
        recompute=setup.recompute,
        device=setup.device,
        kept_bytes=kept,
        recomputed_bytes=again,
        total_bytes=kept + again,
        outside=outside,
        layers=layers,
    )


def _name(kind: LayerKind, kinds: Iterable[LayerKind]) -> str:
    """Return ``blocks`` and the properties that only some of the kinds have: ``blocks, window 4096``."""
    words = ["blocks"]
    if len({other.window for other in kinds}) > 1:
        words.append("full attention" if kind.window is None else f"window {kind.window}")
    if len({other.has_experts for other in kinds}) > 1:
        words.append("experts" if kind.has_experts else "dense")
    return ", ".join(words)


def _layer(run: ForwardPass, layer: int, name: str, count: int) -> LayerActivations:
    kept, again = saved_by_layer(run, layer), recomputed_by_layer(run, layer)
    return LayerActivations(name, count, total_bytes(kept), total_bytes(again), _parts(kept))


def _parts(kept: Iterable[SavedTensor]) -> tuple[KeptPart, ...]:
    """Return the tensors summed by part, in the order in which parts first come."""
    tensors = tuple(kept)
    names = dict.fromkeys(one.part for one in tensors)
    return tuple(_part(name, [one for one in tensors if one.part == name]) for name in names)


def _part(name: str, kept: list[SavedTensor]) -> KeptPart:
    by = {divided: total_bytes(one for one in kept if one.divided == divided) for divided in ("tensor", "sequence")}
    return KeptPart(name, total_bytes(kept), by["tensor"], by["sequence"])
