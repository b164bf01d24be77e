"""The view of the sizes of GGUF files, in ``tinylm params``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tinylm_cli.quantities import Quantity, binary_bytes
from tinylm_cli.render.blocks import Bar, Block, Cell, Note, Table
from tinylm_cli.render.units import integer, percentages
from tinylm_cli.render.views.record_table import computed, field, listed, record_table
from tinylm_cli.reports.params import GgufFile, GgufSizes
from tinylm_cli.wording import Setting, Wording


def gguf_detail(sizes: GgufSizes) -> str:
    """Return the size of a single file, as the end of a heading; empty for several."""
    if len(sizes.files) > 1:
        return ""
    file = sizes.files[0]
    return f", {binary_bytes(file.tensor_bytes)} as {file.type}, {file.bits_per_weight:.2f} bits per weight"


def gguf_blocks(sizes: GgufSizes, wording: Wording) -> Iterator[Block]:
    """Yield the size of each file; of a single file, its tensors by type."""
    yield _tensors(sizes.files[0]) if len(sizes.files) == 1 else _files(sizes.files)
    if sizes.architecture is None:
        unknown = "tinylm does not know how llama.cpp stores this model: each tensor counts as others of its kind."
        yield Note(unknown, "warn")
    with_matrix = [file.importance_matrix for file in sizes.files]
    others = "" if all(with_matrix) else f"; {wording(Setting('imatrix'))} assumes one for all types"
    if any(with_matrix):
        yield Note(f"imatrix: quantized with an importance matrix{others}.", "muted")
    stored = "" if sizes.architecture is None else f"The architecture is {sizes.architecture}. "
    yield Note(f"{stored}The header, with metadata and tokens, is not counted.", "muted")


def _files(files: Sequence[GgufFile]) -> Table:
    largest = max(file.tensor_bytes for file in files)
    columns = (
        field("GGUF", "type", style="name"),
        field("bits per weight", "bits_per_weight", lambda value: Quantity(f"{value:.4f}", value)),
        computed("size", None, lambda file: Cell(binary_bytes(file.tensor_bytes), "strong"), right=True),
        field("bytes", "tensor_bytes", integer, keep=5),
        computed("", "importance_matrix", _importance_matrix, keep=6),
        computed("", None, lambda file: Bar(file.tensor_bytes / largest), keep=1),
    )
    return record_table(files, columns, main=True, name="gguf_files", caption="Sizes of GGUF files")


def _tensors(file: GgufFile) -> Table:
    shares = percentages([row.tensor_bytes / file.tensor_bytes for row in file.tensors])
    columns = (
        field("tensors", "type", style="name"),
        field("number", "n_tensors", integer),
        field("parameters", "params", integer, keep=7),
        field("bytes", "tensor_bytes", integer),
        listed("share", None, shares, keep=6),
    )
    total = (
        Cell("total", "strong"),
        integer(sum(row.n_tensors for row in file.tensors)),
        integer(sum(row.params for row in file.tensors)),
        Cell(integer(file.tensor_bytes), "strong"),
        "100.0%",
    )
    caption = f"Tensors of {file.type} by type"
    return record_table(file.tensors, columns, total=total, main=True, name="gguf_tensors", caption=caption)


def _importance_matrix(file: GgufFile) -> Cell:
    return Cell("imatrix" if file.importance_matrix else "", "muted", str(file.importance_matrix).lower())
