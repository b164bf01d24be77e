"""The GGUF files of a model: one, or the shards of a split one, with their headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tinylm_cli.errors import InputError
from tinylm_cli.gguf_header import GgufHeader, GgufTensor, Skipped, Value, read_gguf_header
from tinylm_cli.quantities import counted
from tinylm_cli.regular_file import open_regular
from tinylm_cli.reports.verify import StoredStatus
from tinylm_cli.safetensors_header import HeaderError, LfsPointerError

MAX_SHARDS = 1000
"""Maximum number of files of a model."""
MAX_REASON = 300
"""Maximum characters of the reason in a message."""

_SHARD_NAME = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf")


class Shard(NamedTuple):
    """A file of a model."""

    path: Path
    status: StoredStatus
    reason: str = ""  # Why its header is not read; empty if it is.
    header: GgufHeader | None = None


class GgufModel(NamedTuple):
    """The files of a model."""

    path: str  # The file, as given.
    shards: tuple[Shard, ...]  # In order; a model in one file has one.

    @property
    def headers(self) -> list[GgufHeader]:
        """The headers that are read."""
        return [shard.header for shard in self.shards if shard.header is not None]

    @property
    def metadata(self) -> Mapping[str, Value | Skipped]:
        """The metadata of the first file; other shards state only their number."""
        return self.headers[0].metadata if self.headers else {}

    @property
    def tensors(self) -> dict[str, GgufTensor]:
        """The tensors of all files."""
        return {name: tensor for header in self.headers for name, tensor in header.tensors.items()}


def read_model(reference: str) -> GgufModel:
    """Read the headers of a model's files; a file may be absent or damaged.

    Raises:
        InputError: If the names of the other shards are not known.
    """
    path = Path(reference)
    named = _SHARD_NAME.fullmatch(path.name)
    if named is None:
        shard = _read_shard(path)
        _require_single(shard)
        return GgufModel(reference, (shard,))
    count = int(named["count"])
    if not 1 <= int(named["number"]) <= count <= MAX_SHARDS:
        raise InputError(f"{reference} is not one of 1 to {MAX_SHARDS:,} files by its name")
    names = (f"{named['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1))
    return GgufModel(reference, tuple(_read_shard(path.with_name(name)) for name in names))


def require_complete(model: GgufModel) -> None:
    """Require that every file is there and has a header.

    Raises:
        InputError: If not.
    """
    damaged = next((shard for shard in model.shards if shard.status == "unreadable"), None)
    if damaged is not None:
        raise InputError(f"cannot read {damaged.path}: {damaged.reason}", help="copy or download the file again")
    absent = [shard for shard in model.shards if shard.status == "absent"]
    if absent and len(model.shards) == 1:
        raise InputError(f"cannot read {model.path}: {absent[0].reason}")
    if absent:
        names = ", ".join(shard.path.name for shard in absent[:3]) + (", …" if len(absent) > 3 else "")
        are = "is" if len(absent) == 1 else "are"
        message = f"{len(absent)} of {counted(len(model.shards), 'file')} of {model.path} {are} missing: {names}"
        raise InputError(message, help="the header of each file is needed; download them")


def _require_single(shard: Shard) -> None:
    from gguf.constants import Keys

    count = None if shard.header is None else shard.header.metadata.get(Keys.Split.LLM_KV_SPLIT_COUNT)
    if isinstance(count, int) and count > 1:
        message = f"{shard.path} is one of {count:,} files by its header, but not by its name"
        raise InputError(message, help=f"name it as split files are named: model-00001-of-{count:05}.gguf")


def _read_shard(path: Path) -> Shard:
    try:
        with open_regular(path) as file:
            return Shard(path, "present", header=read_gguf_header(file))
    except FileNotFoundError:
        return Shard(path, "absent", "it does not exist")
    except LfsPointerError as error:
        return Shard(path, "absent", str(error))
    except HeaderError as error:
        return Shard(path, "unreadable", f"the file is damaged or not a GGUF file: {error}"[:MAX_REASON])
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Shard(path, "unreadable", reason[:MAX_REASON])
