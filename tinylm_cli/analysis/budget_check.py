"""Check a config's figures against its budget and against assertions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from string import ascii_letters

from tinylm_cli.analysis.figures import FIGURES, figure
from tinylm_cli.analysis.setups import SHARED_FIELDS, Setups
from tinylm_cli.config.amounts import rounded, rounded_up, stated
from tinylm_cli.config.assertion import ASSERT, RELATIONS, Condition, FigureKind
from tinylm_cli.config.base import MAX_N_LAYERS
from tinylm_cli.config.diagnostic_codes import clip, diagnostic
from tinylm_cli.config.layer_kinds import valid_layer_counts
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import Diagnostic
from tinylm_cli.reports.validate import Assertion, FileResult, FileStatus

LIMITS = {
    "max_params": "total_params",
    "max_active_params": "active_params",
    "max_kv_bytes": "kv_cache_bytes",
    "max_train_bytes_per_gpu": "train_bytes_per_gpu",
    "max_flops_per_token": "forward_flops_per_token",
}
"""The figure that each limit of a budget applies to."""

NOMINAL_ERROR = "nominal_error"
"""Relative deviation of total_params from nominal_params; never negative."""

ASSERTABLE: dict[str, FigureKind] = {
    **{name: known.kind for name, known in FIGURES.items()},
    NOMINAL_ERROR: "share",
}
"""Every figure that an assertion may name, with the kind of its values."""


def budget_conditions(config: ModelConfig) -> Iterator[Condition]:
    """Yield the conditions of a config's budget."""
    for field, name in LIMITS.items():
        limit = getattr(config.budget, field)
        if limit is not None:
            text = f"{name} <= {stated(limit, FIGURES[name].kind)}"
            yield Condition(f"budget.{field}", text, name, "<=", limit)
    tolerance = config.budget.nominal_tolerance
    if tolerance is not None:
        yield Condition(
            "budget.nominal_tolerance", f"{NOMINAL_ERROR} <= {tolerance:.15g}", NOMINAL_ERROR, "<=", tolerance
        )


def check_budget(loaded: LoadedConfig, asserted: Iterable[Condition]) -> FileResult:
    """Return the result of checking a valid config against its budget and against ``asserted``.

    Raises:
        AnalysisError: If a figure cannot be computed for this config.
    """
    conditions = (*budget_conditions(loaded.config), *asserted)
    measured = tuple(measure(loaded.config, condition) for condition in conditions)
    diagnostics = tuple(failures(loaded, conditions, measured))
    total = figure("total_params", loaded.config)
    status: FileStatus = "failed" if diagnostics else "valid"
    return FileResult(loaded.source, status, total, "", "", diagnostics, measured, ignored_keys=loaded.ignored_keys)


def measure(config: ModelConfig, condition: Condition) -> Assertion:
    """Evaluate a condition with the batch size, sequence length and dtype of the config's budget.

    Raises:
        AnalysisError: If the figure cannot be computed for this config.
    """
    value = _value(config, condition.figure)
    bound = _value(config, condition.bound) if isinstance(condition.bound, str) else condition.bound
    return Assertion(
        origin=condition.origin,
        text=condition.text,
        figure=condition.figure,
        unit="share" if condition.figure == NOMINAL_ERROR else FIGURES[condition.figure].unit,
        value=value,
        relation=condition.relation,
        bound=bound,
        holds=value is not None and bound is not None and RELATIONS[condition.relation](value, bound),
    )


def failures(
    loaded: LoadedConfig, conditions: Sequence[Condition], measured: Iterable[Assertion]
) -> Iterator[Diagnostic]:
    """Yield a diagnostic for each condition that does not hold, at its line in the file if it comes from the budget.

    Args:
        loaded: The config and the positions of its values in the file.
        conditions: All conditions; a remedy should satisfy every one.
        measured: The result of :func:`measure` for each condition, in the same order.
    """
    failed = [(condition, each) for condition, each in zip(conditions, measured, strict=True) if not each.holds]
    layers_for_all = layers_that_fit(loaded.config, conditions) if failed else None
    for condition, each in failed:
        code = "failed-assertion" if each.origin == ASSERT else "over-budget"
        span = loaded.origins.get(each.origin)
        if span is not None and span.source != loaded.source:  # one --set may apply to many files
            span = None
        field = "" if each.origin == ASSERT else each.origin
        layers_for_this = layers_that_fit(loaded.config, [condition]) if layers_for_all is None else None
        remedy = _remedy(each, loaded.config, layers_for_all, layers_for_this)
        yield diagnostic(code, _message(each, loaded.config), loaded.source, span, field=field, help=remedy)


