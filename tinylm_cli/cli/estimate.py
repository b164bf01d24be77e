"""``tinylm estimate``: what a model costs before any of it is spent."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from tinylm_cli.cli.conditions import BatchSizeOption, SeqLenOption, Storage, StorageOption, fitting_length
from tinylm_cli.cli.options import (
    DEFAULT_CONFIG,
    ConfigOption,
    FormatOption,
    OutputOption,
    SetOption,
    follow_up,
    same_model,
)
from tinylm_cli.cli.outcome import Format, Outcome


class By(StrEnum):
    """How operations are broken down."""

    component = "component"
    layer = "layer"


class Attention(StrEnum):
    """Which pairs of a query and a key are counted."""

    causal = "causal"
    full = "full"


class Recompute(StrEnum):
    """What the backward pass computes again instead of keeping it."""

    none = "none"
    selective = "selective"
    full = "full"


def estimate(
    config: ConfigOption = DEFAULT_CONFIG,
    batch_size: BatchSizeOption = 1,
    seq_len: SeqLenOption = None,
    by: Annotated[By, typer.Option(help="How operations are broken down.")] = By.component,
    attention: Annotated[
        Attention,
        typer.Option(help="Count the pairs a query may see, or the full square that a plain kernel computes."),
    ] = Attention.causal,
    recompute: Annotated[
        Recompute, typer.Option(help="What the backward pass computes again: nothing, attention's scores, all layers.")
    ] = Recompute.none,
    dtype: StorageOption = Storage.bfloat16,
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    output: OutputOption = None,
) -> Outcome:
    """Work out what training and running a model takes, in closed form.

    Operations are those of matrix products, a multiplication and an addition counted as two.

    \b
    Examples:
      tinylm estimate --config llama-3-8b
      tinylm estimate --config base --batch-size 32
      tinylm estimate --config gemma-2-2b --by layer
    """
    from tinylm_cli.analysis.flops import analyse_flops
    from tinylm_cli.analysis.memory import kv_cache_bytes
    from tinylm_cli.analysis.params import active_params, total_params, weights_bytes
    from tinylm_cli.analysis.table import tensor_table
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.render.views.estimate import estimate_view
    from tinylm_cli.reports.estimate import EstimateReport

    loaded = load_config(config, set_ or ())
    model, table = loaded.config, tensor_table(loaded.config)
    length = fitting_length(loaded, seq_len)
    report = EstimateReport(
        name=loaded.name,
        source=loaded.source,
        total_params=total_params(table),
        active_params=active_params(table),
        flops=analyse_flops(
            model, batch_size=batch_size, seq_len=length, attention=attention.value, recompute=recompute.value
        ),
        dtype=dtype.value,
        weights_bytes=weights_bytes(table, dtype.value),
        kv_cache_bytes=kv_cache_bytes(model, batch_size=batch_size, seq_len=length, dtype=dtype.value),
    )
    next_step = follow_up("params", same_model(config, set_))
    return Outcome(report, lambda: estimate_view(report, by.value), format_, output, next_step=next_step)
