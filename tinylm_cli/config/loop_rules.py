"""Rules about layers that run several times: the block ``loop``."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.config.base import MAX_N_LAYERS, WITH_SHARED_BLOCK
from tinylm_cli.config.dependencies import Problem, Values, value_text
from tinylm_cli.quantities import counted

LOOPS = "loop.n_loops"
ENDS = ("loop.n_prelude_layers", "loop.n_coda_layers")
LOW = "loop.n_low_layers"


def loop_has_layers(value: Values) -> Iterator[Problem]:
    """Yield a problem if prelude, coda and low-level module leave no layer for the loop, or the high-level module."""
    n_layers, ends, n_low = value["n_layers"], sum(value[field] for field in ENDS), value[LOW]
    if value[LOOPS] is None:
        return
    fields = (*(field for field in ENDS if value[field]), "n_layers")
    if ends >= n_layers:
        message = f"{LOOPS} repeats no layer: prelude and coda have {counted(ends, 'layer')}, n_layers is {n_layers}"
        yield Problem("contradiction", (LOOPS, *fields), message, _more_layers(ends + 1, fields[0]))
    elif n_low is not None and ends + n_low >= n_layers:
        rest = n_layers - ends
        message = f"{LOW} {n_low} leaves no layer for the high-level module: the loop has {counted(rest, 'layer')}"
        remedy = f"write {LOW}: {rest - 1}" if rest > 1 else _more_layers(ends + n_low + 1, LOW)
        yield Problem("contradiction", (LOW, *fields), message, remedy)


def _more_layers(n_layers: int, field: str) -> str:
    """Return the remedy to write ``n_layers``, if it is within the limit, or to omit a field."""
    return f"write n_layers: {n_layers}, or omit {field}" if n_layers <= MAX_N_LAYERS else f"omit {field}"


def loop_repeats(value: Values) -> Iterator[Problem]:
    """Yield a problem if a loop has one pass, and neither injects its input nor has two modules."""
    if value[LOOPS] == 1 and value[LOW] is None and not value["loop.inject"]:
        message = f"{LOOPS} 1 has no effect: layers run once without a loop"
        yield Problem("without-effect", (LOOPS,), message, f"write {LOOPS}: 2, or omit {LOOPS}")


_NOT_LOOPED: tuple[tuple[str, tuple[object, ...], str], ...] = (
    ("attention.kv_from", (None,), "a layer has keys and values of its own in each pass"),
    ("attention.index_shared", (False,), "a layer selects positions of its own in each pass"),
    ("block.hyper_streams", (None,), "the passes of a loop share one residual stream"),
    ("block.altup_streams", (None,), "the passes of a loop share one residual stream"),
    ("block.depth_scaled_residual", (False,), "a layer has no single depth"),
    ("feed_forward.shortcut", (False,), "the output of the experts would pass from one pass to the next"),
    ("embedding.d_per_layer", (None,), "a layer would read its embedding in each pass"),
    ("head.n_mtp_layers", (0,), "MTP modules follow layers that run once"),
)
"""The values that some fields may have in a looped model, and the reason."""


def looped_layers_share_nothing(value: Values) -> Iterator[Problem]:
    """Yield a problem for each part of a looped model that tinylm does not loop."""
    if value[LOOPS] is None:
        return
    for field, allowed, why in _NOT_LOOPED:
        if field in value and value[field] not in allowed:
            message = f"{field} {value_text(value[field])} is not supported with {LOOPS}: {why}"
            yield Problem("contradiction", (field, LOOPS), message, f"omit {field}, or {LOOPS}")
    mixer = value["block.mixer"]
    if mixer in WITH_SHARED_BLOCK:
        message = f"block.mixer {mixer} is not supported with {LOOPS}: its layers already share a block"
        yield Problem("contradiction", ("block.mixer", LOOPS), message, f"write another block.mixer, or omit {LOOPS}")


LOOP_RULES = (loop_has_layers, loop_repeats, looped_layers_share_nothing)
