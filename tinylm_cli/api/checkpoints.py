"""Verification of checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tinylm_cli.api.arguments import checked
from tinylm_cli.api.model import verified
from tinylm_cli.api.references import Changes, read_changes
from tinylm_cli.render.report import Report
from tinylm_cli.reports.verify import VerifyReport


@checked
def verify(
    folder: str | os.PathLike[str],
    *,
    set: Changes = (),  # noqa: A002 - the option's name
    ignore: str | Iterable[str] = (),
    partial: bool = False,
) -> Report[VerifyReport]:
    """Verify that a checkpoint contains the tensors that its config implies; see ``tinylm verify``.

    Only the headers of the files are read; torch is not imported. Unknown keys of a config.json are errors only if they
    may change tensors.

    Args:
        folder: A folder with a config and safetensors files, of Hugging Face or of tinylm, a GGUF file, or
            ``hf://org/name``.
        set: Fields to change, as ``--set`` does.
        ignore: Keys of a Hugging Face config to ignore, as ``--ignore`` does.
        partial: Whether to allow absent files; their tensors are compared by name only.

    Raises:
        ConfigError: If the config or a change is invalid.
        InputError: If the path is not a folder, or the folder has no config.
        UsageError: If a change is not ``key=value``, or the config has no key to ignore.
        WeightsError: If there are no safetensors files, or their index cannot be read.
    """
    ignored = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    return verified(os.fspath(folder), read_changes(set), ignored, partial=partial)
