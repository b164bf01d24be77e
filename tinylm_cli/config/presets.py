"""The built-in configs by name, and reading a config by name, path or stdin."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from tinylm_cli.config.diagnostic_codes import either
from tinylm_cli.config.source import Source, read_source
from tinylm_cli.errors import InputError
from tinylm_cli.wording import Command, Setting, ShellNote, Text

PRESET_ORDER = ("tiny", "small", "medium", "base")

_GALLERY = Command("list", (Setting("gallery", True),))


@cache
def presets_folder() -> Path:
    """Return the folder of built-in configs: inside an installed package, or next to the package in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


@cache
def presets() -> dict[str, Path]:
    """Return the presets by name, the course's four first, in its order."""
    found = {path.stem: path for path in sorted(presets_folder().glob("*.yaml"))}
    return {name: found[name] for name in dict.fromkeys((*PRESET_ORDER, *found)) if name in found}


def gallery_index() -> Path:
    """Return the file that states the family and the year of each published model."""
    return presets_folder() / "gallery" / "index.csv"


@cache
def gallery() -> dict[str, Path]:
    """Return the published models by name, in alphabetical order."""
    found = {path.stem: path for path in gallery_index().parent.glob("*.yaml")}
    return {name: found[name] for name in sorted(found)}


_HUB_NAME = r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w.-]*(?<!\.yaml)(?<!\.yml)(?<!\.json)"
"""Matches the name of a model on the Hugging Face Hub, but not of a config file."""

_URL = r"[a-z]+://"


@cache
def shipped() -> dict[str, Path]:
    """Return every built-in config by name."""
    return {**gallery(), **presets()}


def is_hub_name(name: str) -> bool:
    """Return whether a text may be the name of a model on the Hugging Face Hub: ``org/name``."""
    return re.fullmatch(_HUB_NAME, name) is not None


def gallery_model(hub_name: str) -> str | None:
    """Return the published model whose file links to a name on the Hugging Face Hub; None if there is none."""
    if not is_hub_name(hub_name):
        return None
    link = re.compile(rf"huggingface\.co/{re.escape(hub_name)}(?![\w.-])", re.IGNORECASE)
    return next((name for name, path in gallery().items() if link.search(path.read_text(encoding="utf-8"))), None)


def read_reference(reference: str) -> Source:
    """Read a built-in config by name, a file by path, or standard input (``-``).

    Raises:
        ConfigError: If it is not UTF-8.
        InputError: If nothing can be read under that name.
    """
    preset = shipped().get(reference)
    if preset is None:
        return read_source(_resolve_path(reference))
    return Source(reference, read_source(str(preset)).text)


def _resolve_path(reference: str) -> str:
    """Return a path to read, or raise an error that suggests another name."""
    if not reference:
        raise InputError("the config name is empty", help=Text(ShellNote("is a shell variable unset?")))
    if reference == "-" or "\0" in reference or _exists(reference):
        return reference
    if re.match(_URL, reference):
        raise InputError(f"not a file: {reference}", help="tinylm downloads nothing; download the file, and name it")
    if is_hub_name(reference):
        remedy = "tinylm downloads nothing; name the folder of a model on this machine"
        raise InputError(f"no such file: {reference}", help=remedy)
    if "/" in reference:
        return reference
    from tinylm_cli.config.suggestions import suggest_config

    nearby = [path.name for pattern in ("*.yaml", "*.yml") for path in Path().glob(pattern)]
    meant = suggest_config(reference, [*shipped(), *nearby])
    if reference.endswith((".yaml", ".yml", ".gguf")) and not meant:
        raise InputError(f"no such file: {reference}")
    if meant:
        more = (" ", _GALLERY, " shows all") if gallery().keys() & meant else ()
        remedy = Text(f"did you mean {either(meant)}?", *more)
    else:
        remedy = Text(f"the presets are {', '.join(presets())}; ", _GALLERY, " lists more")
    raise InputError(f"no such preset or file: {reference}", help=remedy)


def _exists(reference: str) -> bool:
    try:
        return Path(reference).exists()
    except OSError:  # a name too long for any file
        return False
