"""Tensors: names, shapes and totals, tied weights, and seeded initialization."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import Parameter

from tinylm_cli.config.yaml_writer import to_yaml
from tinylm_cli.interrupts import interrupts_deferred
from tinylm_cli.model.checkpoint import load_model, save_model
from tinylm_cli.model.checks.check import CheckContext, Outcome, check, passed_if, skip
from tinylm_cli.model.initialization import initial_values_of
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.state_dict import parameter_shapes, unique_params
from tinylm_cli.quantities import counted
from tinylm_cli.reports.architecture import Proof

MIN_COMPARABLE = 4
"""Number of elements from which two random draws are not equal by chance, even in bfloat16."""


@check("closed-form", "all tensors and their total match the closed form")
def closed_form(context: CheckContext) -> Outcome:
    """Compare the closed form with the parameters of the module."""
    expected = context.closed_form
    proof = Proof.between(
        expected.shapes, expected.total_params, parameter_shapes(context.model), unique_params(context.model)
    )
    measured = f"{counted(proof.n_tensors, 'tensor name')}, {counted(proof.instantiated_params, 'parameter')}"
    if proof.differences:
        measured = proof.differences[0]
    elif not proof.holds:
        measured = f"{proof.closed_form_params:,} parameters in closed form, {proof.instantiated_params:,} in the model"
    return passed_if(proof.holds, measured, float(len(proof.differences)), 0.0)


@check("tied-identity", "LM head and token embedding are one tensor")
def tied_identity(context: CheckContext) -> Outcome:
    """Inspect the model, a copy, another dtype, another device, and the saved and reloaded model."""
    for stage, model in _copies(context):
        if model.lm_head.weight is not _embedding(model):
            return passed_if(False, f"two tensors {stage}")
    return passed_if(True, "one tensor, also after copy, cast, move and reload")


@check("untied", "LM head and token embedding are different tensors")
def untied(context: CheckContext) -> Outcome:
    """Inspect the same copies as :func:`tied_identity`."""
    head, embedding = context.model.lm_head.weight, _embedding(context.model)
    if head.untyped_storage().data_ptr() == embedding.untyped_storage().data_ptr():
        return passed_if(False, "two names for the same storage")
    if context.newly_initialized and head.numel() >= MIN_COMPARABLE and torch.equal(head, embedding):
        return passed_if(False, "two tensors with the same values")
    for stage, model in _copies(context):
        if model.lm_head.weight is _embedding(model):
            return passed_if(False, f"one tensor {stage}")
    return passed_if(True, "two tensors, also after copy, cast, move and reload")


@check("same-seed", "equal seeds give equal weights; other seeds do not")
def same_seed(context: CheckContext) -> Outcome:
    """Build the model again with the same seed, and once with the next seed.

    The other seed must change every random tensor. Tensors with a constant initial value, such as biases and norm
    weights, are not random, and very small tensors may be equal by chance.
    """
    model = context.model if context.newly_initialized else _build(context, context.seed)
    first, again = _named(model), _named(_build(context, context.seed))
    for name in {**first, **again}:
        if name not in first or name not in again or not torch.equal(first[name], again[name]):
            return passed_if(False, f"{name} differs between two builds with the same seed")
    del again
    other = _named(_build(context, context.seed + 1))
    initial_values = initial_values_of(model)
    drawn = [
        name
        for name, tensor in first.items()
        if isinstance(tensor, Parameter) and (name not in initial_values or callable(initial_values[name]))
    ]
    comparable = [name for name in drawn if first[name].numel() >= MIN_COMPARABLE]
    if not comparable:
        return skip("the tensors are too small to distinguish two draws")
    for name in comparable:
        if torch.equal(first[name], other[name]):
            return passed_if(False, f"{name} is the same for seeds {context.seed} and {context.seed + 1}")
    return passed_if(True, f"{counted(len(first), 'tensor')} identical, {len(comparable)} differ with another seed")


def _copies(context: CheckContext) -> Iterator[tuple[str, TinyTransformerLM]]:
    """Yield the model after each operation that could untie it, with a description that completes "one tensor"."""
    yield "as built" if context.newly_initialized else "as loaded", context.model
    context.require_memory(2 * context.dtype.itemsize, "copying the weights, saving and loading them")
    model = copy.deepcopy(context.model)
    yield "copied", model
    dtype = torch.float16 if context.dtype == torch.bfloat16 else torch.bfloat16
    yield f"in {str(dtype).removeprefix('torch.')}", model.to(dtype)
    yield "on meta", model.to("meta")
    yield "saved and loaded", _reloaded(context)


def _reloaded(context: CheckContext) -> TinyTransformerLM:
    with interrupts_deferred() as heeded, tempfile.TemporaryDirectory(prefix="tinylm-") as parent, heeded():
        folder = Path(parent) / "model"
        save_model(context.model, folder, config_text=to_yaml(context.config))
        return load_model(context.config, folder, device=context.device)


def _build(context: CheckContext, seed: int) -> TinyTransformerLM:
    return TinyTransformerLM.from_config(context.config, seed=seed, device=context.device, dtype=context.dtype)


def _named(model: TinyTransformerLM) -> dict[str, Tensor]:
    return dict(chain(model.named_parameters(), model.named_buffers()))


def _embedding(model: TinyTransformerLM) -> Tensor:
    return model.embedding.token_embedding.embedding.weight
