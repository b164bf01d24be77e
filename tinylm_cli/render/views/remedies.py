"""What to change where memory is short."""

from __future__ import annotations

from tinylm_cli.quantities import binary_bytes
from tinylm_cli.render.blocks import Block, Cell, Column, Note, Row, Table
from tinylm_cli.render.units import integer, unseen
from tinylm_cli.reports.memory_fit import Fit, Remedy


def fit_blocks(
    fit: Fit | None, accelerator: str | None, layouts_tried: int | None = None, name: str = "training_fit"
) -> tuple[Block, ...]:
    """Return by how much something does not fit, and what would make it fit; nothing where it fits.

    Args:
        fit: What is held, and what there is room for.
        accelerator: The GPU.
        layouts_tried: Of how many layouts this is the one that comes nearest; None where it was named.
        name: What JSON calls it, and ``--table`` what would make it fit.
    """
    if fit is None or fit.fits:
        return ()
    over = binary_bytes(fit.needed_bytes - fit.capacity_bytes)
    sentence = f"It does not fit in {accelerator}: {over} too much."
    if layouts_tried is not None:
        none = (
            "The only layout does not fit" if layouts_tried == 1 else f"None of {integer(layouts_tried)} layouts fits"
        )
        sentence = f"{none} in {accelerator}. This one comes nearest: {over} too much."
    if not fit.remedies:
        return (Note(f"{sentence} No change that was tried makes it fit.", "bad"),)
    columns = (
        Column("what makes it fit", key="options"),
        Column("then held", right=True, key="needed_bytes"),
        Column("", key="capacity_bytes"),
        Column("to spare", right=True, keep=3, key=None),
        Column("", wrap=True, key="what"),
    )
    caption = f"Changes that make it fit in {accelerator}"
    return (Note(sentence, "bad"), Table(columns, tuple(map(_row, fit.remedies)), name=name, caption=caption))


def _row(remedy: Remedy) -> Row:
    return (
        Cell(remedy.options, "name"),
        binary_bytes(remedy.needed_bytes),
        unseen(remedy.capacity_bytes),
        binary_bytes(remedy.capacity_bytes - remedy.needed_bytes),
        Cell(remedy.what, "muted"),
    )
