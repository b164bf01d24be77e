"""Bytes that a model takes, before any of them is allocated."""

from __future__ import annotations

from tinylm_cli.analysis.dtypes import DTYPE_BYTES
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.table import tensor_table
from tinylm_cli.config.schema import ModelConfig


def build_bytes(config: ModelConfig, dtype: str) -> int:
    """Return the bytes that an instantiated model holds: its parameters and the table of sinusoidal positions.

    Args:
        config: A validated config.
        dtype: A key of ``DTYPE_BYTES``.
    """
    buffer = config.max_len * config.d_model if config.position.kind == "sinusoidal" else 0
    return (total_params(tensor_table(config)) + buffer) * DTYPE_BYTES[dtype]


def forward_bytes(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: str) -> int:
    """Return the bytes a forward pass without gradients holds at its widest, beside the model.

    The widest moment is the head (the vector into it, the logits, and their log-softmax for the loss) or a feed-forward
    network (the residual stream, its norm, and the hidden layer before and after the activation).

    Args:
        config: A validated config.
        batch_size: B, sequences at once.
        seq_len: T, tokens in each.
        dtype: A key of ``DTYPE_BYTES``.
    """
    head = config.d_model + 2 * config.vocab_size
    feed_forward = 2 * config.d_model + 2 * config.d_ff
    return batch_size * seq_len * max(head, feed_forward) * DTYPE_BYTES[dtype]
