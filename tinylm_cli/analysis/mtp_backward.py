"""The backward pass of multi-token prediction modules, which precedes the model's, the last module first.

Each module runs its loss, its head, its layer and its projection. Meanwhile two gradients are partial sums: of the
hidden states of the module before it, and of the embeddings. Autograd sums the gradients of the shared LM head out of
place, one module after the other. ``model/mtp.py`` has the modules; letters as in ``training_peak``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from tinylm_cli.analysis.saved_tensors.model import head
from tinylm_cli.analysis.saved_tensors.mtp import mtp_inputs, mtp_layer_tensors
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, deduplicated, total_bytes
from tinylm_cli.analysis.tensor import Tensor
from tinylm_cli.analysis.tensor_table import Section, TensorTable
from tinylm_cli.reports.memory import PhaseMemory

WAITING = 2
"""Gradients (B, T, D) that a module leaves: of the hidden states of the one before it, and of the embeddings."""

LOSS_GRADIENTS = 2
"""Gradients of a loss at once: of the log-probabilities and of the upcast logits, both in float32 or wider."""

SUMMED = 2
"""Gradients of the LM head (V, D) while autograd adds them out of place, besides the sum over later modules: of the
module, and the new sum."""


class MtpModuleMemory(NamedTuple):
    """The bytes of one module."""

    inputs: int  # saved before its layer
    layer: int  # saved by its layer
    head: int  # saved by its norm, the LM head and the loss
    loss: int  # of those, the part of the loss
    gradients: int  # gradients of its parameters
    norm_gradients: int  # of those, the part of its final norm
    head_gradient: int  # the gradient of the LM head, V × D

    @property
    def saved(self) -> int:
        """Bytes saved by the module."""
        return self.inputs + self.layer + self.head


def mtp_module_memory(run: ForwardPass, table: TensorTable) -> MtpModuleMemory:
    """Return the bytes of each module of a model, or of a pipeline stage, that has some."""
    of_head, grad_element_bytes = deduplicated(head(run)), run.setup.grad_element_bytes
    section = _section(table)
    heads = [tensor for each in table for tensor in each.tensors if tensor.component == "lm_head"]
    return MtpModuleMemory(
        inputs=total_bytes(mtp_inputs(run)),
        layer=total_bytes(mtp_layer_tensors(run)),
        head=total_bytes(of_head),
        loss=total_bytes(tensor for tensor in of_head if tensor.part == "loss"),
        gradients=_params(section.tensors) * grad_element_bytes,
        norm_gradients=_params(t for t in section.tensors if t.name.startswith("ln_f.")) * grad_element_bytes,
        head_gradient=sum(tensor.elements for tensor in heads) * grad_element_bytes,
    )


def layer_section(table: TensorTable) -> Section:
    """Return the tensors of the layer of each module."""
    return Section(tuple(tensor for tensor in _section(table).tensors if tensor.name.startswith("block.")))


def mtp_timeline(
    run: ForwardPass, of_module: MtpModuleMemory, saved: int, layer_phases: Iterable[PhaseMemory]
) -> Iterator[PhaseMemory]:
    """Yield each phase of the modules' backward pass that may be the peak of the step, the last module first.

    Args:
        run: The forward pass.
        of_module: The bytes of each module.
        saved: Bytes saved by the embedding, the layers and the head of the model.
        layer_phases: The phases of the backward pass of one module's layer, with the bytes of that layer only.
    """
    residual_stream = run.tokens * run.config.d_model * run.element_bytes  # B × T × D
    outputs = run.outputs * run.element_bytes  # B × T × V
    layer_phases = tuple(layer_phases)
    for index in reversed(range(run.config.head.n_mtp_layers)):
        n_later = run.config.head.n_mtp_layers - 1 - index
        waiting = WAITING * residual_stream if n_later else 0
        gradients = n_later * of_module.gradients + (of_module.head_gradient if n_later else 0)
        before = saved + index * of_module.saved
        at_loss = before + of_module.saved
        working = LOSS_GRADIENTS * run.loss_inputs * run.upcast_bytes  # B × T × V each
        yield PhaseMemory("loss", gradients, at_loss, working + waiting)
        at_head = at_loss - of_module.loss
        gradients += of_module.norm_gradients
        new = of_module.head_gradient
        # the gradients of the logits and of the hidden states
        yield PhaseMemory("head gradient", gradients + new, at_head, outputs + residual_stream + waiting)
        if n_later:
            summed = SUMMED * of_module.head_gradient
            # the gradient of the hidden states (B × T × D)
            yield PhaseMemory("head gradient", gradients, at_head, summed + residual_stream + waiting)
        else:
            gradients += of_module.head_gradient
        embedded = residual_stream if n_later else 0
        for phase in layer_phases:
            yield replace(
                phase,
                gradients_bytes=phase.gradients_bytes + gradients,
                activations_bytes=phase.activations_bytes + before + of_module.inputs,
                working_bytes=phase.working_bytes + embedded,
            )
        own = gradients - of_module.norm_gradients + of_module.gradients
        # the gradients of the projection's output, and of its input, B × T × 2D
        yield PhaseMemory("backward", own, before + of_module.inputs, 3 * residual_stream + embedded)


def _section(table: TensorTable) -> Section:
    return next(section for section in table if section.n_mtp_layers)


def _params(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.params for tensor in tensors)
