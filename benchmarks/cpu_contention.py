"""CPU time used by other processes, which makes measurements unreliable, especially multithreaded ones."""

from __future__ import annotations

import os
from pathlib import Path

STAT = Path("/proc/stat")
MAX_OTHERS_SHARE = 0.1
"""A warning is printed if other processes use at least this share of CPU time."""

_IDLE = (3, 4)  # idle, iowait
_COUNTED = 8  # fields up to steal; guest times are included in the first two


class CpuContention:
    """Measures the processor time of all other processes since its creation."""

    def __init__(self) -> None:
        self._began = _seconds()

    def others_share(self) -> float | None:
        """Return the share of all processors' time that other processes used, 0 to 1; None if unknown."""
        now = _seconds()
        if self._began is None or now is None:
            return None
        total, busy, own = (after - before for after, before in zip(now, self._began, strict=True))
        return min(max((busy - own) / total, 0.0), 1.0) if total > 0 else None


def _seconds() -> tuple[float, float, float] | None:
    """Return total and busy processor seconds of the machine, and the seconds this process and its children used."""
    if not STAT.is_file():
        return None
    ticks = [int(word) for word in STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1 : 1 + _COUNTED]]
    total = sum(ticks)
    idle = sum(ticks[index] for index in _IDLE)
    hertz = os.sysconf("SC_CLK_TCK")
    return total / hertz, (total - idle) / hertz, sum(os.times()[:4])
