"""Trying every law on one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.checks.causality import causality_gradient, causality_perturbation
from tinylm_cli.model.checks.context import ClosedForm, Context, sample_tokens
from tinylm_cli.model.checks.inference import batch_invariance, cached_equals_uncached, logits_shape
from tinylm_cli.model.checks.law import Check
from tinylm_cli.model.checks.learning import gradients_finite, initial_loss, overfits_one_batch
from tinylm_cli.model.checks.tensors import closed_form as closed_form_holds
from tinylm_cli.model.checks.tensors import same_seed, tied_identity, untied
from tinylm_cli.model.eval_mode import eval_mode
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.state_dict import unique_params
from tinylm_cli.reports.check import CheckReport, Law

SMALL_PARAMS = 10_000_000


def laws(config: ModelConfig) -> tuple[Check, ...]:
    """Return the laws of a model in the order they are tried: what it is, what it computes, how it learns."""
    return (
        closed_form_holds,
        same_seed,
        tied_identity if config.tie_weights else untied,
        logits_shape,
        causality_gradient,
        causality_perturbation,
        batch_invariance,
        cached_equals_uncached,
        initial_loss,
        gradients_finite,
        overfits_one_batch,
    )


def run_checks(
    config: ModelConfig,
    *,
    name: str,
    source: str,
    closed_form: ClosedForm,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    model: TinyTransformerLM | None = None,
    weights: str | None = None,
    on_start: Callable[[str], None] | None = None,
) -> CheckReport:
    """Try every law on a model, which is left as it was.

    Args:
        config: What the model is.
        name: Its name, for the report.
        source: Where its config came from, for the report.
        closed_form: What it should consist of.
        seed: What new weights are drawn from.
        device: Where to build the model; that of ``model`` when given.
        dtype: Storage type of new weights; that of ``model`` when given.
        model: A model with weights that were loaded; None builds one.
        weights: The folder they came from, for the report.
        on_start: Called with the name of each law before it is tried.

    Returns:
        All laws in order. One that this model or this machine cannot try is a skip; one that raises is a fail.

    Raises:
        ValueError: If the model is on meta.
        CapacityError: If the weights do not fit in this machine.
    """
    drawn = model is None
    if model is None:
        model = TinyTransformerLM.from_config(config, seed=seed, device=device, dtype=dtype)
    weight = model.lm_head.weight
    if weight.is_meta:
        raise ValueError("a model on meta has no values to check")
    context = Context(model, seed, drawn, closed_form, sample_tokens(config, weight.device))
    tried: list[Law] = []
    with eval_mode(model.modules()), _suitable_threads(model):
        for check in laws(config):
            if on_start is not None:
                on_start(check.name)
            tried.append(check(context))
    statuses = [law.status for law in tried]
    return CheckReport(
        name=name,
        source=source,
        device=str(weight.device),
        dtype=str(weight.dtype).removeprefix("torch."),
        seed=seed,
        weights=weights,
        passed=statuses.count("pass"),
        failed=statuses.count("fail"),
        skipped=statuses.count("skip"),
        laws=tuple(tried),
    )


@contextmanager
def _suitable_threads(model: TinyTransformerLM) -> Iterator[None]:
    """Compute on one thread if the model is small.

    Threads that wait for each other after every small operation gain nothing, and lose a hundredfold on a busy machine.
    """
    before = torch.get_num_threads()
    if unique_params(model) < SMALL_PARAMS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
