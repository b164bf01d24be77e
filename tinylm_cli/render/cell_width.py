"""How many cells of a terminal text takes: rich's measure, which is imported only where a character may be wide."""

from __future__ import annotations

from tinylm_cli.render.sanitize import OUR_SIGNS

_WITHOUT_OURS = str.maketrans("", "", OUR_SIGNS)


def cell_len(text: str) -> int:
    """Return the cells that ``text`` takes; ASCII and our own signs take one each."""
    if text.isascii() or text.translate(_WITHOUT_OURS).isascii():
        return len(text)
    from rich.cells import cell_len as measured

    return measured(text)


def set_cell_size(text: str, total: int) -> str:
    """Return ``text`` cut or padded to ``total`` cells; a wide character that does not fit leaves a space."""
    from rich.cells import set_cell_size as resized

    return resized(text, total)


def chop(text: str, width: int) -> list[str]:
    """Return ``text`` in parts of at most ``width`` cells, broken anywhere."""
    from rich.cells import chop_cells

    return chop_cells(text, width)
