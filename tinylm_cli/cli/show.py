"""``tinylm show``: the resolved config, and the source of each value."""

from __future__ import annotations

from typing import Annotated

from tinylm_cli.cli.next_steps import model_arguments, next_step
from tinylm_cli.cli.options import DEFAULT_CONFIG, ConfigOption, IgnoreOption, ReportOutput, SetOption, option
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.requested_config import print_left_out
from tinylm_cli.cli.wording import worded
from tinylm_cli.errors import UsageError


def show(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    set_: SetOption = None,
    ignore: IgnoreOption = None,
    origin: Annotated[
        bool, option("Show where each value is set: file and line, --set, or default.", "--origin")
    ] = False,
    to: ReportOutput,
) -> CommandOutput:
    """Show a config with its defaults filled in.

    Prints YAML that loads as the same model. Defaults that follow from other fields, such as embedding.multiplier and
    attention.scale, are omitted. --origin prints a table of the fields with the source of each value.

    \b
    Examples:
      tinylm show small
      tinylm show small --origin
      tinylm show --set norm.kind=rmsnorm --output mine.yaml
    """
    from tinylm_cli.config.yaml_writer import effective_blocks, shown_leaves, to_yaml
    from tinylm_cli.interop.key_effects import KeyPolicy, require_keys
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.render.views.show import show_view
    from tinylm_cli.reports.presets import Origin, ShowReport

    if to.format_ in ("csv", "latex") and not origin:
        raise UsageError(
            f"--format {to.format_} needs a table, but show prints a config", help="add --origin for a table"
        )
    loaded = load_config(config, set_ or (), KeyPolicy(tuple(ignore or ())))
    require_keys(ignore or (), [loaded])
    print_left_out([loaded])
    origins = tuple(
        Origin(
            field=name,
            value=value,
            source=span.source if (span := loaded.origins[name]) else "default",
            line=span.line if span else None,
            column=span.column if span else None,
        )
        for name, value in shown_leaves(loaded.config)
    )
    report = ShowReport(
        loaded.name, loaded.source, effective_blocks(loaded.config), worded(origins), loaded.ignored_keys
    )
    text = to_yaml(loaded.config)
    named = (
        model_arguments(str(to.file), None) if to.file and not origin else model_arguments(config, set_, ignored=ignore)
    )
    return CommandOutput(
        report,
        lambda: show_view(report, text, origin=origin),
        to,
        document=None if origin else text,
        next_step=next_step("show", "params CONFIG", named),
    )
