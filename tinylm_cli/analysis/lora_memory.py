"""Training memory and FLOPs with low-rank adapters (LoRA), on weights that are frozen and may be quantized (QLoRA).

The output of the embedding requires a gradient, as ``prepare_model_for_kbit_training`` of peft makes it: every layer
then saves the tensors for the gradient of its input. A frozen linear map needs only its weight for it, and an adapter
``B(A(x))`` saves ``x`` and ``A(x)``. The gradients, the float32 copy and the moments are those of the adapters.

A quantized weight is dequantized to the dtype of the activations where it is used, one linear map at a time.

References:
    Hu et al. 2021 (LoRA), https://arxiv.org/abs/2106.09685;
    Dettmers et al. 2023 (QLoRA), https://arxiv.org/abs/2305.14314
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from math import prod
from typing import NamedTuple

from tinylm_cli.analysis.activations import saved_parts
from tinylm_cli.analysis.dtypes import DTYPE_BYTES, FLOAT32_BYTES
from tinylm_cli.analysis.layer_backward import layer_backward
from tinylm_cli.analysis.optimizer_state import MOMENTS, optimizer_bytes
from tinylm_cli.analysis.params import total_params, weights_bytes
from tinylm_cli.analysis.quantization import effective_storage
from tinylm_cli.analysis.saved_tensors.model import head, position
from tinylm_cli.analysis.saved_tensors.recompute import recomputed_by_layer, saved_by_layer
from tinylm_cli.analysis.saved_tensors.saved_tensor import (
    ForwardPass,
    LayerAdapters,
    SavedTensor,
    deduplicated,
    total_bytes,
)
from tinylm_cli.analysis.setups import TrainingSetup, check_sizes
from tinylm_cli.analysis.stored_tensors import quantized_params, stored_bytes, stored_types
from tinylm_cli.analysis.tensor import Component, Tensor
from tinylm_cli.analysis.tensor_table import Section, TensorTable, tensor_table
from tinylm_cli.config.layer_kinds import layer_pattern, without_mtp
from tinylm_cli.config.lora import Lora, LoraModule
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.memory import Activations, LayerActivations, LoraMemory, MemoryPart, PhaseMemory, TrainingMemory
from tinylm_cli.wording import Command, Setting, Text

MAX_LAYERS = 10_000
"""Most layers of a model whose adapters are looked up layer by layer."""

HEADS = ("lm_head", "score")

MIXERS = ("attention", "attention_mamba2", "gated_deltanet", "mamba2", "none", "short_conv")
"""The mixers whose saved tensors with frozen weights are known."""


class _Run(NamedTuple):
    """Consecutive layers with equal cost."""

    layers: range
    run: ForwardPass  # the forward pass of one of them
    section: Section  # its tensors
    adapters: tuple[LoraModule, ...]  # the adapters of one of them


def lora_training_memory(config: ModelConfig, setup: TrainingSetup) -> TrainingMemory:
    """Return the training memory of one GPU that trains adapters; see :func:`training_memory`.

    Multi-token prediction modules are not trained, and not loaded.

    Args:
        config: A validated config.
        setup: How it is trained, with adapters.

    Raises:
        AnalysisError: If batch_size or seq_len is out of range, or if memory is not computed for a part of the model or
            a kind of adapter.
    """
    lora = setup.lora
    assert lora is not None
    check_sizes(config, setup)
    config = without_mtp(config)
    _require_supported(config, lora)
    base, trained = _base_bytes(config, setup), _trained_table(lora)
    params, has_master = total_params(trained), setup.has_master_weights
    adapters = (params - lora.bias_params) * setup.element_bytes  # biases are weights of the model
    state = optimizer_bytes(trained, setup.optimizer, FLOAT32_BYTES if has_master else setup.element_bytes)
    master = params * FLOAT32_BYTES if has_master else 0
    gradients = params * setup.grad_element_bytes
    run = ForwardPass(config, setup, adapters=_outside(lora))
    activations = _activations(run, lora)
    timeline = tuple(_timeline(run, lora, activations))
    peak = max(timeline, key=lambda phase: phase.held_bytes)
    resident = base + adapters + master + state
    roots = state // MOMENTS if setup.optimizer == "adamw" else 0  # foreach: square roots of all second moments at once
    logits = 2 * run.outputs * run.element_bytes + 2 * run.loss_inputs * run.upcast_bytes  # as in training_memory
    parts = {
        "frozen weights": base,
        "adapters": adapters,
        "master weights": master,
        "optimizer state": state,
        "gradients": peak.gradients_bytes,
        "activations": peak.activations_bytes,
        "working memory": peak.working_bytes,
    }
    return TrainingMemory(
        batch_size=setup.batch_size,
        seq_len=run.seq_len,
        dtype=setup.dtype,
        grad_dtype=setup.grad_dtype or setup.dtype,
        optimizer=setup.optimizer,
        weights_bytes=base + adapters,
        master_bytes=master,
        gradients_bytes=gradients,
        optimizer_bytes=state,
        activations=activations,
        logits_bytes=logits,
        total_bytes=resident + gradients + max(phase.activations_bytes + phase.working_bytes for phase in timeline),
        peak_bytes=resident + peak.held_bytes,
        peak_phase=peak.name,
        foreach_peak_bytes=max(resident + peak.held_bytes, resident + gradients + roots),
        parts=MemoryPart.breakdown(parts),
        timeline=timeline,
        lora=_summary(config, setup, lora, base, adapters),
    )


def _require_supported(config: ModelConfig, lora: Lora) -> None:
    """Check that the memory of the model and of the adapters is known.

    Raises:
        AnalysisError: If it is not.
    """
    unknown = next(filter(None, (*_unsupported_adapters(lora), *map(_unsupported, layer_pattern(config).kinds))), "")
    if config.n_layers > MAX_LAYERS:
        unknown = f"of more than {MAX_LAYERS:,} layers"
    if config.loop.n_loops is not None:
        unknown = "of looped layers"
    if unknown:
        command = Command("params", ("MODEL", Setting("lora", metavar="LORA")))
        raise AnalysisError(
            f"with adapters, the training memory {unknown} is not computed",
            help=Text(command, " counts the trained parameters"),
        )


def _unsupported_adapters(lora: Lora) -> Iterator[str]:
    kinds = {module.kind for module in lora.modules}
    yield "of DoRA" if lora.config.use_dora else ""
    yield "of embeddings" if "embedding" in kinds else ""
    yield "of stacked weights of experts and of routers" if "parameter" in kinds else ""
    yield "of copies of other modules than the head" if any(not each.is_head for each in lora.saved) else ""


def _unsupported(kind: ModelConfig) -> str:
    """Return the part of a layer whose saved tensors with frozen weights are not known; empty if there is none."""
    attention, network, block = kind.attention, kind.feed_forward, kind.block
    if block.mixer not in MIXERS:
        return f"of the mixer {block.mixer}"
    parts = {
        "of per-layer embeddings": kind.embedding.d_per_layer,
        "of several residual streams": block.n_streams > 1,
        "of learned residuals": block.laurel_rank or block.skip_weight,
        "of gated norms": block.mixer_norm_gate_rank or block.feed_forward_norm_gate_rank,
        "of differential attention": attention.differential,
        "of a mixture of attention heads": attention.n_experts,
        "of sparse attention": attention.index_top_k or attention.dynamic_mask_top_k,
        "of shared keys and values": attention.kv_from,
        "of channel mixing": block.feed_forward and network.channel_mixing,
        "of xIELU": block.feed_forward and network.activation == "xielu",
        "of a dense layer before the head": kind.head.dense,
    }
    if block.feed_forward and network.n_experts is not None:
        parts["of experts on a latent space"] = network.d_latent
        parts["of norms and shortcuts around experts"] = network.branch_norms or network.shortcut
        parts["of this router"] = network.router == "sparsemixer" or network.expert_scale
    return next((name for name, has in parts.items() if has), "")


def _summary(config: ModelConfig, setup: TrainingSetup, lora: Lora, base: int, adapters: int) -> LoraMemory:
    table, storage = tensor_table(config), effective_storage(config, setup.dtype, setup.quantization)
    return LoraMemory(
        rank=lora.config.rank,
        modules=lora.leaf_names,
        trainable_params=lora.trainable_params,
        base_bytes=base,
        base_dtype=storage.quantization if quantized_params(table, storage) else setup.dtype,
        adapter_bytes=adapters,
        dequantized_bytes=max((_dequantized(section, config, setup) for section in table), default=0),
    )


def _base_bytes(config: ModelConfig, setup: TrainingSetup) -> int:
    """Return the bytes of the frozen weights: as requested, else as the checkpoint quantizes them."""
    table, storage = tensor_table(config), effective_storage(config, setup.dtype, setup.quantization)
    buffers = weights_bytes(config, setup.dtype) - total_params(table) * setup.element_bytes
    return buffers + stored_bytes(table, storage)


def _dequantized(section: Section, config: ModelConfig, setup: TrainingSetup) -> int:
    """Return the bytes of the largest linear weight of a section after its dequantization; 0 if none is quantized.

    The stacked weights of experts are dequantized one expert at a time.
    """
    storage = effective_storage(config, setup.dtype, setup.quantization)
    sizes = (
        prod(tensor.shape[-2:]) * setup.element_bytes
        for tensor in section.tensors
        if len(tensor.shape) > 1 and stored_types(section, tensor, storage).keys() - DTYPE_BYTES.keys()
    )
    return max(sizes, default=0)


def _trained_table(lora: Lora) -> TensorTable:
    """Return the trained tensors: those of the adapters, the copies of modules, and biases as one tensor."""
    own: Component = "attention"  # a matrix between the embedding and the head, for optimizers that differ by it
    tensors = [Tensor(name, shape, own) for name, shape in lora.tensors()]
    if lora.bias_params:
        tensors.append(Tensor("biases", (lora.bias_params,), own))
    return (Section(tuple(tensors)),)


def _outside(lora: Lora) -> LayerAdapters:
    """Return the adapters outside the layers, and the head if a copy of it is trained."""
    ranks = tuple((module.modules, module.rank) for module in lora.modules if module.layer is None)
    return LayerAdapters(ranks, lora.config.dropout, frozenset(HEADS if lora.trains_head else ()))


def _runs(run: ForwardPass, lora: Lora) -> list[_Run]:
    """Return the runs of consecutive layers with equal cost, in order."""
    config, pattern, table = run.config, layer_pattern(run.config), tensor_table(run.config)
    by_layer: dict[int, list[LoraModule]] = {}
    for module in lora.modules:
        if module.layer is not None:
            by_layer.setdefault(module.layer, []).append(module)

    def key(layer: int) -> tuple[int, tuple[tuple[tuple[str, ...], int], ...]]:
        names = ((tuple(_within(name) for name in each.modules), each.rank) for each in by_layer.get(layer, ()))
        return pattern.kind(layer), tuple(names)

    found = []
    for (kind, ranks), group in groupby(range(config.n_layers), key):
        layers = list(group)
        of_layer = run._replace(config=pattern.kinds[kind], adapters=LayerAdapters(ranks, lora.config.dropout))
        section = next(each for each in table if each.layers is not None and layers[0] in each.layers)
        adapters = tuple(by_layer.get(layers[0], ()))
        found.append(_Run(range(layers[0], layers[-1] + 1), of_layer, section, adapters))
    return found


def _within(name: str) -> str:
    """Return the name of a module within its layer."""
    return name.split(".", 2)[2]


def _saved(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return the tensors that a layer saves; full recomputation keeps its input, whatever reads it."""
    if run.setup.recompute != "full":
        return saved_by_layer(run)
    nbytes = run.tokens * run.config.d_model * run.element_bytes  # B × T × D
    return (SavedTensor("input", "residual", nbytes, "sequence"),)


