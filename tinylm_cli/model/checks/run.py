"""Run every check on one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.checks.causality import causality_gradient, causality_perturbation
from tinylm_cli.model.checks.check import Check, CheckContext, ExpectedParams, sample_tokens
from tinylm_cli.model.checks.inference import (
    batch_invariance,
    cached_equals_uncached,
    cached_outputs_equal_uncached,
    logits_shape,
    outputs_shape,
)
from tinylm_cli.model.checks.learning import gradients_finite, initial_loss, overfits_one_batch
from tinylm_cli.model.checks.multi_token import mtp_causality, mtp_initial_loss
from tinylm_cli.model.checks.tensors import closed_form as closed_form_holds
from tinylm_cli.model.checks.tensors import same_seed, tied_identity, untied
from tinylm_cli.model.eval_mode import eval_mode
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.state_dict import unique_params
from tinylm_cli.reports.check import CheckReport, CheckResult

SMALL_PARAMS = 10_000_000


def checks_for(config: ModelConfig) -> tuple[Check, ...]:
    """Return the checks of a model in execution order: tensors, outputs, learning.

    Only an LM head can be tied, and only a model with a head has a loss.
    """
    has_loss, has_mtp = config.head.kind != "none", config.head.n_mtp_layers > 0
    return (
        closed_form_holds,
        same_seed,
        *((tied_identity if config.tie_weights else untied,) if config.has_lm_head else ()),
        logits_shape if config.has_lm_head else outputs_shape,
        causality_gradient,
        causality_perturbation,
        *((mtp_causality,) if has_mtp else ()),
        batch_invariance,
        cached_equals_uncached if config.has_lm_head else cached_outputs_equal_uncached,
        *((initial_loss,) if has_loss else ()),
        *((mtp_initial_loss,) if has_mtp else ()),
        gradients_finite,
        *((overfits_one_batch,) if has_loss else ()),
    )


def run_checks(
    config: ModelConfig,
    *,
    name: str,
    source: str,
    closed_form: ExpectedParams,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    model: TinyTransformerLM | None = None,
    weights: str | None = None,
    on_start: Callable[[Check], None] | None = None,
    on_result: Callable[[CheckResult], None] | None = None,
) -> CheckReport:
    """Run every check on a model, without changing it.

    With ``model``, the loaded weights of the folder ``weights`` are checked. Without it, a new model is initialized
    with ``seed``, ``device`` and ``dtype``. ``on_start`` is called with each check before it runs, and ``on_result``
    with its result. ``name`` and ``source`` of the config are repeated in the report.

    Returns:
        The result of every check, in order. A check is skipped if it does not apply or this machine cannot run it, and
        fails if it raises.

    Raises:
        ValueError: If the model is on meta.
        CapacityError: If the weights exceed this machine's memory.
    """
    newly_initialized = model is None
    if model is None:
        model = TinyTransformerLM.from_config(config, seed=seed, device=device, dtype=dtype)
    if model.device.type == "meta":
        raise ValueError("a model on meta has no values to check")
    context = CheckContext(model, seed, newly_initialized, closed_form, sample_tokens(config, model.device))
    results: list[CheckResult] = []
    with eval_mode(model.modules()), _suitable_threads(model):
        for check in checks_for(config):
            if on_start is not None:
                on_start(check)
            results.append(check(context))
            if on_result is not None:
                on_result(results[-1])
    statuses = [result.status for result in results]
    return CheckReport(
        name=name,
        source=source,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        seed=seed,
        weights=weights,
        passed=statuses.count("pass"),
        failed=statuses.count("fail"),
        skipped=statuses.count("skip"),
        checks=tuple(results),
    )


@contextmanager
def _suitable_threads(model: TinyTransformerLM) -> Iterator[None]:
    """Use one thread if the model is small.

    Threads synchronize after every small operation, which on a busy machine makes the model a hundred times slower.
    """
    before = torch.get_num_threads()
    if unique_params(model) < SMALL_PARAMS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
