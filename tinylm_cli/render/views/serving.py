"""The serving table: memory and decode speed by batch size and length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Block, Cell, Column, Heading, Note, Row, Table
from tinylm_cli.render.units import integer, three_digits
from tinylm_cli.render.views.record_table import computed, csv_value, only_csv, record_table
from tinylm_cli.reports.serving import CacheLayers, CacheShape, ServingCell, ServingGrid

_COLUMNS = 4
"""Largest number of lengths side by side, so that a table fits in 60 columns."""


def serving_grid_blocks(
    grid: ServingGrid, cache: CacheShape | None, capacity_bytes: int | None = None, accelerator: str | None = None
) -> tuple[Block, ...]:
    """Show the memory of each batch size and length and, on a GPU, whether it fits and its decode speed."""
    padding = "  " if any(cell.fits is False for cell in grid.cells) else ""
    blocks: list[Block] = [
        Heading("Serving", "memory by batch size and sequence length"),
        _cells(grid),
        *_tables(grid, "batch", lambda cell: _memory(cell, padding), padding),
        Note(cache_text(cache)),
    ]
    if capacity_bytes is None or accelerator is None:
        return tuple(blocks)
    if padding:
        room = f"{binary_bytes(capacity_bytes)} of {accelerator}"
        blocks.append(Note(f"✗ exceeds the {room}. One GPU holds the entire model.", "warn"))
    running = [cell.decode.bound for cell in grid.cells if cell.fits and cell.decode is not None]
    if running:
        mixed = len(set(running)) > 1
        blocks += _tables(grid, "tokens/s", lambda cell: _speed(cell, marked=mixed))
        bound = "c is compute-bound, all others memory-bound" if mixed else f"all batches are {running[0]}-bound"
        blocks.append(Note(f"Upper bounds, summed over the batch; {bound}.", "muted"))
    return tuple(blocks)


def cache_text(cache: CacheShape | None) -> str:
    """Describe the cache of each layer kind, and its size per token or per sequence.

    None is the cache of a model that decodes nothing.
    """
    if cache is None:
        return "Nothing is decoded: one pass reads all sequences and keeps no KV cache."
    sentences = [*_cached_tokens(cache), *_states(cache), *_pages(cache)]
    return " ".join(f"{sentence}." for sentence in sentences) or "No layer keeps anything of earlier tokens."


def _cached_tokens(cache: CacheShape) -> Iterator[str]:
    """Yield sentences about the layers that cache tokens."""
    caching = [each for each in cache.layers if each.token_bytes]
    if not caching:
        return
    n_layers = sum(each.n_layers for each in cache.layers)
    by_kept: Counter[str] = Counter()
    for each in caching:
        by_kept[_kept(each)] += each.n_layers
    if len(by_kept) == 1 and sum(by_kept.values()) == n_layers:
        kept = next(iter(by_kept))
    else:
        kept = ", ".join(f"{what} in {counted(layers, 'layer')}" for what, layers in by_kept.items())
    words = f"The KV cache takes {binary_bytes(cache.token_bytes)} per token in {cache.dtype}: {kept}"
    if cache.multi_head_ratio != 1:
        heads = {each.n_heads for each in caching}
        own = f"{heads.pop()} KV heads" if len(heads) == 1 else "one KV head per query head"
        plain, times = binary_bytes(cache.multi_head_token_bytes), f"{cache.multi_head_ratio:.3g}"
        words += f"; {own} would take {plain}, {times} times as much"
    yield words
    yield from (sentence[0].upper() + sentence[1:] for sentence in window_sentences(cache))


def window_sentences(cache: CacheShape) -> Iterator[str]:
    """Yield which layers cache only the tokens of their window or chunk, and how many cache none.

    For example ``layers 0..4 cache only the last 512 tokens``.
    """
    for each in cache.layers:
        if each.window is not None and each.kind != "shared":
            which = "all layers cache" if len(cache.layers) == 1 else f"layers {each.layers} cache"
            if each.n_layers == 1:
                which = f"layer {each.layers} caches"
            tokens = counted(each.window, "token")
            yield f"{which} only a chunk of at most {tokens}" if each.chunked else f"{which} only the last {tokens}"
    n_sharing = sum(each.n_layers for each in cache.layers if each.kind == "shared")
    if n_sharing:
        attend = "attends" if n_sharing == 1 else "attend"
        yield f"{counted(n_sharing, 'layer')} {attend} to keys and values of earlier layers"


def _states(cache: CacheShape) -> Iterator[str]:
    """Yield a sentence about the layers that keep a state of constant size."""
    n_layers = sum(each.n_layers for each in cache.layers if each.state_bytes)
    if n_layers:
        keep = "keeps" if n_layers == 1 else "keep"
        both = any(each.state_bytes and each.token_bytes for each in cache.layers)
        instead = " as well" if both else " instead" if cache.token_bytes else ""
        state = f"{counted(n_layers, 'layer')} {keep} a state{instead}"
        yield f"{state}: {binary_bytes(cache.state_bytes)} per sequence of any length"


def _pages(cache: CacheShape) -> Iterator[str]:
    """Yield a sentence about the pages in which vLLM stores keys, values and states."""
    pages = cache.pages
    if pages is not None:
        of_group, tokens = pages.group_layers * pages.page_bytes, f"{pages.block_tokens:,} tokens"
        states, block = (binary_bytes(of_group * n) for n in (pages.state_groups, pages.attention_groups))
        page = f"A page of vLLM, {binary_bytes(pages.page_bytes)}, holds one layer's state, or its cache of {tokens}"
        yield f"{page}: {states} of states per sequence, and {block} per {tokens}"


def _kept(layers: CacheLayers) -> str:
    """Describe the tensors that one layer caches for a token."""
    if layers.kind == "latent":
        index = "" if layers.d_index is None else f", and an index key of {layers.d_index}"
        joined = " and" if layers.d_index is None else ","
        return f"a latent vector of {layers.kv_rank}{joined} a rotary key of {layers.d_rope}{index}"
    heads = counted(layers.n_kv_heads or 0, "head")
    shared = "" if layers.kind == "multi-head" else f" for {layers.n_heads} query heads"
    return f"keys and values of {heads}{shared}"


def _tables(
    grid: ServingGrid, title: str, format_cell: Callable[[ServingCell], Cell], padding: str | None = None
) -> Iterator[Table]:
    """Yield the table, a few lengths at a time, and the largest batch and length that fit."""
    width = len(grid.seq_lens)
    for first in range(0, width, _COLUMNS):
        lengths = range(first, min(first + _COLUMNS, width))
        longest = grid.longest_seq_lens if padding is not None and lengths[-1] == width - 1 else ()
        columns = (
            Column(title, right=True),
            *(Column(integer(grid.seq_lens[index]), right=True) for index in lengths),
            *([Column("longest", right=True, keep=4)] if longest else []),
        )
        rows: list[Row] = []
        for number, batch in enumerate(grid.batch_sizes):
            row = [format_cell(grid.cells[number * width + index]) for index in lengths]
            rows.append((Cell(integer(batch), "name"), *row, *([_largest(longest[number])] if longest else [])))
        largest = grid.largest_batch_sizes if padding is not None else ()
        limits = [_largest(each, padding or "") for each in largest[lengths.start : lengths.stop]]
        total: Row | None = ("largest", *limits, *([""] if longest else [])) if limits else None
        caption = f"{'Memory' if padding is not None else 'Tokens decoded per second'} by batch size and length"
        yield Table(columns, tuple(rows), total, name="serving", caption=caption)


def _cells(grid: ServingGrid) -> Table:
    """Return the table for CSV: one row for each cell, in base units."""
    names = ("batch_size", "seq_len", "cache_bytes", "working_bytes", "total_bytes", "fits", "decode_tokens_per_second")
    columns = (
        *only_csv(*names),
        computed("", "seconds", lambda cell: csv_value(cell.decode and cell.decode.seconds)),
        computed("", "bound", lambda cell: csv_value(cell.decode and cell.decode.bound)),
    )
    return record_table(grid.cells, columns, name="serving")


def _largest(value: int, padding: str = "") -> Cell:
    return Cell(Quantity(integer(value) + padding, value)) if value else Cell(Quantity(f"none{padding}", 0), "bad")


def _memory(cell: ServingCell, padding: str) -> Cell:
    words = binary_bytes(cell.total_bytes)
    if cell.fits is False:
        return Cell(Quantity(f"{words} ✗", cell.total_bytes), "bad")
    return Cell(Quantity(words + padding, cell.total_bytes))


def _speed(cell: ServingCell, *, marked: bool) -> Cell:
    if not cell.fits or cell.decode is None or cell.decode_tokens_per_second is None:
        return Cell("–", "muted")
    mark = "" if not marked else " c" if cell.decode.bound == "compute" else "  "
    return Cell(Quantity(three_digits(cell.decode_tokens_per_second) + mark, cell.decode_tokens_per_second))
