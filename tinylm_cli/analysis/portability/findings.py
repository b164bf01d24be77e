"""Construction of findings, at the place of a field, with the cost of a padded size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tinylm_cli.analysis.portability.dimensions import Dimension, padding
from tinylm_cli.analysis.portability.engines import SHAPES
from tinylm_cli.config.choices import DEFAULT_DTYPE
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import Severity
from tinylm_cli.quantities import binary_bytes
from tinylm_cli.reports.lint import Expression, Finding, Padding, Target
from tinylm_cli.wording import Setting, Text


class Request(NamedTuple):
    """What a model is checked for.

    Attributes:
        loaded: The config, with the position of each value.
        expressions: How each target expresses it; targets that cannot are not checked further.
        tp: GPUs of tensor parallelism.
        accelerator: The GPU; None for any.
    """

    loaded: LoadedConfig
    expressions: tuple[Expression, ...]
    tp: int
    accelerator: Accelerator | None

    @property
    def config(self) -> ModelConfig:
        """The config."""
        return self.loaded.config

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that express the model."""
        return tuple(each.target for each in self.expressions if each.expressed_as)

    def finding(
        self,
        code: str,
        targets: Iterable[Target],
        field: str,
        message: str,
        *,
        severity: Severity = "error",
        remedy: str = "",
        padded: Padding | None = None,
    ) -> Finding:
        """Return a finding at a field."""
        help_ = remedy if padded is None else Text(remedy, "; " if remedy else "", _padded(padded))
        found = self.loaded.diagnostic_at(code, field, message, remedy=help_, severity=severity)
        return Finding(tuple(targets), padded, found)

    def padding(self, dimension: Dimension, multiple: int) -> Padding | None:
        """Return the cost of padding a size to a multiple."""
        return padding(self.config, dimension, multiple)


def titles(targets: Iterable[Target]) -> str:
    """Return the names of targets: ``transformers and vLLM``."""
    *others, last = [SHAPES[target].title for target in targets]
    return f"{', '.join(others)} and {last}" if others else last


def _padded(padded: Padding) -> Text:
    """Return the change that pads a size, and its cost."""
    cost = (
        f": {padded.added_params:,} more parameters, {binary_bytes(padded.added_bytes)} in {DEFAULT_DTYPE},"
        f" {_share(padded.added_flops_share)} more FLOPs"
    )
    return Text("write ", Setting("set", padded.changes), cost)


def _share(share: float) -> str:
    return "under 0.01%" if 0 < share < 1e-4 else f"{share:.2%}"
