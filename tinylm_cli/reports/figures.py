"""Units of figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tinylm_cli.config.amounts import AmountKind

Unit = Literal["params", "bytes", "flops"]

AMOUNT_KINDS: dict[Unit, AmountKind] = {"params": "count", "bytes": "size", "flops": "flops"}
"""Units of figures, as text."""