def layers_that_fit(config: ModelConfig, conditions: Sequence[Condition]) -> int | None:
    """Return the n_layers nearest to the config's that satisfies every condition; None if no other value does.

    No figure of ``FIGURES`` decreases with n_layers, so bisection finds the smallest and the largest n_layers.
    """
    choices = valid_layer_counts(config, MAX_N_LAYERS)
    growing = [
        condition for condition in conditions if condition.figure in FIGURES and not isinstance(condition.bound, str)
    ]
    at_most = [condition for condition in growing if condition.relation in ("<", "<=")]
    at_least = [condition for condition in growing if condition.relation in (">", ">=")]
    below = bisect_left(choices, True, key=lambda layers: not _hold(config, layers, at_most))
    above = bisect_left(choices, True, key=lambda layers: _hold(config, layers, at_least))
    if above >= below:
        return None
    nearest = min(max(config.n_layers, choices[above]), choices[below - 1])
    return nearest if nearest != config.n_layers and _hold(config, nearest, conditions) else None


def _hold(config: ModelConfig, layers: int, conditions: Iterable[Condition]) -> bool:
    changed = config.model_copy(update={"n_layers": layers})
    return all(measure(changed, condition).holds for condition in conditions)


def _value(config: ModelConfig, name: str) -> int | float | None:
    if name != NOMINAL_ERROR:
        return figure(name, config, budget_setups(config))
    nominal = config.nominal_params
    return None if nominal is None else abs(figure("total_params", config) - nominal) / nominal


def budget_setups(config: ModelConfig) -> Setups:
    """Return the setups that a config's budget states, with defaults for omitted fields."""
    return Setups.of(**config.budget.model_dump(include=set(SHARED_FIELDS), exclude_none=True))


def _message(assertion: Assertion, config: ModelConfig) -> str:
    if assertion.origin == "budget.nominal_tolerance":
        total, nominal = figure("total_params", config), config.nominal_params
        allowed = f"{assertion.origin} allows {_percent(assertion.bound)}"
        return f"total_params {total:,} is {_percent(assertion.value)} from nominal_params {nominal:,}, but {allowed}"
    if assertion.value is None or assertion.bound is None:
        return f"{clip(assertion.text)} cannot be evaluated: the config has no nominal_params"
    value = _format_value(assertion.value, assertion)
    distance = _distance(assertion)
    if assertion.origin != ASSERT:
        limit = assertion.text.rpartition(" ")[2]
        return f"{assertion.figure} {value} exceeds {assertion.origin} {limit} by {distance}"
    message = f"{clip(assertion.text)} does not hold: {assertion.figure} is {value}"
    if assertion.value == assertion.bound:
        return message
    return f"{message}, {'over' if assertion.value > assertion.bound else 'short'} by {distance}"


def _distance(assertion: Assertion) -> str:
    """Return the distance of a figure from its bound, with its share of the bound."""
    assert assertion.value is not None
    assert assertion.bound is not None
    distance = abs(assertion.value - assertion.bound)
    if assertion.unit == "share":
        return _percent(distance)
    share = f" ({_percent(distance / assertion.bound)})" if assertion.bound > 0 else ""
    return f"{distance:,.15g}{share}"


def _format_value(value: float, assertion: Assertion) -> str:
    """Return a figure in digits, and bytes also in a larger unit."""
    if assertion.unit == "share":
        return _percent(value)
    return f"{value:,}" + (
        f" ({rounded(int(value), 'size', _unit(assertion.text))})" if assertion.unit == "bytes" else ""
    )


def _unit(text: str) -> str:
    """Return the unit at the end of a condition's text, such as GiB; empty without a unit."""
    return text.rstrip()[len(text.rstrip().rstrip(ascii_letters)) :]


def _percent(share: float | None) -> str:
    assert share is not None
    return f"{100 * share:.3g}%" if share < 1 else f"{100 * share:,.0f}%"


def _remedy(failed: Assertion, config: ModelConfig, layers_for_all: int | None, layers_for_this: int | None) -> str:
    """Return a change of n_layers that is enough, otherwise another remedy; empty without one."""
    if layers_for_all is not None:
        return f"n_layers: {layers_for_all} satisfies all conditions"
    if layers_for_this is not None:
        return f"n_layers: {layers_for_this} satisfies this condition, but not all others"
    if failed.figure == NOMINAL_ERROR:
        return f"write nominal_params: {figure('total_params', config)}"
    if failed.origin == ASSERT:
        return ""
    assert failed.value is not None
    field = failed.origin.rpartition(".")[2]
    least = rounded_up(int(failed.value), FIGURES[failed.figure].kind, _unit(failed.text))
    return f"no value of n_layers is enough; this model needs {field}: {least}"
