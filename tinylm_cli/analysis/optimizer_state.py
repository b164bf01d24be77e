"""Optimizer state: bytes that optimizers keep between steps, summed over the tensor table.

A comment at each formula names the state tensors that its terms count. The float32 master copy of the weights is not
part of it: :func:`~tinylm_cli.analysis.training_memory.training_memory` counts it.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from tinylm_cli.analysis.dtypes import FLOAT32_BYTES
from tinylm_cli.analysis.tensor import Tensor
from tinylm_cli.analysis.tensor_table import TensorTable

if TYPE_CHECKING:
    from tinylm_cli.reports.choices import Optimizer

MOMENTS = 2
"""Adam keeps a first and a second moment of each parameter: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980."""

STEP_COUNTER_BYTES = FLOAT32_BYTES
"""Torch keeps one float32 step counter per tensor."""

ELEMENTS_PER_SCALE = 2048
"""8-bit moments: elements that share one float32 scale (blockwise quantization)."""

MIN_8BIT_ELEMENTS = 4096
"""bitsandbytes keeps the moments of smaller tensors in float32."""

CODEBOOK_BYTES = 2 * 256 * FLOAT32_BYTES
"""8-bit moments: 2 tables, signed and unsigned, of 256 float32 values, one per byte value; once per model."""


def optimizer_bytes(table: TensorTable, optimizer: Optimizer, element_bytes: int) -> int:
    """Return the bytes of optimizer state for the tensors of a model.

    - ``adamw``: two moments of each parameter, and a step counter of each tensor.
    - ``sgd``: nothing; ``sgd_momentum``: one moment.
    - ``adamw_8bit``: two moments of one byte, and one float32 scale per 2,048 elements; small tensors use float32.
    - ``adafactor``: row and column sums of each matrix's second moment; vectors keep a second moment; no first moment.
    - ``muon``: one moment of each hidden matrix; embeddings, LM head and vectors use adamw.

    Args:
        table: The model's tensors.
        optimizer: The optimizer.
        element_bytes: Bytes of an element of the moments.

    References:
        Loshchilov and Hutter 2019 (AdamW), https://arxiv.org/abs/1711.05101;
        Dettmers et al. 2021 (8-bit, by blocks), https://arxiv.org/abs/2110.02861;
        Shazeer and Stern 2018 (Adafactor), https://arxiv.org/abs/1804.04235;
        Jordan et al. 2024 (Muon), https://kellerjordan.github.io/posts/muon/
    """
    per_model = CODEBOOK_BYTES if optimizer == "adamw_8bit" else 0
    return per_model + sum(
        section.repeats * _state_bytes(tensor, optimizer, element_bytes)
        for section in table
        for tensor in section.tensors
        if tensor.tied_to is None
    )


def is_hidden_matrix(tensor: Tensor) -> bool:
    """Return whether Muon updates ``tensor``: a matrix or a stack of matrices between the embedding and the head."""
    is_hidden = tensor.component not in ("token_embedding", "position", "per_layer_embedding", "lm_head", "score")
    return is_hidden and len(tensor.shape) > 1 and not tensor.name.endswith(".conv.weight")  # (channels, 1, kernel)


def _state_bytes(tensor: Tensor, optimizer: Optimizer, element_bytes: int) -> int:
    moment = tensor.elements * element_bytes
    match optimizer:
        case "sgd":
            return 0
        case "sgd_momentum":
            return moment  # momentum_buffer
        case "muon" if is_hidden_matrix(tensor):
            return moment  # momentum_buffer
        case "adamw" | "muon":
            return MOMENTS * moment + STEP_COUNTER_BYTES  # exp_avg, exp_avg_sq; step
        case "adamw_8bit" if tensor.elements < MIN_8BIT_ELEMENTS:
            return MOMENTS * tensor.elements * FLOAT32_BYTES  # state1, state2
        case "adamw_8bit":
            n_scales = -(-tensor.elements // ELEMENTS_PER_SCALE)
            return MOMENTS * (tensor.elements + n_scales * FLOAT32_BYTES)  # (state1 + absmax1) + (state2 + absmax2)
        case "adafactor" if len(tensor.shape) < 2:
            return moment + STEP_COUNTER_BYTES  # variance; step
        case "adafactor":
            *stack, rows, columns = tensor.shape
            # row_var and col_var of each matrix; step
            return prod(stack) * (rows + columns) * element_bytes + STEP_COUNTER_BYTES
