"""Activation recomputation: the tensors of a layer that are saved, and those that its backward pass recomputes."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.saved_tensors.model import layer_tensors
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor
from tinylm_cli.analysis.shared_kv import shared_kv


def saved_by_layer(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return the tensors that a layer of the kind ``run.config`` saves.

    ``none`` saves every tensor. ``selective`` drops core attention and saves the queries, keys and values that a flash
    kernel reads. ``full`` saves only the layer's input.
    """
    recompute = run.setup.recompute
    if recompute == "selective":
        flash = run._replace(setup=run.setup._replace(attention_kernel="flash"))
        return tuple(tensor for tensor in layer_tensors(flash) if not tensor.is_core_attention)
    tensors = layer_tensors(run)
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


def kept_kv(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the keys and values that full recomputation keeps of each layer for the later ones that attend to them."""
    for each in shared_kv(run.config) if run.setup.recompute == "full" else ():
        nbytes = run.tokens * each.elements * run.element_bytes  # B × T × G·(K + K_v)
        yield SavedTensor(f"keys and values of layer {each.source}", "shared keys and values", nbytes, "tensor")
