"""The ``next:`` lines: a suggested command after each command, from choosing a model to training it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinylm_cli.cli.options import DEFAULT_CONFIG
from tinylm_cli.config.presets import shipped
from tinylm_cli.shell_quoting import shell_join, shell_quote

if TYPE_CHECKING:
    from tinylm_cli.config.schema import ModelConfig

MANY_EXPERTS = 16
"""Up to this many experts, the nearest family is Mixtral (8 experts); above it, Qwen3-MoE (128)."""

TRAINING_SCRIPT = "examples/train.py"
"""A training loop, which takes a config or an exported folder; in a checkout, and in an installed package."""

TRAINING = "python train.py"
"""The step that runs the training loop."""

MAX_BUILT_BYTES = 1024**3
"""Maximum size, in float32, of a model that a suggested command builds."""

NEXT_STEPS: Mapping[str, tuple[str, ...]] = {
    "list": ("show",),
    "show": ("params CONFIG",),
    "new": ("params CONFIG",),
    "validate": ("validate --diff", "params CONFIG"),
    "validate --diff": ("validate --fix",),
    "validate --fix": ("params CONFIG",),
    "verify": ("forward", "estimate"),
    "lint": ("estimate",),
    "import": ("params CONFIG",),
    "import --weights": ("check",),
    "params": ("params CONFIG",),
    "params CONFIG": ("build",),
    "params --explain": ("params CONFIG",),
    "params --lora": ("estimate",),
    "build": ("estimate",),
    "build --save": ("forward",),
    "check": ("forward", "generate"),
    "forward": ("generate", "estimate"),
    "generate": ("estimate",),
    "compare": ("estimate", "estimate --gpu"),
    "estimate": ("estimate --gpu",),
    "estimate --gpu": ("estimate --full", "export"),
    "estimate --full": (),
    "estimate --gpu, too large": ("estimate --gpu", "design"),
    "design": ("design --output",),
    "design, no match": ("design",),
    "design --output": ("estimate", "export"),
    "export": (TRAINING,),
    "sweep": ("validate", "estimate"),
    "schema": (),
    TRAINING: (),
}
"""Successors of each step. A step is a command, plus an option or a verdict if that changes the task.

The graph has no cycles and ends at a training loop, or for a model too large to build at its full estimate.
"""


def next_step(step: str, following: str, *arguments: str) -> str:
    """Return the command of the step ``following`` after ``step``.

    Args:
        step: The step that was taken, a key of ``NEXT_STEPS``.
        following: One of its successors.
        arguments: Shell-quoted arguments of the command, the model first; empty ones are omitted. If the first one is
            empty, the model came from standard input and cannot be named again.

    Returns:
        The command; empty if the model cannot be named.
    """
    assert following in NEXT_STEPS[step], f"{step} does not lead to {following}"
    command = f"python {shell_quote(training_script())}" if following == TRAINING else f"tinylm {following.split()[0]}"
    return " ".join(filter(None, (command, *arguments))) if arguments and arguments[0] else ""


def training_script() -> str:
    """Return the path of the training loop: in the current folder, in the installed package, or in its checkout."""
    package = Path(__file__).resolve().parents[1]
    found = (folder / TRAINING_SCRIPT for folder in (Path(), package, package.parent))
    return str(next(path for path in found if path.is_file()))


def model_arguments(
    config: str | None,
    overrides: Sequence[str] | None,
    weights: Path | None = None,
    ignored: Sequence[str] | None = None,
) -> str:
    """Return the arguments that name the same model in another command; empty for standard input."""
    if config == "-":
        return ""
    if config is None and weights is None:
        config = DEFAULT_CONFIG
    named = () if config is None else ("--config", config) if config.startswith("-") else (config,)
    loaded = () if weights is None else ("--weights", str(weights))
    changes = [argument for override in overrides or () for argument in ("--set", override)]
    left_out = [argument for key in ignored or () for argument in ("--ignore", key)]
    return shell_join([*named, *loaded, *changes, *left_out])


def config_arguments(
    config: str | None,
    overrides: Sequence[str] | None,
    weights: Path | None = None,
    ignored: Sequence[str] | None = None,
) -> str:
    """Return the arguments that name the same config in a command without ``--weights``."""
    if config is None and weights is not None:
        config = str(weights)
        if config in shipped():  # alone, it would name the built-in config
            config = f"./{config}"
    return model_arguments(config, overrides, ignored=ignored)


def is_built_quickly(config: ModelConfig) -> bool:
    """Return whether a suggested command may build a model: its weights take at most 1 GiB in float32."""
    from tinylm_cli.analysis.params import weights_bytes

    return weights_bytes(config, "float32") <= MAX_BUILT_BYTES


def export_arguments(model: str, name: str) -> str:
    """Return the arguments that export a model to a new folder, named after it.

    Args:
        model: The arguments that name the model; empty for standard input.
        name: Its name.
    """
    return f"{model} --output {shell_quote(f'{name}-hf')}" if model else ""


def design_arguments(config: ModelConfig) -> str:
    """Return the options that search for designs in the family nearest to a config."""
    from tinylm_cli.analysis.design import DEFAULT_FAMILY

    family = _family(config)
    chosen = () if family == DEFAULT_FAMILY else ("--family", family)
    return shell_join([*chosen, "--vocab-size", str(config.vocab_size)])


def _family(config: ModelConfig) -> str:
    """Return the design family nearest to a config, by the fields that distinguish the families."""
    from tinylm_cli.config.layer_kinds import layer_pattern

    normalized = config.attention.qk_norm != "none"
    experts = config.feed_forward.n_experts
    kinds = layer_pattern(config).kinds
    mixers = {mixer for kind in kinds for mixer in kind.block.mixers}
    if "gated_deltanet" in mixers:
        return "qwen3.5-moe" if experts else "qwen3.5"
    if mixers >= {"attention", "mamba"}:
        return "jamba"
    if mixers >= {"attention", "mamba2"}:
        dense = "granite-4-h" if all(kind.block.feed_forward for kind in kinds) else "nemotron-h"
        return "granite-4-h-moe" if experts else dense
    if experts:
        return "qwen3-moe" if normalized or experts > MANY_EXPERTS else "mixtral"
    if config.norm.placement == "sandwich":
        return "gemma2"
    if config.position.kind == "rope":
        return "qwen3" if normalized else "llama"
    return "gpt2" if config.position.kind == "learned" else "course"
