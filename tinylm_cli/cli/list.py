"""``tinylm list``: the built-in configs and GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from tinylm_cli.cli.next_steps import next_step
from tinylm_cli.cli.options import ReportOutput, option
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.errors import UsageError

if TYPE_CHECKING:
    from tinylm_cli.reports.presets import Preset


def list_(
    *,
    published: Annotated[bool, option("List published models.", "--gallery")] = False,
    hardware: Annotated[bool, option("List GPUs with their peak FLOP/s and bandwidth.", "--hardware")] = False,
    to: ReportOutput,
) -> CommandOutput:
    """List the built-in presets, published models and GPUs.

    Every command accepts the name of a preset or published model; --gpu accepts the name of a GPU.

    \b
    Examples:
      tinylm list
      tinylm list --gallery
      tinylm list --hardware
      tinylm list --format json
    """
    if published and hardware:
        raise UsageError("--gallery cannot be combined with --hardware", help="remove one of them")
    return _hardware(to) if hardware else _configs(to, published=published)


def _configs(to: ReportOutput, *, published: bool) -> CommandOutput:
    from tinylm_cli.config.presets import gallery, presets
    from tinylm_cli.render.views.presets import presets_view
    from tinylm_cli.reports.presets import PresetsReport

    paths = gallery() if published else presets()
    report = PresetsReport(tuple(_preset(name, str(path)) for name, path in paths.items()))
    return CommandOutput(
        report,
        lambda: presets_view(report, "model" if published else "preset", others=_others(to, published=published)),
        to,
        next_step=next_step("list", "show", "llama-3-8b" if published else "small", "--origin"),
    )


def _others(to: ReportOutput, *, published: bool) -> str:
    """Return a sentence on the screen about the other lists."""
    return "" if published or to.format_ != "text" else "--gallery lists published models, --hardware lists GPUs."


def _preset(name: str, path: str) -> Preset:
    from tinylm_cli.analysis.params import active_params, total_params
    from tinylm_cli.analysis.tensor_table import tensor_table
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.reports.presets import Preset

    config = load_config(name).config
    sizes = ("vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "nominal_params", "max_len")
    table = tensor_table(config)
    return Preset(
        name=name,
        path=path,
        total_params=total_params(table),
        active_params=active_params(table),
        **{size: getattr(config, size) for size in sizes},
    )


def _hardware(to: ReportOutput) -> CommandOutput:
    from tinylm_cli.config.hardware import load_accelerators
    from tinylm_cli.render.views.hardware import hardware_view
    from tinylm_cli.reports.hardware import AcceleratorFigures, HardwareReport

    computed = {
        "usable_memory_bytes": "capacity_bytes",
        "peak_flops_per_second": "peaks",
        "peer_bytes_per_second": "one_peer_bytes_per_second",
    }
    names = AcceleratorFigures.__dataclass_fields__
    report = HardwareReport(
        tuple(
            AcceleratorFigures(**{name: getattr(each, computed.get(name, name)) for name in names})
            for each in load_accelerators().values()
        )
    )
    return CommandOutput(report, lambda: hardware_view(report), to)
