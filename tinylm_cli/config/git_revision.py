"""Configs of a git revision, such as ``HEAD~1:configs/small.yaml``, or ``:configs/small.yaml`` from the index."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

from tinylm_cli.config.source import MAX_BYTES, MAX_JSON_BYTES, Source, source_of
from tinylm_cli.errors import InputError
from tinylm_cli.wording import Setting, Text

_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",  # the only way to forbid a lazy fetch before git 2.45
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
}
"""Environment of git: English messages, no fetch, no lock, no prompt."""

_SAFE_CONFIG = {"core.fsmonitor": "false", "core.hooksPath": os.devnull, "core.pager": "", "diff.external": ""}
"""Settings in place of a repository's, which may name programs to run."""

_FILTER_COMMAND = re.compile(r"filter\..*\.(clean|smudge|process|required)", re.DOTALL | re.IGNORECASE)

_OBJECT = re.compile(r"(?P<name>[0-9a-f]{40,64}) (?P<kind>blob|tree) [0-9]+\n")
_PARTS = re.compile(r"(?P<revision>(:[0-3])?(\{[^}]*\}|[^:])*):(?P<path>.*)", re.DOTALL)


def names_revision(reference: str) -> bool:
    """Return whether ``reference`` is a path in a revision: it has a colon, is no URL, and no file has that name."""
    revision, colon, path = reference.partition(":")
    if path.startswith("//") or revision.startswith(("/", ".", "-", "~")):
        return False
    return bool(colon) and not os.path.lexists(reference)


def split_revision(reference: str) -> tuple[str, str]:
    """Split a reference into revision and path; a colon in braces, as in ``@{12:00}``, belongs to the revision."""
    parts = _PARTS.fullmatch(reference)
    return (parts["revision"], parts["path"]) if parts else (reference, "")


def read_revision(reference: str, config_file: str) -> Source:
    """Read a file of a revision. Symbolic links are followed; a folder stands for the ``config_file`` in it.

    Paths are relative to the top of the repository, or to the current folder if they start with ``./``.

    Raises:
        InputError: If git, the repository, the revision or the path does not exist, or the file is too large.
        ConfigError: If it is not UTF-8.

    References:
        https://git-scm.com/docs/gitrevisions
    """
    try:
        os.fsencode(reference)
    except UnicodeEncodeError as error:
        raise InputError(f"not a path: {reference}") from error
    if shutil.which("git") is None:
        raise InputError(f"no such file: {reference}", help="to read it from git, git must be installed")
    kind, name = _object(reference)
    if kind == "tree":
        folder, slash = reference, "" if reference.endswith((":", "/")) else "/"
        reference = f"{folder}{slash}{config_file}"
        _, name = _object(reference, folder)
    return source_of(
        reference, _git("cat-file", "blob", name, max_bytes=MAX_JSON_BYTES).data, path=split_revision(reference)[1]
    )


MAX_LIST_BYTES = 16 * 1024**2
"""Largest list of file names."""

SIMILARITY = "--find-renames=80%"
"""At git's default similarity of 50%, unrelated short configs would count as renamed."""


Status = Literal["added", "removed", "modified", "renamed"]


class ChangedFile(NamedTuple):
    """A file that differs between a revision and the working tree.

    Attributes:
        status: Its change since the revision.
        path: Path from the current folder; of a removed file, the old path.
        before: Where it was in the revision, ``SHA:path``; None if it is added.
    """

    status: Status
    path: str
    before: str | None


