"""The options that say how a model is run, and over which batches and lengths."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.options import SERVING_PANEL, amount
from tinylm_cli.cli.workload_options import require_length
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.memory import Quantization

if TYPE_CHECKING:
    from tinylm_cli.analysis.setups import QuantizationConfig
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.errors import Span

SERVE_BATCH, SERVE_LEN = "--serve-batch", "--serve-len"
MOST_LISTED = 16
"""Batches or lengths that one table is asked for."""

CacheDtype = Literal["bfloat16", "float16", "float32", "float64", "float8", "int8"]

QuantizeOption = Annotated[
    Quantization,
    typer.Option(
        metavar="NAME",
        help="What weights are rounded to to run: none, int8, float8, int4.",
        rich_help_panel=SERVING_PANEL,
    ),
]
GroupSizeOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="int4: inputs that share a scale; 128 when absent.",
        show_default=False,
        rich_help_panel=SERVING_PANEL,
    ),
]
QuantizeHeadOption = Annotated[
    bool, typer.Option("--quantize-head", help="Round the weights of the head too.", rich_help_panel=SERVING_PANEL)
]
CacheDtypeOption = Annotated[
    CacheDtype | None,
    typer.Option(
        metavar="NAME",
        help="What the cache is kept in: also float8, int8; --dtype when absent.",
        rich_help_panel=SERVING_PANEL,
    ),
]
PrefillTokensOption = Annotated[
    int,
    typer.Option(
        metavar="N",
        parser=amount("--prefill-tokens", "length", example="8k"),
        help="Most tokens of a prompt that are read in one pass.",
        rich_help_panel=SERVING_PANEL,
    ),
]
ServeBatchOption = Annotated[
    str | None,
    typer.Option(
        SERVE_BATCH,
        metavar="B,B,...",
        help="Batches to show running for, e.g. 1,8,64.",
        show_default=False,
        rich_help_panel=SERVING_PANEL,
    ),
]
ServeLenOption = Annotated[
    str | None,
    typer.Option(
        SERVE_LEN,
        metavar="T,T,...",
        help="Lengths to show running for, e.g. 4k,32k; k is 1,024.",
        show_default=False,
        rich_help_panel=SERVING_PANEL,
    ),
]

_NUMBER = re.compile(r"([0-9]{1,9})([kK]?)")


class _Listed(NamedTuple):
    """A number of a list, and where it stands."""

    value: int
    span: Span


def rounding(quantize: Quantization, group_size: int | None, *, head: bool) -> QuantizationConfig:
    """Return how weights are rounded.

    Raises:
        UsageError: If an option says nothing beside the others.
    """
    from tinylm_cli.analysis.setups import UNQUANTIZED, QuantizationConfig

    if group_size is not None and quantize != "int4":
        raise UsageError("--group-size is of int4's groups", help="add --quantize int4, or leave it out")
    if head and quantize == "none":
        raise UsageError("--quantize-head rounds as --quantize does", help="add --quantize, for example int8")
    return QuantizationConfig(quantize, group_size or UNQUANTIZED.group_size, head)


def serve_batch_sizes(written: str | None) -> tuple[int, ...]:
    """Return the batches of ``1,8,64``, ascending and each once; none for the usual ones.

    Raises:
        ConfigError: If one of them is no number; holds every mistake found, each at its place.
    """
    return () if written is None else tuple(sorted({each.value for each in _read(SERVE_BATCH, written, "1,8,64")}))


def serve_seq_lens(loaded: LoadedConfig, written: str | None) -> tuple[int, ...]:
    """Return the lengths of ``4096,32k``, ascending and each once; none for the usual ones.

    Raises:
        ConfigError: If one of them is no number, or more than the model reads; points at each and, where it is
            written, at max_len.
    """
    if written is None:
        return ()
    found, mistakes = _read(SERVE_LEN, written, "4k,32k"), ErrorCollector()
    for each in found:
        mistakes.read(require_length, [loaded], each.value, f"add --set max_len={each.value}", SERVE_LEN, each.span)
    mistakes.settle()
    return tuple(sorted({each.value for each in found}))


def _read(option: str, written: str, example: str) -> list[_Listed]:
    from tinylm_cli.config.diagnostic_codes import clip, diagnostic, refusal
    from tinylm_cli.config.source import option_span

    found, mistakes, start = [], [], 0
    for word in written.split(","):
        span = option_span(option, written, start, start + len(word))
        start += len(word) + 1
        number = _NUMBER.fullmatch(word.strip())
        value = int(number[1]) * (1024 if number[2] else 1) if number else 0
        if value:
            found.append(_Listed(value, span))
        else:
            wants = f"{option} lists integers from 1 on, not {clip(word) or 'nothing'}"
            mistakes.append(diagnostic("wrong-type", wants, option, span, help=f"for example {option} {example}"))
    if len(found) > MOST_LISTED:
        wants = f"{option} has {len(found)} numbers, and {MOST_LISTED} at most"
        mistakes.append(diagnostic("out-of-range", wants, option, option_span(option, written)))
    if mistakes:
        raise refusal(mistakes)
    return found
