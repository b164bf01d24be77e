"""Tensors saved by multi-token prediction modules: their norms, projection and layer, the LM head and the loss.

Every module saves equally much. Its inputs, the output of the embedding and the hidden states of the module before it,
are the inputs of other modules too, which save them.
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.saved_tensors.model import head
from tinylm_cli.analysis.saved_tensors.norm import norm
from tinylm_cli.analysis.saved_tensors.recompute import saved_by_layer
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, deduplicated
from tinylm_cli.analysis.tensor_table import EMBEDDING_AND_HIDDEN
from tinylm_cli.config.layer_kinds import layer_pattern, mtp_layer

_EMBEDDED, _HIDDEN = "embedding output", "hidden states"


def mtp_modules(run: ForwardPass) -> Iterator[SavedTensor]:
    """Yield the tensors that all modules save, as the part ``mtp``."""
    if not run.config.head.n_mtp_layers:
        return
    if not _first_layer_saves_input(run):
        yield from (tensor._replace(part="mtp") for tensor in embedding_output(run))
    layer = (tensor._replace(name=f"block {tensor.name}") for tensor in mtp_layer_tensors(run))
    module = (*mtp_inputs(run), *layer, *deduplicated(head(run)))
    for index in range(run.config.head.n_mtp_layers):
        yield from (tensor._replace(name=f"mtp.{index} {tensor.name}", part="mtp") for tensor in module)


def embedding_output(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return the output of the embedding, if ``enorm`` saves it."""
    return tuple(tensor for tensor in _norm_inputs(run) if tensor.name == _EMBEDDED)


def apart_from_first_layer(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return the tensors that the modules save in addition if the first layer is in another pipeline stage."""
    return embedding_output(run) if _first_layer_saves_input(run) else ()


def mtp_inputs(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return the tensors that a module saves before its layer, without those that other modules save.

    Follows ``model/mtp.py:MultiTokenModule.forward``.
    """
    both = EMBEDDING_AND_HIDDEN * run.tokens * run.config.d_model * run.element_bytes  # B × T × 2D, read by eh_proj
    norms = (tensor for tensor in _norm_inputs(run) if tensor.name not in (_EMBEDDED, _HIDDEN))
    return (*norms, SavedTensor("embedding and hidden states", "residual", both, "sequence"))


def mtp_layer_tensors(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return the tensors that the layer of a module saves, its input included."""
    return saved_by_layer(run._replace(config=mtp_layer(run.config)))


def _norm_inputs(run: ForwardPass) -> tuple[SavedTensor, ...]:
    """Return the tensors that ``enorm`` and ``hnorm`` save, with their sources."""
    vectors = run.tokens * run.config.d_model * run.element_bytes  # B × T × D
    found: list[SavedTensor] = []
    for name, source in (("enorm", _EMBEDDED), ("hnorm", _HIDDEN)):
        read = SavedTensor(source, "residual", vectors, "sequence")
        found += norm(run, name, read, run.tokens, run.config.d_model)
    return deduplicated(found)


def _first_layer_saves_input(run: ForwardPass) -> bool:
    first = run._replace(config=layer_pattern(run.config).kinds[0])
    return any(tensor.name == "input" for tensor in saved_by_layer(first))
