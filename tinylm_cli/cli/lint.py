"""``tinylm lint``: what stands in the way of a model in other libraries, engines and on GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from tinylm_cli.cli.completion import complete_target
from tinylm_cli.cli.next_steps import model_arguments, next_step
from tinylm_cli.cli.options import (
    CLUSTER_PANEL,
    CONFIG_HELP,
    DEFAULT_CONFIG,
    TARGET_PANEL,
    CiOutput,
    IgnoreOption,
    SetOption,
    config_option,
    option,
    option_span,
    wrong_value,
)
from tinylm_cli.cli.output import CommandOutput, ci_document
from tinylm_cli.cli.requested_config import requested_config
from tinylm_cli.cli.training_options import GpuOption, HardwareOption
from tinylm_cli.cli.wording import worded
from tinylm_cli.config.diagnostic_codes import clip
from tinylm_cli.errors import ExitCode, UsageError
from tinylm_cli.reports.lint import TARGETS

if TYPE_CHECKING:
    from tinylm_cli.config.hardware import Accelerator
    from tinylm_cli.reports.lint import Target

FOR = "--for"

ForOption = Annotated[
    str | None,
    option(
        f"Targets, separated by commas: {', '.join(TARGETS)}.  [default: all]",
        FOR, panel=TARGET_PANEL, metavar="NAMES", complete=complete_target,
    ),
]  # fmt: skip


def lint(
    config: Annotated[str, config_option(f"{CONFIG_HELP}.")] = DEFAULT_CONFIG,
    *,
    set_: SetOption = None,
    ignore: IgnoreOption = None,
    for_: ForOption = None,
    strict: Annotated[bool, option("Treat warnings as errors.", "--strict", panel=TARGET_PANEL)] = False,
    gpu: GpuOption = None,
    tp: Annotated[
        int, option("GPUs of tensor parallelism.", "--tp", panel=CLUSTER_PANEL, metavar="N", min=1, max=1024)
    ] = 1,
    hardware: HardwareOption = None,
    to: CiOutput = CiOutput(),  # noqa: B008 - immutable
) -> CommandOutput:
    """Check whether other libraries and engines can express a model.

    hf is transformers, vllm is vLLM, gguf is llama.cpp, litgpt is LitGPT, megatron is Megatron-LM. For each target,
    the report says by which class it expresses the model, and lists what stands in the way: fields that it lacks, heads
    and sizes that --tp GPUs cannot share, sizes that kernels do not take, and sizes off the multiples of tensor cores
    and quantized types, with the cost of padding them. docs/lint.md lists every check and its source. Exits with 1 if a
    target cannot express the model.

    \b
    Examples:
      tinylm lint my.yaml
      tinylm lint my.yaml --for vllm,gguf --tp 8
      tinylm lint my.yaml --for vllm --strict --format github
    """
    from tinylm_cli.analysis.portability.lint import lint as lint_model
    from tinylm_cli.interop.portability import express_for
    from tinylm_cli.render.views.lint import lint_view, summary

    targets = TARGETS if for_ is None else _read_targets(for_)
    accelerator = _read_gpu(gpu, hardware)
    loaded = requested_config(config, set_ or (), None, ignore or ())
    report = worded(lint_model(loaded, express_for(loaded, targets), tp=tp, accelerator=accelerator, strict=strict))
    following = model_arguments(config, set_, ignored=ignore) if report.passes else ""
    return CommandOutput(
        report,
        lambda: lint_view(report),
        to,
        ExitCode.DONE if report.passes else ExitCode.FAILED,
        ci_document(to.format_, (report.as_file(),), summary(report), "lint"),
        next_step=next_step("lint", "estimate", following),
        description=summary(report),
    )


def _read_targets(text: str) -> tuple[Target, ...]:
    """Return the targets that ``--for`` names.

    Raises:
        ConfigError: If one is unknown.
    """
    from tinylm_cli.config.similar_names import suggest

    names = dict.fromkeys(name.strip() for name in text.split(","))
    known = {str(target): target for target in TARGETS}
    for name in names:
        if name not in known:
            suggestion = suggest(name, known)
            remedy = f"did you mean {suggestion}?" if suggestion else f"the targets are {', '.join(known)}"
            raise wrong_value(FOR, text, f"unknown target {clip(name)}", remedy, "unknown-choice")
    return tuple(known[name] for name in names)


def _read_gpu(gpu: str | None, hardware: str | None) -> Accelerator | None:
    """Return the named GPU; None if none is named.

    Raises:
        ConfigError: If no GPU has that name, or the hardware file is invalid.
        InputError: If the file cannot be read.
        UsageError: If there is a file, but no name.
    """
    if gpu is None:
        if hardware is not None:
            raise UsageError("--hardware has no effect without --gpu", help="add --gpu NAME")
        return None
    from tinylm_cli.config.hardware import find_accelerator, load_accelerators

    return find_accelerator(load_accelerators(hardware), gpu, option_span("--gpu", gpu))
