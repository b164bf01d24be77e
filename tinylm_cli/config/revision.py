"""A config as git has it: ``HEAD~1:configs/small.yaml``, or ``:configs/small.yaml`` for what is staged."""

from __future__ import annotations

import os
import re
import subprocess

from tinylm_cli.config.source import MAX_BYTES, Source, source_of
from tinylm_cli.errors import InputError

_QUIET = {"LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
"""Words that we can read, nothing fetched, nothing written, nothing asked."""

_PARTS = re.compile(r"(?P<revision>(:[0-3])?(\{[^}]*\}|[^:])*):(?P<path>.*)", re.DOTALL)


def names_revision(reference: str) -> bool:
    """Return whether ``reference`` is a path in a revision: it has a colon, and no file of that name is there."""
    revision, colon, _ = reference.partition(":")
    return bool(colon) and not revision.startswith(("/", ".", "-", "~")) and not os.path.lexists(reference)


def split_revision(reference: str) -> tuple[str, str]:
    """Return the revision and the path that a reference names; a colon in braces, as of ``@{12:00}``, parts nothing."""
    parts = _PARTS.fullmatch(reference)
    return (parts["revision"], parts["path"]) if parts else (reference, "")


def read_revision(reference: str, config_file: str) -> Source:
    """Read a file as git has it; of a folder, its ``config_file``.

    Paths are from the top of the repository, or from the current folder where they begin with ``./``.

    Raises:
        InputError: If there is no git, no repository, no such revision or no such path, or the file is too large.
        ConfigError: If it is not UTF-8.

    References:
        https://git-scm.com/docs/gitrevisions
    """
    if _git(reference, "-t").strip() == b"tree":
        reference += config_file if reference.endswith((":", "/")) else f"/{config_file}"
    return source_of(reference, _git(reference, "blob"), path=split_revision(reference)[1])


def _git(reference: str, what: str) -> bytes:
    """Return what ``git cat-file`` says of an object, no more of it than shows that it is too large.

    The reference cannot be taken for an option: ``names_revision`` refuses what begins like one.
    """
    command = ["git", "cat-file", what, reference]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **_QUIET},
        )
    except ValueError as error:  # a sign that no argument can hold
        raise InputError(f"not a path: {reference}") from error
    except OSError as error:
        raise InputError(f"no such file: {reference}", help="to read it from git, git must be installed") from error
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        data = process.stdout.read(MAX_BYTES + 1)
        process.stdout.close()
        said = process.stderr.read().decode("utf-8", "replace")
    if process.returncode != 0 and len(data) <= MAX_BYTES:
        raise _refusal(reference, said)
    return data


def _refusal(reference: str, said: str) -> InputError:
    """Return git's own reason, which is its first line."""
    reason = next(iter(said.splitlines()), "it gives no reason").removeprefix("fatal: ")
    help_ = (
        "paths are from the top of the repository; from this folder they begin with ./"
        if "does not exist in" in reason or "exists on disk" in reason
        else "and no file here has that name"
    )
    return InputError(f"cannot read {reference} from git: {reason}", help=help_)
