"""``tinylm params``: parameters by component, layer, tensor or formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from tinylm_cli.cli.completion import complete_gguf_type
from tinylm_cli.cli.lora_option import LoraOption, adapter_beside, read_lora
from tinylm_cli.cli.next_steps import is_built_quickly, model_arguments, next_step
from tinylm_cli.cli.options import CONFIG_HELP, IgnoreOption, ReportOutput, SetOption, config_option, option
from tinylm_cli.cli.output import CommandOutput
from tinylm_cli.cli.requested_config import print_left_out
from tinylm_cli.cli.wording import as_options
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.choices import GgufChoice
from tinylm_cli.shell_quoting import shell_join, shell_quote

if TYPE_CHECKING:
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.reports.params import ModelParams

By = Literal["component", "layer", "tensor"]
Convention = Literal["unique", "untied", "non-embedding", "active", "without-mtp", "hub"]

PresetsOrConfig = Annotated[
    str | None,
    config_option(f"{CONFIG_HELP}.  [default: every preset]"),
]


def params(
    *,
    config: PresetsOrConfig = None,
    set_: SetOption = None,
    ignore: IgnoreOption = None,
    lora: LoraOption = None,
    by: Annotated[By, option("Granularity of the breakdown of one model.")] = "component",
    expand: Annotated[
        bool, option("List repeated layers one by one, by layer or by tensor, in at most 50,000 rows.", "--expand")
    ] = False,
    explain: Annotated[
        bool, option("Show the formula of each component, with numbers filled in.", "--explain")
    ] = False,
    convention: Annotated[Convention | None, option("Also show the count under another convention.")] = None,
    gguf: Annotated[
        GgufChoice | None,
        option(
            "Show the sizes of GGUF files of llama.cpp: all types, or one such as Q4_K_M by type of tensor.",
            "--gguf",
            metavar="all|TYPE",
            case_sensitive=False,
            complete=complete_gguf_type,
        ),
    ] = None,
    imatrix: Annotated[
        bool, option("Assume that GGUF files are quantized with an importance matrix.", "--imatrix")
    ] = False,
    to: ReportOutput,
) -> CommandOutput:
    """Count parameters in closed form, by component, layer or tensor.

    Without CONFIG, shows every preset in one table, with its nominal size and its exact count. With CONFIG, shows the
    breakdown of one model and the savings from tying its weights. With --gguf, shows the sizes of its GGUF files.

    \b
    Examples:
      tinylm params
      tinylm params small
      tinylm params small --by tensor --format json
      tinylm params base --explain
      tinylm params base --set tie_weights=false
      tinylm params gpt2 --convention hub
      tinylm params llama-3.1-8b --gguf all
      tinylm params llama-3-8b --lora r=16
    """
    shown = _shown(by, gguf, convention, lora, expand=expand, explain=explain)
    if config is None and shown:
        raise UsageError(f"{shown[0]} needs one model", help=f"for example tinylm params small {shown[0]}")
    if config is None and ignore:
        raise UsageError("--ignore needs the config.json of a model", help="name the file, or its folder")
    if expand and by == "component":
        raise UsageError("--expand has no effect on components", help="add --by layer or --by tensor")
    if imatrix and gguf is None:
        raise UsageError("--imatrix has no effect without --gguf", help="add --gguf all")
    from tinylm_cli.analysis.params import analyze_params
    from tinylm_cli.config.loader import load_presets
    from tinylm_cli.interop.key_effects import Effect, KeyPolicy, require_keys
    from tinylm_cli.interop.load import load_config
    from tinylm_cli.render.views.params import params_view
    from tinylm_cli.reports.params import ParamsReport

    policy = KeyPolicy(tuple(ignore or ()), Effect.tensors)
    loaded = [load_config(config, set_ or (), policy)] if config is not None else load_presets(set_ or ())
    require_keys(policy.ignored, loaded)
    print_left_out(each for each in loaded if not each.other_params)  # which the report counts
    if explain:
        from tinylm_cli.analysis.param_formulas import explain_params

        counted = [explain_params(each) for each in loaded]
    else:
        if lora is None and gguf is None and convention is None and by != "layer":
            lora = adapter_beside(config)
        adapters = read_lora(lora, loaded[0])
        counted = [analyze_params(each, by=by, expand=expand, lora=adapters) for each in loaded]
    if gguf is not None:
        counted = [_with_gguf(counted[0], loaded[0], gguf, has_importance_matrix=imatrix)]
    report = ParamsReport(tuple(counted))
    return CommandOutput(
        report,
        lambda: params_view(report, as_options, convention),
        to,
        next_step=_next_step(counted[0], loaded[0], config, set_ or (), lora),
    )


def _shown(
    by: By, gguf: GgufChoice | None, convention: Convention | None, lora: str | None, *, expand: bool, explain: bool
) -> list[str]:
    """Return the options that choose what is shown of one model.

    Raises:
        UsageError: If they exclude each other.
    """
    breakdown = f"--by {by}" if by != "component" else "--expand" if expand else ""
    explanation, sizes = "--explain" if explain else "", f"--gguf {gguf}" if gguf else ""
    counts = f"--convention {convention}" if convention else ""
    adapters, by_layer = f"--lora {shell_quote(lora)}" if lora is not None else "", breakdown if by == "layer" else ""
    excluding = (
        (explanation, [breakdown]),
        (sizes, [explanation, breakdown, counts]),
        ("--lora" if adapters else "", [explanation, by_layer, sizes, counts]),
    )
    for one, others in excluding:
        excluded = next(filter(None, others), "")
        if one and excluded:
            raise UsageError(f"{one} cannot be combined with {excluded}", help="remove one of them")
    return [each for each in (explanation, adapters, breakdown, sizes, counts) if each]


def _with_gguf(
    model: ModelParams, loaded: LoadedConfig, gguf: GgufChoice, *, has_importance_matrix: bool
) -> ModelParams:
    """Return the report with the sizes of GGUF files."""
    from tinylm_cli.analysis.tensor_table import stored_shapes
    from tinylm_cli.interop.gguf.package import require_gguf

    require_gguf("the sizes of GGUF files")
    from tinylm_cli.interop.gguf.sizes import gguf_sizes

    sizes = gguf_sizes(loaded.config, stored_shapes, gguf, has_importance_matrix=has_importance_matrix)
    return replace(model, gguf=sizes)


def _next_step(
    model: ModelParams, loaded: LoadedConfig, config: str | None, overrides: Sequence[str], lora: str | None
) -> str:
    """Return the next command: the first change that reaches the nominal size, if any is listed."""
    if config is None:
        return next_step("params", "params CONFIG", "small")
    ignored = [*loaded.ignored_keys]
    if model.lora is not None:
        adapters = shell_join(["--lora", lora]) if lora is not None and lora != config else ""
        return next_step("params --lora", "estimate", model_arguments(config, overrides, ignored=ignored), adapters)
    if model.explanation is None or not model.explanation.nominal_changes:
        meta = "" if is_built_quickly(loaded.config) else "--meta"
        return next_step("params CONFIG", "build", model_arguments(config, overrides, ignored=ignored), meta)
    change = model.explanation.nominal_changes[0].values
    kept = [override for override in overrides if override.partition("=")[0].strip() not in change]
    changed = [f"{field}={value}" for field, value in change.items()]
    arguments = model_arguments(config, [*kept, *changed], ignored=ignored)
    return next_step("params --explain", "params CONFIG", arguments)
