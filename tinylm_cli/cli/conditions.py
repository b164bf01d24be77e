"""The options that say under what conditions a model is costed, and what of them does not fit its config."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.errors import Span

BatchSizeOption = Annotated[int, typer.Option(metavar="B", min=1, max=10**9, help="Sequences at once.")]
SeqLenOption = Annotated[
    int | None,
    typer.Option("--seq-len", metavar="T", min=1, help="Tokens in each; max_len when absent.", show_default=False),
]


class Storage(StrEnum):
    """What weights, activations and caches are stored in, by torch's names."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"
    float64 = "float64"


StorageOption = Annotated[Storage, typer.Option("--dtype", help="What numbers are stored in.")]


def fitting_length(loaded: LoadedConfig, seq_len: int | None) -> int:
    """Return how many tokens a sequence has.

    Raises:
        ConfigError: If the model reads no such length; points at the option and, where it is written, at max_len.
    """
    longest = loaded.config.max_len
    if seq_len is None or seq_len <= longest:
        return seq_len or longest
    from tinylm_cli.config.codes import diagnostic, refusal
    from tinylm_cli.errors import Label

    written = loaded.origins.get("max_len")
    mistake = diagnostic(
        "contradiction",
        f"--seq-len {seq_len} is longer than max_len {longest}",
        "--seq-len",
        option_span("--seq-len", str(seq_len)),
        field="max_len",
        help=f"write --seq-len {longest} or less, or add --set max_len={seq_len}",
        labels=(Label(written, f"max_len is {longest}"),) if written is not None else (),
    )
    raise refusal([mistake])


def option_span(option: str, value: str) -> Span:
    """Return the place of an option's value, as a person may have typed it."""
    from tinylm_cli.errors import Span

    text = f"{option} {value}"
    return Span(option, 1, len(option) + 2, len(text) + 1, text)