def changed_files(revision: str, paths: Sequence[str] = ()) -> tuple[str, list[ChangedFile]]:
    """Return the commit to compare with, and the files that have changed since, in git's order; untracked files last.

    The commit is the merge base of ``revision`` and ``HEAD``, as in a pull request: later commits on the
    branch of ``revision`` do not count as changes. The files are read from the working tree;
    an untracked file that git does not ignore is an added one.

    Args:
        revision: A branch, tag or commit.
        paths: Files and folders, from the current folder; the entire repository when empty.

    Raises:
        InputError: If git, the repository or the revision does not exist, or a path has no file now or then.
    """
    if shutil.which("git") is None:
        raise InputError(f"cannot read {revision} from git", help="git must be installed")
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if not commit.succeeded:
        if not _git("rev-parse", "--show-toplevel").succeeded:
            help_ = "run tinylm in one, or name two models to compare"
            raise InputError("this folder is not in a git repository", help=help_)
        branch = _remote_branch(revision)
        meant = Text("did you mean ", Setting("changed", branch), "?") if branch else _unshallow()
        raise InputError(f"git has no revision {revision}", help=meant or "git branch --all lists branches")
    sha = commit.data.decode("ascii").strip()
    merge_base = _git("merge-base", sha, "HEAD")
    base = merge_base.data.decode("ascii").strip() if merge_base.succeeded else sha
    top = _text(_git("rev-parse", "--show-toplevel")).rstrip("\n")
    for path in paths:
        if not os.path.lexists(path) and not _git("cat-file", "-e", f"{base}:./{path}").succeeded:
            raise InputError(f"no such file or folder: {path}", help=f"it did not exist in {revision} either")
    where = [f":(literal){path}" for path in paths] or [":(top)"]
    options = ("--name-status", "-z", SIMILARITY, "--no-ext-diff", "--no-textconv", "--ignore-submodules=all")
    listed = _text(_git("diff", *options, base, "--", *where, settings=_without_filters(), max_bytes=MAX_LIST_BYTES))
    untracked = ("ls-files", "--others", "--exclude-standard", "--full-name", "-z", "--", *where)
    added = "".join(f"A\0{path}\0" for path in _text(_git(*untracked, max_bytes=MAX_LIST_BYTES)).split("\0") if path)
    return base, list(_changes(listed + added, base, top))


def _text(output: _Output) -> str:
    """Decode file names.

    Raises:
        InputError: If the list is truncated.
    """
    if len(output.data) > MAX_LIST_BYTES:
        raise InputError("too many files have changed", help="name the folder of the configs")
    return output.data.decode("utf-8", "surrogateescape")


def _changes(listed: str, base: str, top: str) -> Iterator[ChangedFile]:
    """Yield the files of ``git diff --name-status -z``: a status, a path, and for a renamed file its new path."""
    words = iter(listed.split("\0"))
    for status in words:
        if not status:
            return
        old = next(words)
        new = next(words) if status[0] in "RC" else old
        here = os.path.relpath(os.path.join(top, new))  # noqa: PTH118 - pathlib has no relpath
        before = None if status[0] in "AC" else f"{base}:{old}"
        yield ChangedFile(_STATUS.get(status[0], "modified"), here, before)


_STATUS: dict[str, Status] = {"A": "added", "C": "added", "D": "removed", "R": "renamed"}
"""Maps git's letter for a change to a word; every other letter is a modification."""


class _Output(NamedTuple):
    """The output of git, and its error message if it failed."""

    succeeded: bool
    data: bytes
    message: str


def _object(reference: str, folder: str = "") -> tuple[str, str]:
    """Return the kind and the name of a git object, with symbolic links resolved.

    Args:
        reference: Revision and path.
        folder: The requested folder, if ``reference`` is the config in it.
    """
    revision, path = split_revision(reference)
    if not revision.strip(":0123"):  # staged, where git follows no links
        where = f":(literal){path}" if path.startswith("./") else f":(top,literal){path}"
        if _git("ls-files", "--stage", "--", where).data.startswith(b"120000 "):
            raise InputError(f"{reference} is a symbolic link", help="name its target")
    query = "" if "\n" in reference else reference  # each input line is one query
    found = _git("cat-file", "--batch-check", "--follow-symlinks", query=query).data.decode("utf-8", "replace")
    match = _OBJECT.match(found)
    if match:
        return match["kind"], match["name"]
    if found.startswith(("symlink ", "dangling ", "loop ", "notdir ")):
        raise InputError(f"{reference} is a broken symbolic link", help="name a file in it")
    raise _git_error(reference, folder, _git("cat-file", "-t", reference).message)