def _activations(run: ForwardPass, lora: Lora) -> Activations:
    """Return the tensors that autograd saves, by layers with equal cost."""
    setup = run.setup
    counts: dict[ForwardPass, int] = {}
    for each in _runs(run, lora):
        counts[each.run] = counts.get(each.run, 0) + len(each.layers)
    layers = []
    for number, (of_layer, count) in enumerate(counts.items(), 1):
        saved = _saved(of_layer)
        recomputed = total_bytes(recomputed_by_layer(of_layer))
        name = f"layers, {number}" if len(counts) > 1 else "layers"
        layers.append(LayerActivations(name, count, total_bytes(saved), recomputed, saved_parts(saved)))
    outside = saved_parts(deduplicated((*position(run), *head(run))))
    saved_bytes = sum(part.saved_bytes for part in outside) + sum(each.count * each.layer_bytes for each in layers)
    recomputed_bytes = max(each.recomputed_bytes for each in layers)
    return Activations(
        batch_size=setup.batch_size,
        seq_len=run.seq_len,
        dtype=setup.dtype,
        attention_kernel=setup.attention_kernel,
        recompute=setup.recompute,
        device=setup.device,
        saved_bytes=saved_bytes,
        recomputed_bytes=recomputed_bytes,
        total_bytes=saved_bytes + recomputed_bytes,
        outside=outside,
        layers=tuple(layers),
    )


