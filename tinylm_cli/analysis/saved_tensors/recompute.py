"""Activation recomputation: the tensors of a layer that are saved, and those that its backward pass recomputes."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.dtypes import BOOL_BYTES
from tinylm_cli.analysis.saved_tensors.model import layer_tensors
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.shared_kv import shared_kv
from tinylm_cli.config.layer_kinds import index_sources, layer_pattern

KEPT_PARTS = ("shared keys and values", "shared selections")
"""The parts of the tensors of :func:`kept_of_layers`."""


def saved_by_layer(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return the tensors that a layer of the kind ``run.config`` saves.

    ``none`` saves every tensor. ``selective`` drops core attention and saves the queries, keys and values that a flash
    kernel reads. ``full`` saves only the layer's input. ``kept_of_layers`` has the tensors that later layers read.
    """
    recompute = run.setup.recompute
    if recompute == "selective":
        flash = run._replace(setup=run.setup._replace(attention_kernel="flash"))
        return tuple(tensor for tensor in layer_tensors(flash) if not tensor.is_core_attention)
    tensors = layer_tensors(run)
    if recompute == "full" and run.config.block.has_shared_block:  # which concatenates and adds its input
        nbytes = run.tokens * run.config.d_model * run.element_bytes  # B × T × D
        return (SavedTensor("input", "residual", nbytes, "sequence"),)
    return tensors if recompute == "none" else tuple(tensor for tensor in tensors if tensor.name == "input")


def recomputed_by_layer(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return the tensors that the backward pass of a layer recomputes."""
    tensors = layer_tensors(run)
    match run.setup.recompute:
        case "none":
            return ()
        case "selective":
            return tuple(tensor for tensor in tensors if tensor.is_core_attention)
        case "full":
            return tuple(tensor for tensor in tensors if tensor.name != "input")


def kept_of_layers(run: ForwardPass) -> Iterator[tuple[int, SavedTensor]]:
    """Yield the tensors that recomputation keeps of a layer because later layers read them, with its index."""
    for each in shared_kv(run.config) if run.setup.recompute == "full" else ():
        nbytes = run.tokens * each.elements * run.element_bytes  # B × T × G·(K + K_v)
        yield each.source, SavedTensor(f"keys and values of layer {each.source}", KEPT_PARTS[0], nbytes, "tensor")
    if run.setup.recompute != "none":
        pattern = layer_pattern(run.config)
        for source in dict.fromkeys(index_sources(run.config).values()):
            if run._replace(config=pattern.kinds[pattern.kind(source)]).is_indexed:
                nbytes = run.tokens * run.keys * BOOL_BYTES  # B × T × S
                yield source, SavedTensor(f"selection of layer {source}", KEPT_PARTS[1], nbytes, "none")
