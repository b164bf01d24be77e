"""What optimizers keep from step to step: a fold over the tensor table."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from tinylm_cli.analysis.tensor_table import Tensor, TensorTable
from tinylm_cli.reports.memory import Optimizer

COUNTER_BYTES = 4
"""Torch counts the steps of each tensor in a float32 of its own."""

BLOCK = 2048
"""Elements of an 8-bit moment that share one float32 constant."""

LEAST_8BIT = 4096
"""Tensors with fewer elements keep their moments in float32, as bitsandbytes has it."""

CODEBOOK_BYTES = 2 * 256 * 4
"""Two tables of the 256 values that 8 bits stand for, one with signs: once for the whole model."""


def optimizer_bytes(table: TensorTable, optimizer: Optimizer, width: int) -> int:
    """Return the bytes that ``optimizer`` keeps for the tensors of a model.

    - ``adamw``: two moments of each parameter, and a counter of each tensor.
    - ``sgd``: nothing; ``sgd_momentum``: one moment.
    - ``adamw_8bit``: the two moments in 8 bits, a float32 constant for each block; small tensors as adamw in float32.
    - ``adafactor``: of each matrix the second moment's row and column sums, of a vector all of it; no first moment.
    - ``muon``: one moment of each hidden matrix; embeddings, head and vectors as adamw.

    Args:
        table: The model's tensors.
        optimizer: Which one.
        width: Bytes of an element of the moments.

    References:
        Loshchilov and Hutter 2019 (AdamW), https://arxiv.org/abs/1711.05101;
        Dettmers et al. 2021 (8-bit, by blocks), https://arxiv.org/abs/2110.02861;
        Shazeer and Stern 2018 (Adafactor), https://arxiv.org/abs/1804.04235;
        Jordan et al. 2024 (Muon), https://kellerjordan.github.io/posts/muon/
    """
    state = _STATES[optimizer]
    own = CODEBOOK_BYTES if optimizer == "adamw_8bit" else 0
    return own + sum(
        section.repeats * state(tensor, width)
        for section in table
        for tensor in section.tensors
        if tensor.tied_to is None
    )


def is_hidden_matrix(tensor: Tensor) -> bool:
    """Return whether Muon's momentum is for ``tensor``: a matrix, or a stack of them, between embedding and head."""
    return len(tensor.shape) > 1 and tensor.component not in ("token_embedding", "position", "lm_head")


def _adamw(tensor: Tensor, width: int) -> int:
    return 2 * tensor.elements * width + COUNTER_BYTES


def _adamw_8bit(tensor: Tensor, _: int) -> int:
    if tensor.elements < LEAST_8BIT:
        return 2 * tensor.elements * 4
    return 2 * (tensor.elements + 4 * -(-tensor.elements // BLOCK))


def _adafactor(tensor: Tensor, width: int) -> int:
    if len(tensor.shape) < 2:
        return tensor.elements * width + COUNTER_BYTES
    *stack, rows, columns = tensor.shape
    return prod(stack) * (rows + columns) * width + COUNTER_BYTES


def _muon(tensor: Tensor, width: int) -> int:
    return tensor.elements * width if is_hidden_matrix(tensor) else _adamw(tensor, width)


_STATES: dict[Optimizer, Callable[[Tensor, int], int]] = {
    "adamw": _adamw,
    "adamw_8bit": _adamw_8bit,
    "adafactor": _adafactor,
    "muon": _muon,
    "sgd": lambda _tensor, _width: 0,
    "sgd_momentum": lambda tensor, width: tensor.elements * width,
}
"""Bytes kept for one tensor whose moments take a width each element."""
