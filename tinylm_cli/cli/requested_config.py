"""The config that a command line requests, checked against the config saved with the weights. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinylm_cli.cli.next_steps import model_arguments
from tinylm_cli.cli.options import DEFAULT_CONFIG
from tinylm_cli.cli.streams import print_note
from tinylm_cli.errors import InputError, UsageError
from tinylm_cli.shell_quoting import shell_quote

if TYPE_CHECKING:
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.config.schema import ModelConfig
    from tinylm_cli.interop.key_effects import KeyPolicy

SAVED_FOLDER = "name a folder that build --save wrote, or a Hugging Face folder"


def print_left_out(configs: Iterable[LoadedConfig]) -> None:
    """State on standard error which parts of multimodal models the configs leave out."""
    for note in dict.fromkeys(each.left_out for each in configs if each.left_out):
        print_note(note)


def requested_config(
    config: str | None, overrides: Sequence[str], weights: Path | None, ignored: Sequence[str] = ()
) -> LoadedConfig:
    """Load the named config, else the config saved with the weights, else the default.

    States on standard error which parts of a multimodal model are left out.

    Args:
        config: Its name or path.
        overrides: Each ``key=value``.
        weights: The folder of the weights.
        ignored: Keys of a Hugging Face config to leave out.

    Raises:
        InputError: If ``weights`` is not a folder, or contains no config and none is named.
        ConfigError: If the config is invalid.
        UsageError: If an override is not ``key=value``, the weights belong to another config, or the config has no key
            to leave out.
    """
    from tinylm_cli.interop.key_effects import KeyPolicy, require_keys

    loaded = _requested(config, overrides, weights, KeyPolicy(tuple(ignored)))
    require_keys(ignored, [loaded])
    print_left_out([loaded])
    return loaded


def _requested(config: str | None, overrides: Sequence[str], weights: Path | None, policy: KeyPolicy) -> LoadedConfig:
    from tinylm_cli.interop.load import load_config, saved_config

    if weights is None:
        return load_config(DEFAULT_CONFIG if config is None else config, overrides, policy)
    _require_folder(weights, model_arguments(config, overrides, ignored=policy.ignored))
    saved = saved_config(weights)
    if saved is None:
        if config is None:
            message = f"{weights} contains neither config.yaml nor config.json"
            raise InputError(message, help=f"{SAVED_FOLDER}, or name a config")
        return load_config(config, overrides, policy)  # loading compares shapes only
    kept = load_config(saved, policy=policy)
    if config is None and not overrides:
        loaded = kept
    else:
        loaded = load_config(saved if config is None else config, overrides, policy)
        differences = list(_differences(loaded.config, kept.config))
        if differences:
            given = (("the config", config is not None), ("--set of these fields", bool(overrides)))
            removed = " and ".join(name for name, is_given in given if is_given)
            raise UsageError(
                f"the weights in {weights} belong to another model: {'; '.join(differences)}",
                help=f"remove {removed}, or name other weights",
            )
    named = config is not None or loaded.config.name is not None
    return loaded if named else loaded._replace(name=weights.resolve().name)  # instead of "config"


def _require_folder(weights: Path, model: str) -> None:
    """Check that the weights are a folder.

    Args:
        weights: The folder.
        model: The arguments that name its model in another command; empty for standard input.
    """
    if weights.parts[:1] == ("hf:",):
        name = "/".join(weights.parts[1:])
        remedy = f"hf download {shell_quote(name)} --local-dir DIR, then name DIR"
        raise InputError(f"--weights takes a folder, not the repository hf://{name}", help=remedy)
    if not weights.exists():
        command = f"; tinylm build {model} --save {shell_quote(str(weights))} writes one" if model else ""
        raise InputError(f"{weights} does not exist", help=f"{SAVED_FOLDER}{command}")
    if not weights.is_dir():
        remedy = f"name its folder: {weights.parent}" if weights.suffix == ".safetensors" else SAVED_FOLDER
        raise InputError(f"{weights} is a file, but --weights takes a folder", help=remedy)


def _differences(config: ModelConfig, kept: ModelConfig) -> Iterator[str]:
    """Yield each differing field that changes the computation, even if every shape matches, with both values.

    ``max_len`` does not, unless positions are learned: it may be raised for longer sequences.
    """
    from tinylm_cli.config.schema import LABELS, flatten
    from tinylm_cli.config.yaml_scalar import scalar

    learned = "learned" in (config.position.kind, kept.position.kind)
    free = LABELS | {"dropout"} | (set() if learned else {"max_len"})
    saved = flatten(kept.model_dump())
    for name, value in flatten(config.model_dump()).items():
        if name not in free and value != saved[name]:
            yield f"{name} is {scalar(saved[name])} in its config, not {scalar(value)}"
