"""Claims about the figures of a config, its budget's and those of ``--assert``: measured, and told where they fail."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from string import ascii_letters

from tinylm_cli.analysis.figures import FIGURES, figure
from tinylm_cli.analysis.setups import SHARED_FIELDS, Setups
from tinylm_cli.config.amounts import rounded, rounded_up, stated
from tinylm_cli.config.assertion import ASSERT, RELATIONS, Condition, FigureKind
from tinylm_cli.config.blocks import MAX_N_LAYERS
from tinylm_cli.config.diagnostic_codes import clip, diagnostic
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import Diagnostic
from tinylm_cli.reports.validate import Assertion, FileResult

LIMITS = {
    "max_params": "total_params",
    "max_active_params": "active_params",
    "max_kv_bytes": "kv_cache_bytes",
    "max_train_bytes_per_gpu": "train_bytes_per_gpu",
    "max_flops_per_token": "forward_flops_per_token",
}
"""The figure that each limit of a budget is on."""

NOMINAL_ERROR = "nominal_error"
"""How far total_params is from nominal_params, either way, as a share of it."""

ASSERTABLE: dict[str, FigureKind] = {
    **{name: known.kind for name, known in FIGURES.items()},
    NOMINAL_ERROR: "share",
}
"""Every figure that can be asserted, and what its values are."""


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
    """Return a valid config held to its budget and to further assertions.

    Raises:
        AnalysisError: If the config cannot do what a figure asks for.
    """
    conditions = (*budget_conditions(loaded.config), *asserted)
    measured = tuple(measure(loaded.config, condition) for condition in conditions)
    broken = tuple(failures(loaded, conditions, measured))
    total = figure("total_params", loaded.config)
    return FileResult(loaded.source, "failed" if broken else "valid", total, "", "", broken, measured)


def measure(config: ModelConfig, condition: Condition) -> Assertion:
    """Return a condition and whether it holds, measured at what the config's budget says, else at the defaults.

    Raises:
        AnalysisError: If the config cannot do what its figure asks for.
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
    """Yield a diagnostic for each condition that does not hold; a budget's at its line, where the file has it.

    Args:
        loaded: The config, and where its values were written.
        conditions: All conditions, which a remedy must satisfy.
        measured: Each condition as :func:`measure` found it.
    """
    broken = [(condition, each) for condition, each in zip(conditions, measured, strict=True) if not each.holds]
    together = fitting_layers(loaded.config, conditions) if broken else None
    for condition, each in broken:
        code = "failed-assertion" if each.origin == ASSERT else "over-budget"
        span = loaded.origins.get(each.origin)
        if span is not None and span.source != loaded.source:  # one --set may speak of many files
            span = None
        field = "" if each.origin == ASSERT else each.origin
        alone = fitting_layers(loaded.config, [condition]) if together is None else None
        remedy = _layers(together, alone) or _other_remedy(each, loaded.config)
        yield diagnostic(code, _message(each, loaded.config), loaded.source, span, field=field, help=remedy)


def fitting_layers(config: ModelConfig, conditions: Sequence[Condition]) -> int | None:
    """Return the n_layers nearest to the config's with which every condition holds; None where there is none other.

    No figure of ``FIGURES`` falls while layers are added, so that the most and the least are found by halving.
    """
    first = config.feed_forward.n_dense_layers + 1 if config.feed_forward.n_experts is not None else 1
    choices = range(first, MAX_N_LAYERS + 1)
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
    """Return the setups at which a config's budget is measured."""
    return Setups.of(**config.budget.model_dump(include=set(SHARED_FIELDS), exclude_none=True))


def _message(found: Assertion, config: ModelConfig) -> str:
    if found.origin == "budget.nominal_tolerance":
        total, nominal = figure("total_params", config), config.nominal_params
        allowed = f"{found.origin} allows {_percent(found.bound)}"
        return f"total_params {total:,} is {_percent(found.value)} from nominal_params {nominal:,}, and {allowed}"
    if found.value is None or found.bound is None:
        return f"{clip(found.text)} cannot be told: the config states no nominal_params"
    value = _words(found.value, found)
    beside = _beside(found)
    if found.origin != ASSERT:
        limit = found.text.rpartition(" ")[2]
        return f"{found.figure} {value} is over {found.origin} {limit} by {beside}"
    excess = f", {'over' if found.value > found.bound else 'short'} by {beside}" if found.value != found.bound else ""
    return f"{clip(found.text)} does not hold: {found.figure} is {value}{excess}"


def _beside(found: Assertion) -> str:
    """Return how far a figure is from its bound, and what share of it that is."""
    assert found.value is not None
    assert found.bound is not None
    distance = abs(found.value - found.bound)
    if found.unit == "share":
        return _percent(distance)
    share = f" ({_percent(distance / found.bound)})" if found.bound > 0 else ""
    return f"{distance:,.15g}{share}"


def _words(value: float, found: Assertion) -> str:
    """Return a figure in digits; bytes, which are long, in their unit too."""
    if found.unit == "share":
        return _percent(value)
    return f"{value:,}" + (f" ({rounded(int(value), 'size', _unit(found.text))})" if found.unit == "bytes" else "")


def _unit(text: str) -> str:
    """Return the letters that a condition ends in: of an amount, its unit."""
    return text.rstrip()[len(text.rstrip().rstrip(ascii_letters)) :]


def _percent(share: float | None) -> str:
    assert share is not None
    return f"{100 * share:.3g}%" if share < 1 else f"{100 * share:,.0f}%"


def _layers(together: int | None, alone: int | None) -> str:
    if together is not None:
        return f"n_layers: {together} would fit"
    return f"n_layers: {alone} would fit this, not all that is asked" if alone is not None else ""


def _other_remedy(found: Assertion, config: ModelConfig) -> str:
    """Say what to write instead, where layers do not help."""
    if found.figure == NOMINAL_ERROR:
        return f"write nominal_params: {figure('total_params', config)}"
    if found.origin == ASSERT:
        return ""
    assert found.value is not None
    field = found.origin.rpartition(".")[2]
    least = rounded_up(int(found.value), FIGURES[found.figure].kind, _unit(found.text))
    return f"no n_layers alone would fit: this model takes {field}: {least}"
