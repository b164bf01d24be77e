"""The report of ``tinylm lint``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, get_args

from tinylm_cli.errors import Diagnostic
from tinylm_cli.reports.record import Record
from tinylm_cli.reports.validate import FileResult

Target = Literal["hf", "vllm", "gguf", "litgpt", "megatron", "torchtitan"]
"""The libraries and engines that a model is checked for."""

TARGETS: tuple[Target, ...] = get_args(Target)


class Expression(Record):
    """How a target expresses a model."""

    target: Target  # The target.
    engine: str  # Its name and version: ``vLLM 0.33.0``.
    expressed_as: str  # The family or class that expresses the model; empty if none does.
    diagnostics: tuple[Diagnostic, ...] = ()  # What stands in the way, or has a cost.
    splits_tensors: bool = True  # Whether the target implements tensor parallelism for this class.


class Padding(Record):
    """A size padded to a multiple, and what the model then costs more."""

    changes: tuple[str, ...]  # The changed fields, each ``d_ff=11264``; a padded d_model keeps the size of the heads.
    added_params: int  # Parameters that the padded config has more.
    added_bytes: int  # Their bytes in bfloat16.
    added_flops_share: float  # Forward FLOPs of a sequence of max_len tokens that it has more, as a share.


class Finding(Record):
    """One finding."""

    targets: tuple[Target, ...]  # The requested targets that it concerns.
    padding: Padding | None  # The padding that resolves it; None if padding does not.
    diagnostic: Diagnostic  # Its code, severity, message, place and remedy.


class TargetVerdict(Record):
    """Whether a target can express the model."""

    target: Target  # The target.
    engine: str  # The name and version that the checks refer to.
    can_express: bool  # Whether there is no error.
    expressed_as: str  # The family or class that expresses the model; empty if none does.
    errors: int  # Findings that stand in the way.
    warnings: int  # Findings with a cost.
    notes: int  # Other findings.


class LintReport(Record):
    """What stands in the way of a model in other libraries and engines, and on GPUs."""

    name: str  # The model's name.
    path: str  # Its config.
    tp: int  # GPUs of tensor parallelism.
    gpu: str | None  # The GPU; None for any.
    targets: tuple[TargetVerdict, ...]  # The verdict on each requested target.
    findings: tuple[Finding, ...]  # Every finding, errors first.
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def passes(self) -> bool:
        """Whether every requested target can express the model."""
        return all(each.can_express for each in self.targets)

    def as_file(self) -> FileResult:
        """Return the report as the result for one file, which the formats for CI services show."""
        diagnostics = tuple(each.diagnostic for each in self.findings)
        return FileResult(self.path, "valid" if self.passes else "invalid", None, "", "", diagnostics)
