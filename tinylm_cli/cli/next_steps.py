"""The ``next:`` lines: a suggested command after each command, from choosing a model to training it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinylm_cli.cli.options import DEFAULT_CONFIG

if TYPE_CHECKING:
    from tinylm_cli.config.schema import ModelConfig

MANY_EXPERTS = 16
"""Up to this many experts, the nearest family is Mixtral (8 experts); above it, Qwen3-MoE (128)."""

TRAINING = "python examples/train.py"
"""The training loop of the repository; it takes a config or an exported folder."""

NEXT_STEPS: Mapping[str, tuple[str, ...]] = {
    "list": ("show",),
    "show": ("params CONFIG",),
    "new": ("params CONFIG",),
    "validate": ("validate --diff", "params CONFIG"),
    "validate --diff": ("validate --fix",),
    "validate --fix": ("params CONFIG",),
    "import": ("params CONFIG",),
    "import --weights": ("check",),
    "params": ("params CONFIG",),
    "params CONFIG": ("build",),
    "build": ("estimate",),
    "build --save": ("forward",),
    "check": ("forward", "generate"),
    "forward": ("generate", "estimate"),
    "generate": ("estimate",),
    "compare": ("estimate", "estimate --gpu"),
    "estimate": ("estimate --gpu",),
    "estimate --gpu": ("export",),
    "estimate --gpu, too large": ("estimate --gpu", "design"),
    "design": ("design --output",),
    "design --output": ("export",),
    "export": (TRAINING,),
    "sweep": (),
    "schema": (),
    TRAINING: (),
}
"""Successors of each step. A step is a command, plus an option or a verdict if that changes the task.

The graph has no cycles and ends at a training loop.
"""


def next_step(step: str, following: str, *words: str) -> str:
    """Return the line that leads from one step to the next.

    Args:
        step: The step that was taken, a key of ``NEXT_STEPS``.
        following: The next one, one of its successors.
        words: Quoted words after the command, the model's first; empty ones are left out. An empty first word says that
            the model cannot be named again, since it came from standard input.

    Returns:
        The command; empty when the model cannot be named.
    """
    assert following in NEXT_STEPS[step], f"{step} does not lead to {following}"
    command = TRAINING if following == TRAINING else f"tinylm {following.split()[0]}"
    return " ".join(filter(None, (command, *words))) if words and words[0] else ""


def model_arguments(config: str | None, overrides: Sequence[str] | None, weights: Path | None = None) -> str:
    """Return the arguments that name the same model to another command; empty for standard input."""
    if config == "-":
        return ""
    if config is None and weights is None:
        config = DEFAULT_CONFIG
    named = () if config is None else ("--config", config) if config.startswith("-") else (config,)
    loaded = () if weights is None else ("--weights", str(weights))
    return shlex.join([*named, *loaded, *(word for override in overrides or () for word in ("--set", override))])


def config_arguments(config: str | None, overrides: Sequence[str] | None, weights: Path | None = None) -> str:
    """Return the arguments that name the same config to a command without ``--weights``."""
    if config is None and weights is not None:
        saved = weights / "config.yaml"
        config = str(saved if saved.is_file() else weights)
    return model_arguments(config, overrides)


def export_arguments(model: str, name: str) -> str:
    """Return the arguments that export a model to a new folder, named after it.

    Args:
        model: The arguments that name the model; empty for standard input.
        name: Its name.
    """
    return f"{model} {shlex.quote(f'{name}-hf')}" if model else ""


def design_arguments(config: ModelConfig) -> str:
    """Return the options that search for designs in the family nearest to a config."""
    family = _family(config)
    chosen = () if family == "course" else ("--family", family)
    return shlex.join([*chosen, "--vocab-size", str(config.vocab_size)])


def _family(config: ModelConfig) -> str:
    """Return the design family nearest to a config, by the fields that tell the families apart."""
    normalized = config.attention.qk_norm != "none"
    experts = config.feed_forward.n_experts
    if experts:
        return "qwen3-moe" if normalized or experts > MANY_EXPERTS else "mixtral"
    if config.norm.placement == "sandwich":
        return "gemma2"
    if config.position.kind == "rope":
        return "qwen3" if normalized else "llama"
    return "gpt2" if config.position.kind == "learned" else "course"
