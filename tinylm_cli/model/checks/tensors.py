"""Tensors: which there are, which are one, and what they start with."""

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
from tinylm_cli.model.checks.context import Context
from tinylm_cli.model.checks.law import Outcome, law, skip, verdict
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.state_dict import parameter_shapes, unique_params
from tinylm_cli.model.weights import load_model, save_model
from tinylm_cli.quantities import counted
from tinylm_cli.reports.architecture import Proof

COMPARABLE = 4
"""Elements from which two draws do not agree in all of them by chance, even when rounded to bfloat16."""


@law("closed-form", "the instantiated model has the tensors and the total of the closed form, name by name")
def closed_form(context: Context) -> Outcome:
    """Compare the table the caller made from the config with the module."""
    expected = context.closed_form
    proof = Proof.between(
        expected.shapes, expected.total_params, parameter_shapes(context.model), unique_params(context.model)
    )
    figure = f"{counted(proof.tensors, 'tensor')}, {counted(proof.instantiated_params, 'parameter')}"
    if proof.differences:
        figure = proof.differences[0]
    elif not proof.holds:
        figure = f"{proof.closed_form_params:,} parameters in closed form, {proof.instantiated_params:,} in the model"
    return verdict(proof.holds, figure, float(len(proof.differences)), 0.0)


@law("tied-identity", "the head and the token embedding are one tensor, and stay one")
def tied_identity(context: Context) -> Outcome:
    """Look at the model as it is, copied, in another dtype, on another device, and after saving and loading."""
    for stage, model in _lives(context):
        if model.lm_head.weight is not _embedding(model):
            return verdict(False, f"two tensors {stage}")
    return verdict(True, "one tensor, also copied, cast, moved, reloaded")


@law("untied", "the head and the token embedding are two tensors, with values of their own")
def untied(context: Context) -> Outcome:
    """Look at the model as :func:`tied_identity` does."""
    head, embedding = context.model.lm_head.weight, _embedding(context.model)
    if head.untyped_storage().data_ptr() == embedding.untyped_storage().data_ptr():
        return verdict(False, "two names for the same storage")
    if context.drawn and head.numel() >= COMPARABLE and torch.equal(head, embedding):
        return verdict(False, "two tensors with the same values")
    for stage, model in _lives(context):
        if model.lm_head.weight is _embedding(model):
            return verdict(False, f"one tensor {stage}")
    return verdict(True, "two tensors, also copied, cast, moved, reloaded")


@law("same-seed", "a seed gives the same weights to the bit each time, and another seed gives others")
def same_seed(context: Context) -> Outcome:
    """Build the model again, and once more from the next seed.

    What the other seed must change is every drawn tensor, so no bias and no weight of a norm, that is not so small that
    it may come out equal by chance.
    """
    model = context.model if context.drawn else _build(context, context.seed)
    first, again = _named(model), _named(_build(context, context.seed))
    for name in {**first, **again}:
        if name not in first or name not in again or not torch.equal(first[name], again[name]):
            return verdict(False, f"{name} differs from one build to the next")
    del again
    other = _named(_build(context, context.seed + 1))
    parameters = [name for name, tensor in first.items() if isinstance(tensor, Parameter) and tensor.dim() > 1]
    drawn = [name for name in parameters if not name.endswith("bias")]  # an expert's is a row of several
    comparable = [name for name in drawn if first[name].numel() >= COMPARABLE]
    if not comparable:
        return skip("the tensors are too small to tell two draws apart")
    for name in comparable:
        if torch.equal(first[name], other[name]):
            return verdict(False, f"{name} is the same for seeds {context.seed} and {context.seed + 1}")
    return verdict(
        True, f"{counted(len(first), 'tensor')} repeated, {counted(len(comparable), 'other')} by another seed"
    )


def _lives(context: Context) -> Iterator[tuple[str, TinyTransformerLM]]:
    """Yield the model after everything that may happen to it, in words that follow "one tensor"."""
    yield "as built" if context.drawn else "as loaded", context.model
    context.require(2 * context.dtype.itemsize, "copying the weights, saving and loading them")
    model = copy.deepcopy(context.model)
    yield "copied", model
    dtype = torch.float16 if context.dtype == torch.bfloat16 else torch.bfloat16
    yield f"in {str(dtype).removeprefix('torch.')}", model.to(dtype)
    yield "on meta", model.to("meta")
    yield "saved and loaded", _reloaded(context)


def _reloaded(context: Context) -> TinyTransformerLM:
    with interrupts_deferred() as heeded, tempfile.TemporaryDirectory(prefix="tinylm-") as parent, heeded():
        folder = Path(parent) / "model"
        save_model(context.model, folder, config_text=to_yaml(context.config))
        return load_model(context.config, folder, device=context.device)


def _build(context: Context, seed: int) -> TinyTransformerLM:
    return TinyTransformerLM.from_config(context.config, seed=seed, device=context.device, dtype=context.dtype)


def _named(model: TinyTransformerLM) -> dict[str, Tensor]:
    return dict(chain(model.named_parameters(), model.named_buffers()))


def _embedding(model: TinyTransformerLM) -> Tensor:
    return model.embedding.token_embedding.embedding.weight