def _timeline(run: ForwardPass, lora: Lora, activations: Activations) -> Iterator[PhaseMemory]:
    """Yield the phases of a step that may be its peak; see :func:`training_timeline`."""
    setup, config = run.setup, run.config
    stream = run.tokens * config.d_model * run.element_bytes  # B × T × D
    saved_by_head = deduplicated(head(run))
    saved = activations.saved_bytes
    outside = [module for module in lora.modules if module.layer is None]
    head_params = sum(map(lora.module_params, outside)) + lora.saved_params
    gradients = head_params * setup.grad_element_bytes
    if config.n_outputs:
        # the gradients of the log-probabilities and of the logits, in float32 or wider
        yield PhaseMemory("loss", 0, saved, 2 * run.loss_inputs * run.upcast_bytes)
    saved -= total_bytes(tensor for tensor in saved_by_head if tensor.part == "loss")
    outputs = run.outputs * run.element_bytes if config.n_outputs else stream
    # the gradients of the outputs and of the head's input; of the output of an adapter
    yield PhaseMemory("head gradient", gradients, saved, outputs * (2 if outside else 1) + stream)
    saved -= total_bytes(tensor for tensor in saved_by_head if tensor.part != "loss")
    for each in reversed(_runs(run, lora)):
        own = sum(map(lora.module_params, each.adapters)) * setup.grad_element_bytes
        of_layer = total_bytes(_saved(each.run))
        for layer in dict.fromkeys((each.layers[-1], each.layers[0])):
            later = gradients + (each.layers[-1] - layer) * own
            before = saved - (each.layers[-1] - layer + 1) * of_layer
            yield from _backward(each, config, setup, later + own, before)
        saved -= len(each.layers) * of_layer
        gradients += len(each.layers) * own
    yield PhaseMemory("optimizer step", lora.trainable_params * setup.grad_element_bytes, 0, 0)