def _without_filters() -> dict[str, str]:
    """Return settings that disable each clean filter: git runs them on a file to compare it with a revision."""
    listed = _git("config", "--null", "--name-only", "--get-regexp", r"^filter\.").data.decode(
        "utf-8", "surrogateescape"
    )
    if len(listed) >= MAX_BYTES:
        raise InputError("git's config has too many filters")
    names = [name for name in listed.split("\0") if _FILTER_COMMAND.fullmatch(name)]
    return {name: "false" if name.lower().endswith(".required") else "" for name in names}


def _git(
    *words: str, query: str = "", settings: Mapping[str, str] | None = None, max_bytes: int = MAX_BYTES
) -> _Output:
    """Run git and return its output, truncated just above a size limit.

    It runs no program that the repository's config names. No argument can be parsed as an option, because
    ``names_revision`` rejects a leading dash.

    Args:
        words: The arguments of git.
        query: A line of standard input.
        settings: Further config, by key.
        max_bytes: The limit; default: the limit of a config file.

    References:
        https://git-scm.com/docs/git-config#ENVIRONMENT
    """
    environment = {**os.environ, **_ENVIRONMENT}
    count = environment.get("GIT_CONFIG_COUNT", "")  # a CI job may set safe.directory this way
    first = int(count) if count.isdecimal() else 0
    for number, (key, value) in enumerate({**_SAFE_CONFIG, **(settings or {})}.items(), first):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        environment["GIT_CONFIG_COUNT"] = str(number + 1)
    try:
        process = subprocess.Popen(
            ["git", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
    except OSError as error:
        raise InputError(f"cannot run git: {error.strerror}") from error
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with suppress(BrokenPipeError):  # outside a repository, git exits without reading its input
            process.stdin.write(os.fsencode(f"{query}\n") if query else b"")
        with suppress(BrokenPipeError):
            process.stdin.close()
        data = process.stdout.read(max_bytes + 1)
        process.stdout.close()
        message = process.stderr.read().decode("utf-8", "replace")
    return _Output(process.returncode == 0, data, message)


def _git_error(reference: str, folder: str, message: str) -> InputError:
    """Return git's error message with a suggestion."""
    reason = next(iter(message.splitlines()), "git gives no reason").removeprefix("fatal: ")
    revision, path = split_revision(reference)
    if folder:
        return InputError(f"{folder} is a folder without a config.json", help="name a file in it")
    remedy = "no file has this name either"
    if reason.startswith("path "):
        remedy = _suggest_path(revision, path)
    elif "not a git repository" not in reason and revision:
        branch = _remote_branch(revision)
        remedy = f"did you mean {branch}:{path}?" if branch else _unshallow() or remedy
    return InputError(f"cannot read {reference} from git: {reason}", help=remedy)


def _suggest_path(revision: str, path: str) -> str:
    top = Path(_text(_git("rev-parse", "--show-toplevel")).rstrip("\n"))
    if _git("cat-file", "-e", f"{revision}:./{path}").succeeded:
        return f"paths are from the top of the repository: did you mean {revision}:./{path}?"
    inner = next((str(each) for each in Path(path).parents if each.name and (top / each / ".git").exists()), "")
    if inner:
        return f"{inner} is a separate repository: name a revision of it from there"
    if (top / path).exists():
        return f"it was added or renamed later: see git log --follow -- {path}"
    return "paths are from the top of the repository; from this folder they begin with ./"


def _remote_branch(revision: str) -> str:
    """Return the branch of the remote repository that has the name of a missing revision, as after a CI checkout."""
    found = _git("rev-parse", "--verify", "--quiet", f"refs/remotes/origin/{revision}").succeeded
    return f"origin/{revision}" if found else ""


def _unshallow() -> str:
    """Return how to fetch missing revisions if the clone is shallow: the checkout of a CI job has one commit."""
    if _git("rev-parse", "--is-shallow-repository").data.strip() == b"true":
        return "this clone is shallow: fetch its history with git fetch --unshallow, or fetch-depth: 0 in CI"
    return ""
