"""Export to the configs of training frameworks, one file per framework."""

from __future__ import annotations

from typing import Literal

from tinylm_cli.interop.frameworks.framework import Framework
from tinylm_cli.interop.frameworks.litgpt import LITGPT

FrameworkName = Literal["litgpt"]

FRAMEWORKS: dict[FrameworkName, Framework] = {"litgpt": LITGPT}
"""The frameworks by their names as targets."""
