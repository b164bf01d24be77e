"""``tinylm list``: the shipped configs."""

from __future__ import annotations

from typing import Annotated

import typer

from tinylm_cli.cli.options import FormatOption, OutputOption
from tinylm_cli.cli.outcome import Format, Outcome


def list_(
    published: Annotated[bool, typer.Option("--gallery", help="List published models instead of the presets.")] = False,
    format_: FormatOption = Format.text,
    output: OutputOption = None,
) -> Outcome:
    """List the configs that ship with tinylm.

    The presets, or published models; --config takes the name of either.

    \b
    Examples:
      tinylm list
      tinylm list --gallery
      tinylm list --format json
    """
    from tinylm_cli.analysis.params import total_params
    from tinylm_cli.analysis.table import tensor_table
    from tinylm_cli.config.presets import gallery, presets
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.render.views.presets import presets_view
    from tinylm_cli.reports.presets import Preset, PresetsReport

    found = []
    for name, path in (gallery() if published else presets()).items():
        config = load_config(name).config
        found.append(
            Preset(
                name=name,
                path=str(path),
                vocab_size=config.vocab_size,
                d_model=config.d_model,
                n_heads=config.n_heads,
                n_layers=config.n_layers,
                d_ff=config.d_ff,
                nominal_params=config.nominal_params,
                total_params=total_params(tensor_table(config)),
            )
        )
    report = PresetsReport(tuple(found))
    return Outcome(
        report, lambda: presets_view(report, "model" if published else "preset"), format_, output,
        next_step=f"tinylm show --config {'llama-3-8b' if published else 'small'} --origin",
    )  # fmt: skip
