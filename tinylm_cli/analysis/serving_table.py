"""The serving table: memory, fit and decode speed by batch size and sequence length."""

from __future__ import annotations

from tinylm_cli.analysis.inference_memory import inference_memory, largest_batch, longest_context
from tinylm_cli.analysis.roofline import DecodeStep, decode_clock, decode_step
from tinylm_cli.analysis.setups import ServingSetup
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.serving import ServingCell, ServingGrid

BATCH_SIZES = (1, 4, 16, 64, 256)
"""Default rows of the table."""

LENGTH_DIVISORS = (16, 4, 1)
"""Default columns of the table: max_len divided by each of these, so that the KV cache grows to its maximum."""


def default_batch_sizes(batch_size: int) -> tuple[int, ...]:
    """Return the default rows, including ``batch_size``."""
    return tuple(sorted({*BATCH_SIZES, batch_size}))


def default_seq_lens(max_len: int, seq_len: int) -> tuple[int, ...]:
    """Return the default columns, including ``seq_len``."""
    return tuple(sorted({*(max(max_len // part, 1) for part in LENGTH_DIVISORS), seq_len}))


def serving_table(config: ModelConfig, setup: ServingSetup, accelerator: Accelerator | None = None) -> ServingGrid:
    """Return the memory and speed of each batch size and length, on one GPU that holds the full model.

    Args:
        config: A validated config.
        setup: How it is served; its batch_sizes and seq_lens, ascending, are the rows and columns.
        accelerator: The GPU; without one, fit and speed are None.

    Raises:
        AnalysisError: If a size is out of range.
        UsageError: If the GPU does not support matmuls in the dtype.
    """
    setup = setup.resolved(config)
    batch_sizes = setup.batch_sizes or default_batch_sizes(setup.batch_size)
    seq_lens = setup.seq_lens or default_seq_lens(config.max_len, setup.length(config))
    steps = {length: decode_step(config, setup._replace(seq_len=length)) for length in seq_lens}
    cells = tuple(
        _cell(config, setup._replace(batch_size=batch, seq_len=length), steps[length], accelerator)
        for batch in batch_sizes
        for length in seq_lens
    )
    by_length = [setup._replace(seq_len=length) for length in seq_lens if accelerator is not None]
    by_batch = [setup._replace(batch_size=batch) for batch in batch_sizes if accelerator is not None]
    available = 0 if accelerator is None else accelerator.capacity_bytes
    return ServingGrid(
        batch_sizes=batch_sizes,
        seq_lens=seq_lens,
        weights_bytes=cells[0].total_bytes - cells[0].cache_bytes - cells[0].working_bytes,
        cells=cells,
        largest_batch_sizes=tuple(largest_batch(config, each, available_bytes=available) for each in by_length),
        longest_seq_lens=tuple(longest_context(config, each, available_bytes=available) for each in by_batch),
    )


def _cell(config: ModelConfig, setup: ServingSetup, step: DecodeStep, accelerator: Accelerator | None) -> ServingCell:
    memory = inference_memory(config, setup)
    decode = decode_clock(accelerator, setup)(step) if accelerator is not None and config.has_lm_head else None
    return ServingCell(
        batch_size=memory.batch_size,
        seq_len=memory.seq_len,
        cache_bytes=memory.cache_bytes,
        working_bytes=memory.working_bytes,
        total_bytes=memory.total_bytes,
        fits=None if accelerator is None else memory.total_bytes <= accelerator.capacity_bytes,
        decode=decode,
        decode_tokens_per_second=None if decode is None else memory.batch_size / decode.seconds,
    )
