"""What else the machine was busy with: on a crowded one, figures say little, those of several threads least."""

from __future__ import annotations

import os
from pathlib import Path

STAT = Path("/proc/stat")
CROWDED = 0.1
"""Share of the processors' time that other work may take before a reader should be told."""

_IDLE = (3, 4)  # idle, iowait
_COUNTED = 8  # up to steal; what follows is counted in the first two already


class Bystanders:
    """Counts the processor time of everything but this process and its children, from its creation on."""

    def __init__(self) -> None:
        self._began = _seconds()

    def share(self) -> float | None:
        """Return the share of all processors' time, 0..1, that others used; None where the system does not tell."""
        now = _seconds()
        if self._began is None or now is None:
            return None
        total, busy, own = (after - before for after, before in zip(now, self._began, strict=True))
        return min(max((busy - own) / total, 0.0), 1.0) if total > 0 else None


def _seconds() -> tuple[float, float, float] | None:
    """Return the seconds that have passed on all processors, those that were busy, and those used here."""
    if not STAT.is_file():
        return None
    ticks = [int(word) for word in STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1 : 1 + _COUNTED]]
    total = sum(ticks)
    idle = sum(ticks[index] for index in _IDLE)
    hertz = os.sysconf("SC_CLK_TCK")
    return total / hertz, (total - idle) / hertz, sum(os.times()[:4])
