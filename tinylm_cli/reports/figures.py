"""What figures count."""

from __future__ import annotations

from typing import Literal

Unit = Literal["params", "bytes", "flops"]
