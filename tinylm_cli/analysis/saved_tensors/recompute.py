"""Activation recomputation: which tensors of a layer are saved, and which its backward pass computes again."""

from __future__ import annotations

from tinylm_cli.analysis.saved_tensors.model import block
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, each_once


def saved_by_layer(run: ForwardPass, layer: int) -> tuple[SavedTensor, ...]:
    """Return the tensors that a layer keeps; before recomputed scores stand queries, keys and values as projected."""
    recompute = run.setup.recompute
    if recompute == "selective":
        flash = run._replace(setup=run.setup._replace(attention_kernel="flash"))
        return tuple(one for one in each_once(block(flash, layer)) if not one.core)
    tensors = each_once(block(run, layer))
    return tensors if recompute == "none" else tuple(one for one in tensors if one.name == "input")


def recomputed_by_layer(run: ForwardPass, layer: int) -> tuple[SavedTensor, ...]:
    """Return the tensors that a layer computes again."""
    recompute = run.setup.recompute
    if recompute == "none":
        return ()
    tensors = each_once(block(run, layer))
    return tuple(one for one in tensors if (one.core if recompute == "selective" else one.name != "input"))
