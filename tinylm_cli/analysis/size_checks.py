"""Checks of batch size and sequence length."""

from __future__ import annotations

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import AnalysisError


def check_sizes(config: ModelConfig, *, batch_size: int, seq_len: int) -> None:
    """Check that batch size and sequence length are in range.

    Raises:
        AnalysisError: If batch_size is below 1, or seq_len outside 1..max_len.
    """
    if batch_size < 1:
        raise AnalysisError(f"batch_size {batch_size} is less than one sequence", help="give a batch_size of 1 or more")
    check_length(config, seq_len, "seq_len")


def check_length(config: ModelConfig, length: int, name: str) -> None:
    """Check that a length is in range; ``name`` is its name in the error message.

    Raises:
        AnalysisError: If it is outside 1..max_len.
    """
    if not 1 <= length <= config.max_len:
        raise AnalysisError(
            f"{name} {length:,} is outside 1..{config.max_len:,}: the model's max_len is {config.max_len:,}",
            help=f"give a {name} of at most {config.max_len:,}; or change the model to max_len={length}"
            if length > 0
            else f"give a {name} of 1 or more",
        )
