"""``tinylm verify``: the headers of a checkpoint against its config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tinylm_cli.cli.completion import complete_config
from tinylm_cli.cli.next_steps import MAX_BUILT_BYTES, config_arguments, model_arguments, next_step
from tinylm_cli.cli.options import INPUT_PANEL, CiOutput, IgnoreOption, SetOption, argument, option, require_nonempty
from tinylm_cli.cli.output import CommandOutput, ci_document
from tinylm_cli.cli.wording import worded
from tinylm_cli.errors import ExitCode
from tinylm_cli.quantities import counted

if TYPE_CHECKING:
    from tinylm_cli.reports.verify import VerifyReport

EXIT_CODES = {"equal": ExitCode.DONE, "different": ExitCode.FAILED, "unreadable": ExitCode.UNABLE}


def verify(
    folder: Annotated[
        str,
        argument(
            "A folder with a config and safetensors files, a GGUF file, or hf://org/name.", "FOLDER", complete_config
        ),
    ],
    *,
    set_: SetOption = None,
    ignore: IgnoreOption = None,
    partial: Annotated[
        bool,
        option("Allow absent files; compare their tensors by name only.", "--partial", panel=INPUT_PANEL),
    ] = False,
    to: CiOutput = CiOutput(),  # noqa: B008 - immutable
) -> CommandOutput:
    """Check that a checkpoint has the tensors that its config implies.

    Reads only the headers of the safetensors files: names, shapes, dtypes and byte ranges, not the values. The
    checkpoint must contain exactly the expected tensors with the expected shapes; the bytes of each must match its
    shape and dtype, and all of them together must fill the file.
    With several files, the index must name the file of each tensor. A difference names the config field that would
    explain it, if one does.

    Of a GGUF file, the header implies the tensors: each must be there with its shape and a type of ggml, and
    begin where the data of the one before ends. The tensors of a split file are read from all its files.

    Tensors that are not required but contradict nothing are listed as also stored: a head that is tied, buffers that
    are recomputed, multi-token prediction modules, other parts of multimodal models, and scales of quantized weights.
    Exits with 1 if anything differs, and with 2 if a file cannot be read.

    \b
    Examples:
      tinylm verify models/llama-3-8b
      tinylm verify models/llama-3-8b --partial
      tinylm verify models/llama-3-8b --set vocab_size=128512
      tinylm verify models/llama-3-8b --format github
      tinylm verify llama-3-8b-Q4_K_M.gguf
      tinylm verify hf://Qwen/Qwen3-8B
    """
    from tinylm_cli.analysis.tensor_table import stored_shapes
    from tinylm_cli.interop.verification.verify import config_of, verify_checkpoint
    from tinylm_cli.render.views.verify import verdict, verify_view

    text = config_of(require_nonempty(folder), ignore or ())
    changes = tuple(set_ or ())
    report = worded(verify_checkpoint(folder, text, changes, stored_shapes, partial=partial))
    return CommandOutput(
        report,
        lambda: verify_view(report),
        to,
        EXIT_CODES[report.status],
        ci_document(to.format_, (report.as_file(),), f"Verified {verdict(report)}.", "verify"),
        next_step=_next_step(report, changes),
        description=counted(len(report.differences), "difference"),
    )


def _next_step(report: VerifyReport, changes: Sequence[str]) -> str:
    """Return the command that runs a small model, or that costs a large or quantized one; none after a difference."""
    if report.status != "equal":
        return ""
    ignored = [*report.ignored_keys]
    from tinylm_cli.interop.load import is_gguf, is_hub_reference

    if is_hub_reference(report.path):
        return next_step("verify", "estimate", config_arguments(report.path, changes, None, ignored))
    is_quantized = any(each.kind == "quantization" for each in report.apart)
    is_runnable = not is_quantized and not is_gguf(report.path)
    if report.name_only_tensors or not is_runnable or report.stored_bytes > MAX_BUILT_BYTES:
        return next_step("verify", "estimate", config_arguments(None, changes, Path(report.path), ignored))
    return next_step("verify", "forward", model_arguments(None, changes, Path(report.path), ignored))
