"""Configs that have changed since a git revision, each before and after."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tinylm_cli.config.git_revision import ChangedFile, changed_files
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import ConfigError, Diagnostic, InputError
from tinylm_cli.interop.load import load_config, read_config_text

_SUFFIXES = (".yaml", ".yml", ".json")
_CONFIG = re.compile(r"""(?:^|[{,])\s*["']?(?:d_model|model_type)["']?\s*:""", re.MULTILINE)
"""A key that every config of tinylm or of Hugging Face has, and other YAML and JSON files do not."""


class ChangedConfig(NamedTuple):
    """A config that has changed.

    Attributes:
        file: The file, and what happened to it.
        before: The config in the revision; None if the file was not there, or was no valid config.
        after: The config now; None if the file is removed.
    """

    file: ChangedFile
    before: LoadedConfig | None
    after: LoadedConfig | None


def changed_configs(revision: str, paths: Sequence[str] = ()) -> tuple[str, list[ChangedConfig]]:
    """Return the commit that is compared with, and every config that has changed since.

    Among the changed files, configs are the YAML and JSON files with a ``d_model`` or a ``model_type`` now or then.

    Args:
        revision: A branch, tag or commit.
        paths: Files and folders to look in; the whole repository when empty.

    Raises:
        ConfigError: If a config is wrong now; holds every mistake of all of them.
        InputError: If the revision or a path cannot be read.
    """
    base, files = changed_files(revision, paths)
    found: list[ChangedConfig] = []
    mistakes: dict[Diagnostic, None] = {}
    for file in files:
        if file.path.endswith(_SUFFIXES) and _is_config(file):
            try:
                after = None if file.status == "removed" else load_config(file.path)
            except ConfigError as error:
                mistakes |= dict.fromkeys(error.diagnostics)
            else:
                found.append(ChangedConfig(file, _before(file), after))
    if mistakes:
        raise ConfigError(tuple(mistakes))
    return base, found


def _is_config(file: ChangedFile) -> bool:
    return any(_CONFIG.search(text) for text in _texts(file))


def _texts(file: ChangedFile) -> Iterable[str]:
    """Yield the text of a file now and then; nothing for one that cannot be read, such as a binary file."""
    for reference in (file.path if file.status != "removed" else None, file.before):
        if reference is not None:
            try:
                yield read_config_text(reference).source.text
            except (ConfigError, InputError):
                continue


def _before(file: ChangedFile) -> LoadedConfig | None:
    if file.before is None:
        return None
    try:
        return load_config(file.before)
    except (ConfigError, InputError):
        return None
