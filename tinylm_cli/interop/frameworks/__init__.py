"""Export to the configs of training frameworks, one file per framework."""

from __future__ import annotations

from tinylm_cli.interop.frameworks.framework import Framework
from tinylm_cli.interop.frameworks.litgpt import LITGPT
from tinylm_cli.interop.frameworks.megatron import MEGATRON
from tinylm_cli.interop.frameworks.torchtitan import TORCHTITAN

FRAMEWORKS: dict[str, Framework] = {"litgpt": LITGPT, "megatron": MEGATRON, "torchtitan": TORCHTITAN}
"""The frameworks by their names as targets."""
