"""``tinylm list``: the built-in configs, published models, GPUs and Hugging Face families."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args

from tinylm_cli.cli.completion import complete_family, complete_mixer
from tinylm_cli.cli.next_steps import next_step
from tinylm_cli.cli.options import MODEL_PANEL, ReportOutput, amount_option, as_typed, option, wrong_value
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.config.presets import gallery, presets
from tinylm_cli.errors import UsageError

if TYPE_CHECKING:
    from tinylm_cli.reports.presets import Preset


def _size(text: str, name: str) -> Any:
    return amount_option(text, name, "count", example="8B", metavar="COUNT", panel=MODEL_PANEL)


def list_(
    *,
    published: Annotated[bool, option("List published models.", "--gallery")] = False,
    hardware: Annotated[bool, option("List GPUs with their peak FLOP/s and bandwidth.", "--hardware")] = False,
    families: Annotated[bool, option("List the Hugging Face families that tinylm imports.", "--families")] = False,
    family: Annotated[
        str | None,
        option(
            "Only published models of this family, e.g. qwen.",
            "--family",
            panel=MODEL_PANEL,
            metavar="NAME",
            complete=complete_family,
        ),
    ] = None,
    mixer: Annotated[
        str | None,
        option(
            "Only published models with layers of this mixer, e.g. mamba2.",
            "--mixer",
            panel=MODEL_PANEL,
            metavar="NAME",
            complete=complete_mixer,
        ),
    ] = None,
    min_params: Annotated[
        int | None, _size("Only published models with at least this many parameters.", "--min-params")
    ] = None,
    max_params: Annotated[
        int | None, _size("Only published models with at most this many parameters.", "--max-params")
    ] = None,
    to: ReportOutput,
) -> CommandOutput:
    """List presets, published models, GPUs and Hugging Face families.

    Every command accepts the name of a preset or published model; --gpu accepts the name of a GPU.

    \b
    Examples:
      tinylm list
      tinylm list --gallery
      tinylm list --family llama --max-params 10B
      tinylm list --hardware
      tinylm list --families
      tinylm list --format json
    """
    filters = _Filters(family, mixer, min_params, max_params)
    given = [f"--{name.replace('_', '-')}" for name, value in filters._asdict().items() if value is not None]
    lists = {"--hardware": hardware, "--families": families, "--gallery": published}
    options = [*(name for name, is_given in lists.items() if is_given), *given]
    if (hardware or families) and len(options) > 1:
        raise UsageError(f"{options[1]} cannot be combined with {options[0]}", help="remove one of them")
    if hardware:
        return _hardware(to)
    if families:
        return _families(to)
    return _gallery(filters, to) if published or given else _presets(to)


_MANY = 8
"""From this many models on, their number and sizes are stated instead of their names."""


class _Filters(NamedTuple):
    """The filters of a list of published models."""

    family: str | None
    mixer: str | None
    min_params: int | None
    max_params: int | None

    def check(self) -> None:
        """Raise UsageError if no model may match."""
        from tinylm_cli.config.choices import MixerKind
        from tinylm_cli.config.publications import publications

        _require_known("--family", self.family, sorted({each.family for each in publications().values()}))
        _require_known("--mixer", self.mixer, get_args(MixerKind))
        if self.min_params is not None and self.max_params is not None and self.min_params > self.max_params:
            sizes = f"--min-params {as_typed(self.min_params)} exceeds --max-params {as_typed(self.max_params)}"
            raise UsageError(sizes, help="exchange them")

    def match(self, preset: Preset) -> bool:
        """Return whether a model is in the list."""
        from tinylm_cli.config.choices import mixers_within

        return (
            self.family in (None, preset.family)
            and (self.mixer is None or self.mixer in mixers_within(preset.mixers))
            and (self.min_params is None or preset.total_params >= self.min_params)
            and (self.max_params is None or preset.total_params <= self.max_params)
        )

    def others(self, models: Sequence[Preset]) -> str:
        """Return a sentence about the models that one filter alone matches, for a list without any model."""
        only = self._replace(min_params=None, max_params=None, **({} if self.mixer is None else {"family": None}))
        matching = [each for each in models if only.match(each)]
        sizes = [each.total_params for each in matching]
        many = f"{len(matching)} models of {min(sizes):,} to {max(sizes):,} parameters"
        name = only.mixer or only.family
        of = f" of {name}" if name else ""
        return f"Published models{of}: {_names(matching) if len(matching) < _MANY else many}."


def _names(models: Iterable[Preset]) -> str:
    return ", ".join(each.name for each in models)


def _require_known(option_: str, name: str | None, known: Iterable[str]) -> None:
    if name is None or name in known:
        return
    from tinylm_cli.config.similar_names import suggest

    meant = suggest(name, known)
    remedy = f"did you mean {meant}?" if meant else f"the names are {', '.join(known)}"
    raise wrong_value(option_, name, "no such name", remedy, "unknown-choice")


def _presets(to: ReportOutput) -> CommandOutput:
    from tinylm_cli.render.views.presets import presets_view
    from tinylm_cli.reports.presets import PresetsReport

    report = PresetsReport(tuple(_preset(name, str(path)) for name, path in presets().items()))
    lists = "Also --gallery: published models; --hardware: GPUs; --families: Hugging Face."
    others = lists if to.format_ == "text" else ""
    next_ = next_step("list", "show", "small", "--origin")
    return CommandOutput(report, lambda: presets_view(report, others=others), to, next_step=next_)


def _gallery(filters: _Filters, to: ReportOutput) -> CommandOutput:
    from tinylm_cli.render.views.presets import gallery_view
    from tinylm_cli.reports.presets import PresetsReport

    filters.check()
    models = [_preset(name, str(path)) for name, path in gallery().items()]
    report = PresetsReport(tuple(each for each in models if filters.match(each)))
    names = [each.name for each in report.presets]
    shown = "llama-3-8b" if "llama-3-8b" in names else next(iter(names), None)
    next_ = next_step("list", "show", shown, "--origin") if shown else ""
    return CommandOutput(report, lambda: gallery_view(report, others=filters.others(models)), to, next_step=next_)


def _preset(name: str, path: str) -> Preset:
    from tinylm_cli.analysis.kv_cache import cache_shape
    from tinylm_cli.analysis.params import active_params, total_params
    from tinylm_cli.analysis.tensor_table import tensor_table
    from tinylm_cli.config.layer_kinds import layer_pattern
    from tinylm_cli.config.publications import publications
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.reports.presets import Preset

    config = load_config(name).config
    sizes = ("vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "nominal_params", "max_len")
    table, cache, published = tensor_table(config), cache_shape(config, "bfloat16"), publications().get(name)
    return Preset(
        name=name,
        path=path,
        total_params=total_params(table),
        active_params=active_params(table),
        kv_cache_bytes_per_token=cache.token_bytes,
        state_bytes_per_sequence=cache.state_bytes,
        mixers=tuple(dict.fromkeys(kind.block.mixer for kind in layer_pattern(config).kinds)),
        family=None if published is None else published.family,
        year=None if published is None else published.year,
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


def _families(to: ReportOutput) -> CommandOutput:
    from tinylm_cli.interop.families import FAMILIES
    from tinylm_cli.render.views.families import families_view
    from tinylm_cli.reports.families import FamiliesReport, FamilyEntry

    entries = (FamilyEntry(each.model_type, each.title, each.architecture) for each in FAMILIES.values())
    report = FamiliesReport(tuple(sorted(entries, key=lambda entry: entry.model_type)))
    return CommandOutput(report, lambda: families_view(report), to)
