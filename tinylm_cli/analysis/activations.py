"""Activation memory: bytes that autograd saves from the forward to the backward pass of one training step."""

from __future__ import annotations

from tinylm_cli.analysis.layer_kinds import LayerGroup, group_layers
from tinylm_cli.analysis.saved_tensors.loop import saved_between_passes
from tinylm_cli.analysis.saved_tensors.model import head, saved_before_layers
from tinylm_cli.analysis.saved_tensors.mtp import mtp_modules
from tinylm_cli.analysis.saved_tensors.recompute import kept_of_layers, recomputed_by_layer, saved_by_layer
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, deduplicated, total_bytes
from tinylm_cli.analysis.setups import TrainingSetup, check_sizes
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory import Activations, LayerActivations, SavedPart


def activation_bytes(config: ModelConfig, setup: TrainingSetup, *, context: int = 1) -> Activations:
    """Return the bytes that autograd saves for tinylm's model. Each storage counts once; parameters are excluded.

    Tensors have the setup's ``dtype``, except those that torch computes in float32 or wider: norm statistics, softmax,
    the router and the loss. A fused attention kernel saves queries, keys, values, its output and one number per query
    and head. Torch's fused kernels also save a (T, T) mask where a window is shorter than the sequence, and copy their
    output if queries are stored as (B, H, T, K). CUDA saves dropout masks as booleans and fuses RMSNorm.

    ``selective`` recomputes core attention: softmax and its inputs. ``full`` saves only the input of each layer, and
    the keys, values and selected positions that later layers read.

    Args:
        config: A validated config.
        setup: How it is trained.
        context: Context-parallel degree: GPUs that share each sequence. Queries on one GPU attend to keys on all GPUs;
            window sizes do not change.

    Raises:
        AnalysisError: If batch_size or seq_len is out of range.

    References:
        Korthikanti et al. 2022, https://arxiv.org/abs/2205.05198;
        Dao 2023 (FlashAttention-2), https://arxiv.org/abs/2307.08691
    """
    check_sizes(config, setup)
    run = ForwardPass(config, setup, context)
    layers = tuple(_layer(run, group) for group in group_layers(config, run.keys))
    kept = (tensor for _, tensor in kept_of_layers(run))
    between = saved_between_passes(run)
    outside = saved_parts(deduplicated((*saved_before_layers(run), *kept, *between, *head(run), *mtp_modules(run))))
    saved = sum(part.saved_bytes for part in outside) + sum(layer.count * layer.layer_bytes for layer in layers)
    recomputed = max(layer.recomputed_bytes for layer in layers)
    return Activations(
        batch_size=setup.batch_size,
        seq_len=run.seq_len,
        dtype=setup.dtype,
        attention_kernel=setup.attention_kernel,
        recompute=setup.recompute,
        device=setup.device,
        saved_bytes=saved,
        recomputed_bytes=recomputed,
        total_bytes=saved + recomputed,
        outside=outside,
        layers=layers,
    )


def _layer(run: ForwardPass, group: LayerGroup) -> LayerActivations:
    """Return the tensors of each layer of a group, named ``layers, window 4096`` if others differ.

    A looped layer saves tensors in each pass, and recomputes one pass at a time.
    """
    of_layer = run._replace(config=group.config)
    saved, recomputed = saved_by_layer(of_layer), recomputed_by_layer(of_layer)
    saved = tuple(tensor._replace(nbytes=group.n_passes * tensor.nbytes) for tensor in saved)
    name = f"layers, {group.name}" if group.name else "layers"
    return LayerActivations(name, len(group.layers), total_bytes(saved), total_bytes(recomputed), saved_parts(saved))


def saved_parts(tensors: tuple[SavedTensor, ...]) -> tuple[SavedPart, ...]:
    """Return the tensors summed by part, in the order in which parts first occur."""
    names = dict.fromkeys(tensor.part for tensor in tensors)
    return tuple(_part(name, [tensor for tensor in tensors if tensor.part == name]) for name in names)


def _part(name: str, tensors: list[SavedTensor]) -> SavedPart:
    tensor_parallel, sequence_parallel = (
        total_bytes(tensor for tensor in tensors if tensor.sharding == sharding) for sharding in ("tensor", "sequence")
    )
    return SavedPart(name, total_bytes(tensors), tensor_parallel, sequence_parallel)
