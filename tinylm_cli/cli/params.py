"""``tinylm params``: parameters by component, layer, tensor or formula."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from tinylm_cli.cli.next_steps import model_words, next_step
from tinylm_cli.cli.options import (
    MODEL_PANEL,
    OUTPUT_PANEL,
    FormatOption,
    OutputOption,
    SetOption,
    TableOption,
    complete_config,
)
from tinylm_cli.cli.output import CommandOutput, Format
from tinylm_cli.errors import UsageError


class By(StrEnum):
    """Granularity of a breakdown."""

    component = "component"
    layer = "layer"
    tensor = "tensor"


class Convention(StrEnum):
    """Counting conventions."""

    unique = "unique"
    untied = "untied"
    non_embedding = "non-embedding"
    active = "active"
    hub = "hub"


PresetsOrConfig = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", metavar="NAME|PATH|-",
        help="A preset or published model, a YAML file, a model folder, or -; without it, every preset.",
        autocompletion=complete_config, show_default=False, rich_help_panel=MODEL_PANEL,
    ),
]  # fmt: skip


def params(
    config: PresetsOrConfig = None,
    by: Annotated[
        By, typer.Option(help="Granularity of the breakdown of one model.", rich_help_panel=OUTPUT_PANEL)
    ] = By.component,
    expand: Annotated[
        bool,
        typer.Option(
            "--expand", help="List repeated layers one by one, by layer or by tensor.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Show the formula of each component, with numbers filled in.",
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = False,
    convention: Annotated[
        Convention | None,
        typer.Option(
            help="Also count one model by another convention.",
            show_default=False,
            rich_help_panel=OUTPUT_PANEL,
        ),
    ] = None,
    set_: SetOption = None,
    format_: FormatOption = Format.text,
    table: TableOption = None,
    output: OutputOption = None,
) -> CommandOutput:
    """Count parameters in closed form, by component, layer or tensor.

    Without CONFIG, shows every preset in one table, with its nominal size and its exact count. With CONFIG, shows the
    breakdown of one model and the savings from tying its weights.

    \b
    Examples:
      tinylm params
      tinylm params small
      tinylm params small --by tensor --format json
      tinylm params base --explain
      tinylm params base --set tie_weights=false
      tinylm params gpt2 --convention hub
    """
    breakdown = f"--by {by}" if by is not By.component else "--expand" if expand else ""
    if config is None and (explain or breakdown or convention is not None):
        option = "--explain" if explain else breakdown or f"--convention {convention}"
        raise UsageError(f"{option} needs one model", help="for example tinylm params small")
    if explain and breakdown:
        raise UsageError(f"--explain cannot be combined with {breakdown}", help="remove one of them")
    if expand and by is By.component:
        raise UsageError("--expand has no effect on components", help="add --by layer or --by tensor")
    from tinylm_cli.analysis.params import analyze_params
    from tinylm_cli.config.loader import load_presets
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.render.views.params import params_view
    from tinylm_cli.reports.params import ParamsReport

    loaded = [load_config(config, set_ or ())] if config is not None else load_presets(set_ or ())
    if explain:
        from tinylm_cli.analysis.param_formulas import explain_params

        counted = [explain_params(each) for each in loaded]
    else:
        counted = [analyze_params(each, by=by.value, expand=expand) for each in loaded]
    report = ParamsReport(tuple(counted))
    following = (
        next_step("params CONFIG", "build", model_words(config, set_))
        if config is not None
        else next_step("params", "params CONFIG", "small")
    )
    return CommandOutput(
        report,
        lambda: params_view(report, convention.value if convention is not None else None),
        format_,
        output,
        next_step=following,
        table=table,
    )
