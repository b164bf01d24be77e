"""``tinylm list``: the shipped configs, and the accelerators whose figures ship."""

from __future__ import annotations

from typing import Annotated

import typer

from tinylm_cli.cli.next_steps import next_step
from tinylm_cli.cli.options import OUTPUT_PANEL, FormatOption, OutputOption
from tinylm_cli.cli.output import CommandOutput, Format
from tinylm_cli.errors import UsageError


def list_(
    published: Annotated[
        bool,
        typer.Option("--gallery", help="List published models.", rich_help_panel=OUTPUT_PANEL),
    ] = False,
    hardware: Annotated[
        bool,
        typer.Option(
            "--hardware", help="List GPUs with their peak FLOP/s and bandwidth.", rich_help_panel=OUTPUT_PANEL
        ),
    ] = False,
    format_: FormatOption = Format.text,
    output: OutputOption = None,
) -> CommandOutput:
    """List the presets, published models and GPUs that ship.

    Every command takes a preset or a published model by name, and --gpu takes a GPU.

    \b
    Examples:
      tinylm list
      tinylm list --gallery
      tinylm list --hardware
      tinylm list --format json
    """
    if published and hardware:
        raise UsageError("--gallery cannot be combined with --hardware", help="remove one of them")
    return _hardware(format_, output) if hardware else _configs(format_, output, published=published)


def _configs(format_: Format, output: OutputOption, *, published: bool) -> CommandOutput:
    from tinylm_cli.analysis.params import active_params, total_params
    from tinylm_cli.analysis.tensor_table import tensor_table
    from tinylm_cli.config.presets import gallery, presets
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.render.views.presets import presets_view
    from tinylm_cli.reports.presets import Preset, PresetsReport

    found = []
    for name, path in (gallery() if published else presets()).items():
        config = load_config(name).config
        table = tensor_table(config)
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
                max_len=config.max_len,
                total_params=total_params(table),
                active_params=active_params(table),
            )
        )
    report = PresetsReport(tuple(found))
    return CommandOutput(
        report, lambda: presets_view(report, "model" if published else "preset"), format_, output,
        next_step=next_step("list", "show", "llama-3-8b" if published else "small", "--origin"),
    )  # fmt: skip


def _hardware(format_: Format, output: OutputOption) -> CommandOutput:
    from tinylm_cli.config.hardware import load_accelerators
    from tinylm_cli.render.views.hardware import hardware_view
    from tinylm_cli.reports.hardware import AcceleratorFigures, HardwareReport

    found = (
        AcceleratorFigures(
            name=each.name,
            title=each.title,
            aliases=each.aliases,
            memory_bytes=each.memory_bytes,
            usable_memory_bytes=each.capacity_bytes,
            memory_bytes_per_second=each.memory_bytes_per_second,
            peak_flops_per_second=each.peaks,
            link=each.link,
            link_bytes_per_second=each.link_bytes_per_second,
            peer_bytes_per_second=each.one_peer_bytes_per_second,
            gpus_per_node=each.gpus_per_node,
            network=each.network,
            network_bytes_per_second=each.network_bytes_per_second,
            source=each.source,
            date=each.date,
        )
        for each in load_accelerators().values()
    )
    report = HardwareReport(tuple(found))
    return CommandOutput(report, lambda: hardware_view(report), format_, output)
