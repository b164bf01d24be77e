from __future__ import annotations

from typing import Any

import pytest
import torch

from tinylm_cli.config.blocks import Embedding
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import UnableError, UsageError
from tinylm_cli.model.input_checks import checked_mask, checked_tokens, usable_device

CONFIG = ModelConfig(vocab_size=7, d_model=8, n_heads=2, n_layers=1, d_ff=8)
TOKENS = torch.zeros(2, 3, dtype=torch.long)


def test_usable_device() -> None:
    assert usable_device("cpu") == usable_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(UsageError, match="expected cpu, cuda or mps, got 'abacus'"):
        usable_device("abacus")
    with pytest.raises(UnableError, match="this machine has no usable device cuda:63"):
        usable_device("cuda:63")


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(2, 3), r"integer ids \(B, T\), int64 or int32, not float32"),
        (torch.zeros(2, 3, dtype=torch.bool), "not bool"),
        (torch.zeros(2, 3, dtype=torch.complex64), "not complex64"),
        (torch.zeros(3, dtype=torch.long), r"shape \(B, T\), not \(3,\)"),
        (torch.zeros(1, 2, 3, dtype=torch.long), r"not \(1, 2, 3\)"),
        (torch.zeros(2, 0, dtype=torch.long), r"at least one id, but have shape \(2, 0\)"),
        (torch.zeros(0, 2, dtype=torch.long), "at least one id"),
        (torch.zeros(1, 5, dtype=torch.long), "length 5, but max_len is 4"),
        (torch.tensor([[0, 7]]), r"token id 7 is outside the vocabulary, 0\.\.6"),
        (torch.tensor([[-1, 7]]), "token id -1 is outside"),
        ([[0, 1]], r"must be a tensor of integer ids \(B, T\), not a list: use torch.tensor"),
    ],
)
def test_invalid_tokens(tokens: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_tokens(tokens, CONFIG, max_len=4)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.zeros(2, 3), r"integer ids \(B, T, 4\), int64 or int32, not float32"),
        (torch.zeros(2, 3, dtype=torch.long), r"shape \(B, T, 4\), not \(2, 3\)"),
        (torch.zeros(4, dtype=torch.long), r"shape \(B, T, 4\), not \(4,\)"),
        (torch.zeros(2, 3, 3, dtype=torch.long), r"shape \(B, T, 4\), not \(2, 3, 3\)"),
        (torch.zeros(1, 5, 4, dtype=torch.long), "length 5, but max_len is 4"),
        (torch.tensor([[[0, 1, 2, 7]]]), r"token id 7 is outside the vocabulary, 0\.\.6"),
    ],
)
def test_invalid_tokens_of_codebooks(tokens: torch.Tensor, message: str) -> None:
    config = CONFIG.model_copy(update={"embedding": Embedding(n_codebooks=4)})
    assert checked_tokens(torch.zeros(2, 3, 4, dtype=torch.long), config, max_len=4).shape == (2, 3, 4)
    with pytest.raises(ValueError, match=message):
        checked_tokens(tokens, config, max_len=4)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8])
def test_every_integer_is_an_id(dtype: torch.dtype) -> None:
    checked = checked_tokens(torch.tensor([[0, 6]], dtype=dtype), CONFIG, max_len=4)
    assert checked.tolist() == [[0, 6]]
    assert checked.dtype in (torch.int64, torch.int32)


def test_no_max_len() -> None:
    assert checked_tokens(torch.zeros(1, 50, dtype=torch.long), CONFIG, max_len=None).shape == (1, 50)


def test_meta_tokens() -> None:
    assert checked_tokens(TOKENS.to("meta"), CONFIG, max_len=4).is_meta


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(3, 3, dtype=torch.long), r"boolean \(True may attend\) or floating .*, not int64"),
        (
            torch.ones(2, 3, dtype=torch.bool),
            r"\(3, 3\), \(2, 3, 3\) or \(2, 1, 3, 3\) for tokens \(2, 3\), not \(2, 3\)",
        ),
        (torch.ones(3, 4), r"not \(3, 4\)"),
        (torch.ones(3, 3, 3), r"not \(3, 3, 3\)"),
        (torch.ones(2, 4, 3, 3), r"not \(2, 4, 3, 3\)"),
        (torch.ones(1, 2, 1, 3, 3), r"not \(1, 2, 1, 3, 3\)"),
        (torch.ones(3, 3, device="meta"), "mask is on meta, but tokens are on cpu"),
        ([[True]], "must be a tensor of booleans or numbers, not a list"),
    ],
)
def test_invalid_masks(mask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_mask(mask, tokens=TOKENS, dtype=torch.float32)


@pytest.mark.parametrize(
    ("shape", "expected"), [((3, 3), (1, 1, 3, 3)), ((2, 3, 3), (2, 1, 3, 3)), ((2, 1, 3, 3), (2, 1, 3, 3))]
)
def test_masks_are_normalized(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    boolean = checked_mask(torch.ones(shape, dtype=torch.bool), tokens=TOKENS, dtype=torch.bfloat16)
    added = checked_mask(torch.ones(shape), tokens=TOKENS, dtype=torch.bfloat16)
    assert (boolean.shape, boolean.dtype) == (expected, torch.bool)
    assert (added.shape, added.dtype) == (expected, torch.bfloat16)
