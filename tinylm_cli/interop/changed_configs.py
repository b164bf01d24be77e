"""Configs that changed since a git revision, with both versions of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from tinylm_cli.config.git_revision import ChangedFile, changed_files
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import ConfigError, InputError
from tinylm_cli.interop.load import load_config, read_config_text

_SUFFIXES = (".yaml", ".yml", ".json")
_CONFIG = re.compile(r"""(?:^|[{,])\s*["']?(?:d_model|model_type)["']?\s*:""", re.MULTILINE)
"""Matches a key that every tinylm or Hugging Face config has, but other YAML and JSON files do not."""


class ChangedConfig(NamedTuple):
    """A changed config."""

    file: ChangedFile  # The file, and whether it was added, changed or removed.
    before: LoadedConfig | None  # The config in the revision; None if the file did not exist or was not a valid config.
    after: LoadedConfig | None  # The config in the working tree; None if the file was removed or is not a valid config.
    error: str = ""  # The first error in the working tree's config, with its place; empty if valid.


def changed_configs(revision: str, paths: Sequence[str] = ()) -> tuple[str, list[ChangedConfig]]:
    """Return the base commit, and every config that changed since.

    A changed YAML or JSON file is a config if either version has a ``d_model`` or ``model_type`` key.

    Args:
        revision: A branch, tag or commit.
        paths: Files and folders to search; empty searches the whole repository.

    Raises:
        InputError: If the revision or a path cannot be read.
    """
    base, files = changed_files(revision, paths)
    configs: list[ChangedConfig] = []
    for file in files:
        if not (file.path.endswith(_SUFFIXES) and any(map(_CONFIG.search, _texts(file)))):
            continue
        before = after = None
        message = ""
        with suppress(ConfigError, InputError):
            before = None if file.before is None else load_config(file.before)
        try:
            after = None if file.status == "removed" else load_config(file.path)
        except ConfigError as error:
            message = error.message
        configs.append(ChangedConfig(file, before, after, message))
    return base, configs


def _texts(file: ChangedFile) -> Iterator[str]:
    """Yield the new and the old text of a file, except texts that cannot be read, such as binary files."""
    for reference in (file.path if file.status != "removed" else None, file.before):
        with suppress(ConfigError, InputError):
            if reference is not None:
                yield read_config_text(reference).source.text
