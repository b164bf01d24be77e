"""``tinylm sweep``: the figures of a config as one or two fields vary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tinylm_cli.analysis.setups import Setups
from tinylm_cli.cli.completion import complete_config, complete_figure, complete_set
from tinylm_cli.cli.error_collector import ErrorCollector
from tinylm_cli.cli.next_steps import model_arguments, next_step
from tinylm_cli.cli.options import (
    CONFIG_HELP,
    IgnoreOption,
    ReportOutput,
    SetOption,
    argument,
    config_option,
    explicit_arguments,
    option,
)
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.training_options import DEFAULT, OptimizerOption, RecomputeOption
from tinylm_cli.cli.wording import worded
from tinylm_cli.cli.workload_options import (
    BatchSizeOption,
    DTypeOption,
    SeqLenOption,
    require_figure,
    sequence_length,
)
from tinylm_cli.config.choices import DEFAULT_DTYPE
from tinylm_cli.errors import ExitCode, UsageError
from tinylm_cli.shell_quoting import shell_quote

if TYPE_CHECKING:
    from tinylm_cli.reports.sweep import SweptField


WORKLOAD = ("batch_size", "seq_len", "dtype", "optimizer", "recompute")
"""Parameters that the next command repeats."""


def sweep(
    context: typer.Context,
    config: Annotated[str | None, argument(f"{CONFIG_HELP}.", "CONFIG", complete_config)] = None,
    fields: Annotated[
        list[str] | None,
        argument(
            "One or two fields with values: a range such as n_layers=4..24:4, or a list such as"
            " norm.kind=layernorm,rmsnorm; put a value with commas in quotes or brackets.",
            "KEY=VALUES...",
            complete_set,
        ),
    ] = None,
    *,
    config_option: Annotated[str | None, config_option("Same as CONFIG.")] = None,
    set_: SetOption = None,
    ignore: IgnoreOption = None,
    batch_size: BatchSizeOption = DEFAULT.batch_size,
    seq_len: SeqLenOption = DEFAULT.seq_len,
    dtype: DTypeOption = None,
    optimizer: OptimizerOption = DEFAULT.optimizer,
    recompute: RecomputeOption = DEFAULT.recompute,
    figure: Annotated[
        str, option("Name of the figure to chart.", metavar="NAME", complete=complete_figure)
    ] = "total_params",
    to: ReportOutput,
) -> CommandOutput:
    """Show how figures change as one or two fields of a config vary.

    Each combination of values is one row; if it is invalid, the row shows the error. Exits with 1 if none is valid.

    \b
    Examples:
      tinylm sweep small n_layers=4..24:4
      tinylm sweep small n_layers=4,8 d_model=256,512
      tinylm sweep gpt2 d_ff=2048,3072 --figure serve_bytes
      tinylm sweep lfm2-1.2b layers.kinds.full.n_heads=16,32
    """
    from tinylm_cli.analysis.figures import FIGURES
    from tinylm_cli.analysis.sweep import sweep as swept
    from tinylm_cli.config.field_values import parse_field_values
    from tinylm_cli.config.fields import is_field
    from tinylm_cli.interop.key_effects import Effect, KeyPolicy, require_keys
    from tinylm_cli.interop.load import parse_config_text, read_config_text
    from tinylm_cli.render.views.sweep import sweep_view
    from tinylm_cli.reports.sweep import SweptField

    overrides = set_ or []
    settings = [] if config is None else [config, *(fields or [])]
    if config_option is not None:
        config = config_option
    elif config is None:
        raise UsageError("no config to sweep", help="for example tinylm sweep small n_layers=4..24:4")
    elif is_field(config.partition("=")[0]):
        raise UsageError(
            f"{config} is not a config", help=f"name the config first: tinylm sweep small {shell_quote(config)}"
        )
    else:
        settings = settings[1:]
    written = read_config_text(config)._replace(policy=KeyPolicy(tuple(ignore or ()), Effect.costs))
    if not settings:
        raise UsageError("no field to sweep", help=f"for example tinylm sweep {shell_quote(config)} n_layers=4..24:4")
    swept_fields = tuple(SweptField(*each) for each in parse_field_values(settings).items())
    _require_not_set(swept_fields, overrides)
    errors = ErrorCollector()
    loaded = errors.read(parse_config_text, written, overrides)
    if loaded is not None and not any(each.name == "max_len" for each in swept_fields):
        errors.read(sequence_length, loaded, seq_len)
    errors.read(require_figure, figure, FIGURES)
    errors.raise_if_any()
    require_keys(ignore or (), [] if loaded is None else [loaded])
    setups = Setups.of(
        batch_size=batch_size,
        seq_len=seq_len,
        dtype=dtype or DEFAULT_DTYPE,
        optimizer=optimizer,
        recompute=recompute,
    )
    report = worded(swept(lambda more: parse_config_text(written, [*overrides, *more]), swept_fields, setups, figure))
    valid = [each for each in report.points if each.figures is not None]
    shown = valid[-1] if valid else report.points[0]
    changes = [f"{each.name}={value}" for each, value in zip(report.fields, shown.values, strict=True)]
    model, workload = (
        model_arguments(config, [*overrides, *changes], ignored=ignore),
        explicit_arguments(context, WORKLOAD),
    )
    following = next_step("sweep", "estimate", model, workload) if valid else next_step("sweep", "validate", model)
    code = ExitCode.DONE if valid else ExitCode.FAILED
    return CommandOutput(report, lambda: sweep_view(report), to, code, next_step=following)


def _require_not_set(swept_fields: Sequence[SweptField], overrides: Sequence[str]) -> None:
    """Reject ``--set`` of a swept field."""
    for override in overrides:
        key = override.partition("=")[0].strip()
        if any(each.name == key for each in swept_fields):
            raise UsageError(f"--set {override} has no effect: {key} is swept", help="remove one of them")
