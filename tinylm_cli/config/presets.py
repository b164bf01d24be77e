"""The configs that ship with tinylm, addressed by name."""

from __future__ import annotations

from functools import cache
from pathlib import Path

PRESET_ORDER = ("tiny", "small", "medium", "base")


@cache
def presets_folder() -> Path:
    """Return the folder of shipped configs: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


@cache
def presets() -> dict[str, Path]:
    """Return the presets by name, the course's four first and in its order."""
    found = {path.stem: path for path in presets_folder().glob("*.yaml")}
    known = [name for name in PRESET_ORDER if name in found]
    return {name: found[name] for name in [*known, *sorted(found.keys() - known)]}


@cache
def gallery() -> dict[str, Path]:
    """Return published models by name, in the order of the alphabet."""
    found = {path.stem: path for path in (presets_folder() / "gallery").glob("*.yaml")}
    return {name: found[name] for name in sorted(found)}


@cache
def shipped() -> dict[str, Path]:
    """Return every config that ships, by the name that ``--config`` takes."""
    return {**gallery(), **presets()}
