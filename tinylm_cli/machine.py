"""Memory limits of this machine: RAM, control groups (containers) and resource limits.

The functions take a root path, so that tests can provide their own ``proc`` and ``sys`` folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tinylm_cli.errors import CapacityError
from tinylm_cli.quantities import binary_bytes

HOST_DEVICES = frozenset({"cpu", "mps"})
"""Device types whose tensors are in host memory."""

_UNLIMITED = 1 << 60
"""Limits from this value on mean "unlimited": control groups v1 report a number just below 2⁶³."""


class MemoryLimit(NamedTuple):
    """A limit on the memory that this process may still allocate.

    Attributes:
        name: Its source, e.g. ``RAM`` or ``container limit``.
        available_bytes: Bytes still available, >= 0.
    """

    name: str
    available_bytes: int


def memory_limits(root: Path = Path("/")) -> tuple[MemoryLimit, ...]:
    """Return every known limit on the memory that this process may still allocate.

    On Linux: RAM available without swapping; the control groups (v2 and v1) of this process and their parents, with
    reclaimable file cache counted as available; the address-space and data-size resource limits. Elsewhere: the
    installed RAM, if the system reports it.

    Args:
        root: The folder that contains ``proc`` and ``sys``.

    Returns:
        The limits, in no particular order; empty if none is known.
    """
    limits = [*_control_groups(root), *_resource_limits(root)]
    available_kib = _fields(root / "proc/meminfo").get("MemAvailable")
    if available_kib is not None:
        limits.append(MemoryLimit("RAM", available_kib * 1024))
    return tuple(limits or _installed_ram())


def require_memory(needed_bytes: int, work: str, *, device: str = "cpu", root: Path = Path("/")) -> None:
    """Raise before an allocation that exceeds the available memory.

    Args:
        needed_bytes: Estimated allocation.
        work: The work, as the subject of the message: ``building 826,112 parameters in float32``.
        device: Device type; only devices that use host memory are checked.
        root: As for :func:`memory_limits`.

    Raises:
        CapacityError: If the estimate exceeds the tightest limit; names both.
    """
    if device not in HOST_DEVICES:
        return
    tightest = min(memory_limits(root), key=lambda limit: limit.available_bytes, default=None)
    if tightest is not None and needed_bytes > tightest.available_bytes:
        raise CapacityError(
            f"{work} needs {binary_bytes(needed_bytes)}, but only {binary_bytes(tightest.available_bytes)} is available"
            f" ({tightest.name})",
            help="choose a smaller model or dtype, or free some memory",
        )


def _control_groups(root: Path) -> Iterator[MemoryLimit]:
    """Yield the memory available in the control group of this process and in each of its ancestors.

    In a container, the mount often starts at its own group, while the kernel reports the host's path. Path components
    that do not exist are therefore skipped.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, files, cache = root / "sys/fs/cgroup", ("memory.max", "memory.current"), ""
        elif "memory" in controllers.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes")
            mount, cache = root / "sys/fs/cgroup/memory", "total_"
        else:
            continue
        group = mount / path.strip("/")
        while True:
            limit, used = (_number(group / name) for name in files)
            if limit is not None and used is not None and limit < _UNLIMITED:
                stat = _fields(group / "memory.stat")
                reclaimable = stat.get(f"{cache}active_file", 0) + stat.get(f"{cache}inactive_file", 0)
                yield MemoryLimit("container limit", max(limit - used + reclaimable, 0))
            if group == mount:
                break
            group = group.parent


def _resource_limits(root: Path) -> Iterator[MemoryLimit]:
    """Yield the memory available under each soft resource limit, by the kernel's accounting."""
    status = _fields(root / "proc/self/status")
    titles = {"Max address space": ("RLIMIT_AS", "VmSize"), "Max data size": ("RLIMIT_DATA", "VmData")}
    for line in _text(root / "proc/self/limits").splitlines():
        for title, (name, used) in titles.items():
            soft = line.removeprefix(title).split()[0] if line.startswith(title) else ""
            if used in status and soft.isdigit():
                yield MemoryLimit(name, max(int(soft) - status[used] * 1024, 0))


def _installed_ram() -> Iterator[MemoryLimit]:
    try:
        yield MemoryLimit("installed RAM", os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _fields(path: Path) -> dict[str, int]:
    """Read ``name: 12 kB`` or ``name 12`` lines; lines without a number are skipped."""
    lines = (line.split() for line in _text(path).splitlines())
    return {words[0].removesuffix(":"): int(words[1]) for words in lines if len(words) >= 2 and words[1].isdigit()}
