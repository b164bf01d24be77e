"""Serving over batch and length: what each takes, whether it fits, and how fast it decodes."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm_cli.analysis.flops import decode_flops
from tinylm_cli.analysis.inference_memory import Serving, inference_memory, largest_batch, longest_context
from tinylm_cli.analysis.roofline import DecodingStep, decoding_clock, decoding_weights
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.serving import ServingCell, ServingGrid

BATCH_SIZES = (1, 4, 16, 64, 256)
"""Of the grid that is shown unless others are asked for."""

SHORTER = (16, 4, 1)
"""Its lengths are max_len over these, to see a cache grow from what costs little to the most the model takes."""


def default_batch_sizes(batch_size: int) -> tuple[int, ...]:
    """Return the rows that are shown unless others are asked for, ``batch_size`` among them."""
    return tuple(sorted({*BATCH_SIZES, batch_size}))


def default_seq_lens(max_len: int, seq_len: int) -> tuple[int, ...]:
    """Return the columns that are shown unless others are asked for, ``seq_len`` among them."""
    return tuple(sorted({*(max(max_len // part, 1) for part in SHORTER), seq_len}))


def decoding_step(config: ModelConfig, serving: Serving, *, seq_len: int) -> DecodingStep:
    """Return what decoding one more token takes, ``seq_len`` being seen: weights and cache as they are stored."""
    return DecodingStep(
        decoding_weights(config, serving.dtype, serving.rounding),
        decode_flops(config, context_len=seq_len),
        serving.kept_bytes(config, batch_size=1, seq_len=seq_len),
    )


def serving_grid(
    config: ModelConfig,
    serving: Serving,
    *,
    batch_sizes: Sequence[int],
    seq_lens: Sequence[int],
    accelerator: Accelerator | None = None,
) -> ServingGrid:
    """Return what each batch of each length takes on one GPU that holds the whole model.

    Args:
        config: A validated config.
        serving: How it is run.
        batch_sizes: Sequences at once, ascending.
        seq_lens: Tokens kept of each, ascending, 1..max_len.
        accelerator: The GPU, or None; with one, what fits and how fast is worked out too.

    Raises:
        AnalysisError: If a size is out of range.
        UsageError: If the hardware does not multiply the type.
    """
    steps = {length: decoding_step(config, serving, seq_len=length) for length in seq_lens}
    cells = tuple(
        _cell(config, serving, batch, length, steps[length], accelerator)
        for batch in batch_sizes
        for length in seq_lens
    )
    room = None if accelerator is None else accelerator.capacity_bytes
    return ServingGrid(
        batch_sizes=tuple(batch_sizes),
        seq_lens=tuple(seq_lens),
        weights_bytes=cells[0].total_bytes - cells[0].cache_bytes - cells[0].working_bytes,
        cells=cells,
        largest_batch_sizes=()
        if room is None
        else tuple(largest_batch(config, serving, available_bytes=room, seq_len=length) for length in seq_lens),
        longest_seq_lens=()
        if room is None
        else tuple(longest_context(config, serving, available_bytes=room, batch_size=batch) for batch in batch_sizes),
    )


def _cell(
    config: ModelConfig, serving: Serving, batch: int, length: int, step: DecodingStep, accelerator: Accelerator | None
) -> ServingCell:
    memory = inference_memory(config, serving, batch_size=batch, seq_len=length)
    decode = None
    if accelerator is not None:
        decode = decoding_clock(accelerator, dtype=serving.dtype, batch_size=batch)(step)
    return ServingCell(
        batch_size=batch,
        seq_len=length,
        cache_bytes=memory.cache_bytes,
        working_bytes=memory.working_bytes,
        total_bytes=memory.total_bytes,
        fits=None if accelerator is None else memory.total_bytes <= accelerator.capacity_bytes,
        decode=decode,
        decode_tokens_per_second=None if decode is None else batch / decode.seconds,
    )
