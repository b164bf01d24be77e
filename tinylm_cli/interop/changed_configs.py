"""Configs that changed since a git revision, with both versions of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from tinylm_cli.config.diagnostic_codes import quote
from tinylm_cli.config.git_revision import ChangedFile, changed_files
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import ConfigError, InputError, UsageError
from tinylm_cli.interop.key_effects import KeyPolicy
from tinylm_cli.interop.load import READ_ALL, load_config, read_config_text
from tinylm_cli.interop.variants import MAX_COMPARED

_SUFFIXES = (".yaml", ".yml", ".json")
_CONFIG = re.compile(r"""(?:^|[{,])\s*["']?(?:d_model|model_type)["']?\s*:""", re.MULTILINE)
"""Matches a key that every tinylm or Hugging Face config has, but other YAML and JSON files do not."""


MAX_CHANGED_FILES = 300
"""Maximum number of changed YAML and JSON files that are read, of which ``MAX_COMPARED`` may be configs."""


class ConfigVersions(NamedTuple):
    """A changed config."""

    file: ChangedFile  # The file, and whether it was added, changed or removed.
    before: LoadedConfig | None  # The config in the revision; None if the file did not exist or was not a valid config.
    after: LoadedConfig | None  # The config in the working tree; None if the file was removed or is not a valid config.
    error: str = ""  # The first error in the working tree's config, with its place; empty if valid.


def changed_configs(
    revision: str, paths: Sequence[str] = (), policy: KeyPolicy = READ_ALL
) -> tuple[str, list[ConfigVersions]]:
    """Return the base commit, and every config that changed since.

    A changed YAML or JSON file is a config if either version has a ``d_model`` or ``model_type`` key.

    Args:
        revision: A branch, tag or commit.
        paths: Files and folders to search; empty searches the whole repository.
        policy: Which keys of Hugging Face configs to leave out.

    Raises:
        InputError: If the revision or a path cannot be read.
        UsageError: If too many files or configs changed.
    """
    base, files = changed_files(revision, paths)
    candidates = [file for file in files if file.path.endswith(_SUFFIXES)]
    _require_few(len(candidates), MAX_CHANGED_FILES, "YAML and JSON files", revision)
    found = [file for file in candidates if any(map(_CONFIG.search, _texts(file)))]
    _require_few(len(found), MAX_COMPARED, "configs", revision)
    configs: list[ConfigVersions] = []
    for file in found:
        before = after = None
        message = ""
        with suppress(ConfigError, InputError):
            before = None if file.before is None else load_config(file.before, policy=policy)
        try:
            after = None if file.status == "removed" else load_config(file.path, policy=policy)
        except ConfigError as error:
            message = error.message
        configs.append(ConfigVersions(file, before, after, message))
    return base, configs


def _require_few(number: int, most: int, what: str, revision: str) -> None:
    if number > most:
        message = f"{number:,} {what} changed since {quote(revision)}; at most {most} are compared"
        raise UsageError(message, help="name some of the files or folders after the revision")


def _texts(file: ChangedFile) -> Iterator[str]:
    """Yield the new and the old text of a file, except texts that cannot be read, such as binary files."""
    for reference in (file.path if file.status != "removed" else None, file.before):
        with suppress(ConfigError, InputError):
            if reference is not None:
                yield read_config_text(reference).source.text
