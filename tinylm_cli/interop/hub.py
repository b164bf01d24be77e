"""Repositories of the Hugging Face Hub, ``hf://org/name``: their configs and the beginnings of their files.

A repository is read only if a user names it. The library huggingface_hub finds the files, the user's access token and
the endpoint (``HF_ENDPOINT``); nothing is stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import NamedTuple

from tinylm_cli.config.source import MAX_JSON_BYTES, Source, source_of
from tinylm_cli.errors import InputError, UnableError
from tinylm_cli.interop import CONFIG_FILE

SCHEME = "hf://"

TIMEOUT_SECONDS = 30.0
"""Maximum time without any answer."""

_REFERENCE = re.compile(
    r"hf://(?P<name>\w[\w.-]{0,95}(/\w[\w.-]{0,95})?)(@(?P<revision>\w[\w./-]{0,199}))?/?", re.ASCII
)
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


class HubPath(PurePosixPath):
    """The path of a repository or of a file in it; its text begins with ``hf://``."""

    def __str__(self) -> str:
        return f"{SCHEME}{super().__str__()}"


class Repository(NamedTuple):
    """A repository at a revision."""

    name: str  # ``org/name``, or the name alone of a few old repositories.
    revision: str | None  # A branch, a tag or a commit; None for the default branch.

    @property
    def path(self) -> HubPath:
        """Its path, with the revision if one is given."""
        return HubPath(self.name if self.revision is None else f"{self.name}@{self.revision}")


class Beginning(NamedTuple):
    """The first bytes of a file."""

    data: bytes
    file_bytes: int | None  # The size of the whole file; None if the server does not state it.


def find_repository(reference: str) -> Repository:
    """Return the repository that ``hf://org/name`` or ``hf://org/name@revision`` names, without a look at the Hub.

    Raises:
        InputError: If it is not of this form.
        UnableError: If huggingface_hub is not installed.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise InputError(f"{reference} names no repository", help="write hf://org/name, or hf://org/name@revision")
    if find_spec("huggingface_hub") is None:
        raise UnableError(
            "repositories of the Hugging Face Hub need the package huggingface_hub",
            help="pip install 'tinylm-cli[hub]'",
        )
    return Repository(found["name"], found["revision"])


def read_hub_config(repository: Repository) -> Source:
    """Read the config.json of a repository.

    Raises:
        ConfigError: If it is not UTF-8.
        InputError: If it cannot be read, or is larger than 8 MiB.
    """
    try:
        data = read_beginning(repository, CONFIG_FILE, MAX_JSON_BYTES + 1).data
    except FileNotFoundError as error:
        raise InputError(str(error), help="name the repository of a model of transformers") from error
    path = HubPath(repository.name) / CONFIG_FILE
    return source_of(str(repository.path / CONFIG_FILE), data, path=str(path))


def read_beginning(repository: Repository, file: str, n_bytes: int) -> Beginning:
    """Read at most the first ``n_bytes`` of a file, whatever the server sends.

    Raises:
        FileNotFoundError: If the repository has no such file.
        InputError: If the repository cannot be read.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # documented, but not listed as exported
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    headers = {
        **build_hf_headers(library_name="tinylm"),
        "Range": f"bytes=0-{n_bytes - 1}",
        "Accept-Encoding": "identity",
    }
    data = bytearray()
    with _hub_errors(repository, file):
        url = hf_hub_url(repository.name, file, revision=repository.revision)
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_SECONDS) as answer:
            hf_raise_for_status(answer)
            for part in answer.iter_bytes():
                data += part
                if len(data) >= n_bytes:
                    break
            total = _TOTAL.fullmatch(answer.headers.get("Content-Range", ""))
            size = total[1] if total else answer.headers.get("Content-Length", "")
    return Beginning(bytes(data[:n_bytes]), int(size) if size.isdecimal() else None)


@contextmanager
def _hub_errors(repository: Repository, file: str) -> Iterator[None]:
    """Convert the errors of huggingface_hub and of its HTTP library."""
    from huggingface_hub import errors

    try:
        yield
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(f"{repository.path} has no {file}") from error
    except errors.GatedRepoError as error:
        message = f"access to {repository.path} is restricted"
        raise InputError(message, help="accept the terms on its page, then log in: hf auth login") from error
    except errors.RevisionNotFoundError as error:
        message = f"{SCHEME}{repository.name} has no revision {repository.revision}"
        raise InputError(message, help="name a branch, a tag or a commit") from error
    except errors.RepositoryNotFoundError as error:
        message = f"{SCHEME}{repository.name} does not exist, or is private"
        raise InputError(message, help="check its name; for a private repository, log in: hf auth login") from error
    except errors.HFValidationError as error:
        raise InputError(f"{repository.path} names no repository: {error}", help="check its name") from error
    except errors.OfflineModeIsEnabled as error:
        message = f"{repository.path} is on the Hugging Face Hub, but HF_HUB_OFFLINE is set"
        raise InputError(message, help="unset HF_HUB_OFFLINE, or name a folder") from error
    except errors.HTTPError as error:  # type: ignore[attr-defined]  # the base class of its HTTP library
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"cannot read {repository.path}: {reason}", help="check the network connection") from error
