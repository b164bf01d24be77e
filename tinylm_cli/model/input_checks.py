"""Validate the inputs of a model: its device, token ids and attention masks."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import UnableError, UsageError

INTEGER_DTYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
DEVICES = "cpu, cuda or mps"
DEVICE_EXAMPLE = "cuda:1"


def usable_device(device: torch.device | str) -> torch.device:
    """Return a device after allocating a tensor on it.

    Raises:
        UsageError: If the name is not a device.
        UnableError: If this machine has no such device.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise UsageError(f"device: expected {DEVICES}, got {device!r}", help=f"for example {DEVICE_EXAMPLE}") from error
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise UnableError(f"this machine has no usable device {device}", help="use cpu, the default") from error
    return found


def require_attention(kinds: Iterable[ModelConfig]) -> None:
    """Check that layers of these kinds read other positions by attention alone, which a mask can restrict.

    Raises:
        ValueError: If some do not.
    """
    for kind in kinds:
        if set(kind.block.mixers) - {"attention"}:
            raise ValueError(
                f"a mask applies to attention only; this model has layers of block.mixer {kind.block.mixer}"
            )
        if kind.feed_forward.channel_mixing:
            raise ValueError("a mask applies to attention only; this model has layers of channel mixing")


def checked_tokens(tokens: Tensor, config: ModelConfig, *, max_len: int | None) -> Tensor:
    """Return ``tokens`` in a dtype that ``nn.Embedding`` accepts.

    Ids are compared with the vocabulary on the CPU only. On a GPU, the comparison would synchronize with the device; on
    meta, tensors have no values.

    Args:
        tokens: Ids (B, T), or (B, T, C) with several codebooks, of a signed integer dtype or uint8.
        config: Uses vocab_size, above all ids, and embedding.n_codebooks.
        max_len: Maximum T; None for no limit.

    Returns:
        The ids, int64 or int32.

    Raises:
        ValueError: If the dtype, shape or an id is invalid.
    """
    n_codebooks = config.embedding.n_codebooks
    expected = "(B, T)" if n_codebooks == 1 else f"(B, T, {n_codebooks})"
    _require_tensor("tokens", tokens, f"integer ids {expected}")
    if tokens.dtype not in INTEGER_DTYPES:
        raise ValueError(f"tokens must be integer ids {expected}, int64 or int32, not {_dtype(tokens)}")
    if tokens.dim() < 2 or tokens.shape[2:] != (() if n_codebooks == 1 else (n_codebooks,)):
        raise ValueError(f"tokens must have shape {expected}, not {_shape(tokens)}")
    if tokens.numel() == 0:
        raise ValueError(f"tokens must hold at least one id, but have shape {_shape(tokens)}")
    if max_len is not None and tokens.shape[1] > max_len:
        raise ValueError(f"tokens have length {tokens.shape[1]}, but max_len is {max_len}")
    if tokens.device.type == "cpu":
        lowest, highest = (int(bound) for bound in tokens.aminmax())
        if lowest < 0 or highest >= config.vocab_size:
            wrong = lowest if lowest < 0 else highest
            raise ValueError(f"token id {wrong} is outside the vocabulary, 0..{config.vocab_size - 1}")
    return tokens if tokens.dtype in (torch.int64, torch.int32) else tokens.long()


def checked_mask(mask: Tensor, *, tokens: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``mask`` in a shape that broadcasts over heads.

    Args:
        mask: (T, T), (B, T, T) or (B, 1, T, T) with queries as rows and keys as columns. Boolean (True where a query
            may attend) or floating (added to the scores before the softmax).
        tokens: The ids the mask is for, (B, T) or (B, T, C).
        dtype: The model's dtype, to which a floating mask is cast.

    Returns:
        (1, 1, T, T) or (B, 1, T, T).

    Raises:
        ValueError: If the dtype, shape or device is invalid.
    """
    _require_tensor("mask", mask, "booleans or numbers")
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise ValueError(
            f"mask must be boolean (True may attend) or floating (added to the scores), not {_dtype(mask)}"
        )
    batch, length = tokens.shape[:2]
    square = (length, length)
    if mask.shape not in (square, (batch, *square), (batch, 1, *square)):
        expected = f"{square}, {(batch, *square)} or {(batch, 1, *square)}"
        raise ValueError(f"mask must have shape {expected} for tokens {_shape(tokens)}, not {_shape(mask)}")
    if mask.device != tokens.device:
        raise ValueError(f"mask is on {mask.device}, but tokens are on {tokens.device}")
    if mask.dim() < 4:
        mask = mask.reshape(-1, 1, *square)  # (B or 1, 1, T, T)
    return mask if mask.dtype == torch.bool else mask.to(dtype)


def _require_tensor(name: str, value: object, contents: str) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} must be a tensor of {contents}, not a {type(value).__name__}: use torch.tensor(...)")


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
