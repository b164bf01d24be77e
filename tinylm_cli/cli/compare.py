"""``tinylm compare``: what differs between models."""

from __future__ import annotations

from typing import Annotated

import typer

from tinylm_cli.cli.conditions import require_length
from tinylm_cli.cli.model_options import DType
from tinylm_cli.cli.options import (
    FormatOption,
    OutputOption,
    SetOption,
    TableOption,
    complete_variant,
    follow_up,
    same_model,
)
from tinylm_cli.cli.outcome import Format, Outcome
from tinylm_cli.cli.variants import load_variants, parse_variants
from tinylm_cli.errors import ExitCode


def compare(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help=(
                "Presets, published models, files, folders with a config.json, -, or REV:PATH for a file as git has it;"
                " MODEL@KEY=VALUE is one with a change, and @KEY=VALUE the first one with it."
            ),
            autocompletion=complete_variant,
        ),
    ],
    dtype: Annotated[DType, typer.Option("--dtype", help="Storage type for the byte counts.")] = DType.float32,
    seq_len: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Tokens in the sequence costed; else max_len.", show_default=False),
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 1 when there are differences.")] = False,
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    table: TableOption = None,
    output: OutputOption = None,
) -> Outcome:
    """Show what differs between models, and nothing else.

    Fields of the config once defaults are filled in, then parameters, bytes of weights, of the key-value cache, to
    train and to serve, and operations, each beside that of the first model. With a single model, --set makes the other
    one; with several, it changes them all. --format markdown writes it to be pasted into a pull request.

    \b
    Examples:
      tinylm compare small --set n_layers=8
      tinylm compare llama-3-8b mistral-7b qwen3-0.6b
      tinylm compare small @n_layers=8 @n_layers=12
      tinylm compare HEAD~1:my.yaml my.yaml -f markdown
      tinylm compare old.yaml new.yaml --exit-code
    """
    from tinylm_cli.analysis.compare import compare as compare_models
    from tinylm_cli.render.views.compare import compare_view

    variants = parse_variants(models, set_ or ())
    loaded = load_variants(variants)
    if seq_len is not None:
        require_length(loaded, seq_len, f"add @max_len={seq_len} to the name of each such model")
    changed = [(model, variant.all_changes) for model, variant in zip(loaded, variants, strict=True)]
    report = compare_models(changed, dtype=dtype.value, seq_len=seq_len)
    last = variants[-1]
    next_step = follow_up("params", same_model(last.reference, last.all_changes))
    failed = exit_code and not report.same
    return Outcome(
        report, lambda: compare_view(report), format_, output, ExitCode.FAILED if failed else ExitCode.DONE,
        next_step=next_step, table=table,
    )  # fmt: skip
