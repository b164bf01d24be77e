"""Export to the configs of training frameworks, one file per framework."""

from __future__ import annotations

from typing import Literal

from tinylm_cli.interop.frameworks.framework import Framework
from tinylm_cli.interop.frameworks.litgpt import LITGPT
from tinylm_cli.interop.frameworks.megatron import MEGATRON

FrameworkName = Literal["litgpt", "megatron"]

FRAMEWORKS: dict[str, Framework] = {"litgpt": LITGPT, "megatron": MEGATRON}
"""The frameworks by their names as targets."""