def _backward(
    each: _Run, config: ModelConfig, setup: TrainingSetup, gradients: int, saved: int
) -> Iterator[PhaseMemory]:
    """Yield the phases of the backward pass of one layer.

    ``layer_backward`` counts saved tensors that are freed before some gradients exist. The input of a frozen down_proj
    is not among them, so that these gradients come on top. The gradient through an adapter is held beside the one
    through its map until both are added.
    """
    run = each.run
    dequantized = _dequantized(each.section, config, setup)
    *of_network, of_mixer = layer_backward(run, each.section, gradients, saved, 1)
    width = _network_gradients(run.config, each.adapters)
    for phase, elements in (*((phase, width) for phase in of_network), (of_mixer, config.d_model)):
        more = run.tokens * elements * run.element_bytes + dequantized  # B × T × F, or B × T × D
        yield replace(phase, working_bytes=phase.working_bytes + more)


def _network_gradients(kind: ModelConfig, adapters: tuple[LoraModule, ...]) -> int:
    """Return the elements per token of the gradients that the backward pass of a network with frozen weights adds."""
    if kind.feed_forward.n_experts is not None:
        return kind.d_model
    adapts_down = any(name.endswith("down_proj") for module in adapters for name in module.modules)
    return kind.d_model if adapts_down and kind.feed_forward.gated else kind.d_ff
