from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from transformers.models.beam.modeling_beam import compute_attention_scaling

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention_mask import (
    AttentionMask,
    alibi_bias,
    alibi_slopes,
    attention_masks,
    chunked_mask,
    sliding_window_mask,
)

Make = Callable[..., ModelConfig]
PLACE = {"device": torch.device("cpu"), "dtype": torch.float32}


def windows(make_config: Make, *windows: int | None) -> list[ModelConfig]:
    """Return the config of a kind of layers for each window."""
    return [make_config(attention={"window": window}) for window in windows]


@pytest.mark.parametrize("window", [None, 1, 2, 3, 5, 9])
def test_sliding_window_mask(window: int | None) -> None:
    mask = sliding_window_mask(5, window, torch.device("cpu"))
    for query, key in product(range(5), range(5)):
        assert bool(mask[query, key]) == (key <= query and (window is None or query - key < window))


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 9])
def test_chunked_mask(chunk: int) -> None:
    mask = chunked_mask(7, chunk, torch.device("cpu"))
    for query, key in product(range(7), range(7)):
        assert bool(mask[query, key]) == (key <= query and query // chunk == key // chunk)


def test_separate_masks(make_config: Make) -> None:
    kinds = [make_config(attention={"window": 2, "chunked": chunked}) for chunked in (False, True, True)]
    window, chunks, same = attention_masks(kinds, start=0, length=4, **PLACE)  # type: ignore[arg-type]
    assert window.values is not None
    assert chunks.values is not None
    assert torch.equal(chunks.values[0, 0], chunked_mask(4, 2, torch.device("cpu")))
    assert not torch.equal(window.values, chunks.values)
    assert chunks is same


def test_temperature(make_config: Make) -> None:
    """The factor grows at the last token of each period in Llama 4, and at the next token in Ministral 3."""
    tuning = {"temperature_scale": 0.5, "temperature_len": 3}
    kinds = [make_config(attention={**tuning, "temperature_offset": offset}) for offset in (0, 1)] + [make_config()]
    for start, length in ((0, 8), (7, 1)):
        own, next_one, without = attention_masks(kinds, start=start, length=length, **PLACE)  # type: ignore[arg-type]
        assert without.query_scale is None
        for mask, offset in ((own, 0), (next_one, 1)):
            assert mask.query_scale is not None
            expected = [1 + 0.5 * math.log(1 + (t + offset) // 3) for t in range(start, start + length)]
            assert mask.query_scale[:, 0].tolist() == pytest.approx(expected)


def test_temperature_of_a_power(make_config: Make) -> None:
    """The scale of the queries in Beam's layers without RoPE, as transformers computes it."""
    tuning = {"temperature_scale": 0.1, "temperature_len": 2048, "temperature_offset": 1, "temperature_growth": "power"}
    for start, length in ((0, 8), (5000, 1)):
        (mask,) = attention_masks([make_config(attention=tuning)], start=start, length=length, **PLACE)  # type: ignore[arg-type]
        assert mask.query_scale is not None
        positions: Any = torch.arange(start, start + length)[None]
        torch.testing.assert_close(mask.query_scale, compute_attention_scaling(positions)[0, 0])


def test_full_attention_needs_no_values(make_config: Make) -> None:
    masks = attention_masks([make_config()] * 3, start=0, length=4, **PLACE)  # type: ignore[arg-type]
    assert masks == [AttentionMask(None, is_causal=True)] * 3


def test_cached_step_attends_to_all_positions(make_config: Make) -> None:
    masks = attention_masks(windows(make_config, None, 2), start=7, length=1, **PLACE)  # type: ignore[arg-type]
    assert masks == [AttentionMask(None, is_causal=False)] * 2


def test_layers_of_equal_windows_share_a_mask(make_config: Make) -> None:
    masks = attention_masks(windows(make_config, 2, None, 2), start=0, length=4, **PLACE)  # type: ignore[arg-type]
    assert masks[0] is masks[2]
    assert masks[0].values is not None
    assert torch.equal(masks[0].values[0, 0], sliding_window_mask(4, 2, torch.device("cpu")))
    assert masks[1] == AttentionMask(None, is_causal=True)


@pytest.mark.parametrize("length", [2, 3, 4])
def test_window_as_long_as_the_sequence(make_config: Make, length: int) -> None:
    """It needs no values; one that is shorter by a position does, from two tokens on."""
    whole, shorter = attention_masks(windows(make_config, length, length - 1), start=0, length=length, **PLACE)  # type: ignore[arg-type]
    assert whole == AttentionMask(None, is_causal=True)
    assert shorter.values is not None
    assert torch.equal(shorter.values[0, 0], sliding_window_mask(length, length - 1, torch.device("cpu")))


def test_custom_mask_replaces_both(make_config: Make) -> None:
    own = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    masks = attention_masks(windows(make_config, 2, None), start=0, length=4, mask=own, **PLACE)  # type: ignore[arg-type]
    assert all(mask.values is own and not mask.is_causal for mask in masks)


@pytest.mark.parametrize("window", [None, 3])
def test_alibi_of_a_cached_step(make_config: Make, window: int | None) -> None:
    """The slots of a window's ring buffer hold positions 6, 7 and 5 when 7 is read."""
    config = make_config(position={"kind": "alibi"}, n_heads=2, attention={"window": window})
    (mask,) = attention_masks([config], start=7, length=1, **PLACE)  # type: ignore[arg-type]
    assert mask.values is not None
    positions = list(range(8)) if window is None else [6, 7, 5]
    assert mask.values[0, 0, 0].tolist() == [(position - 7) / 16 for position in positions]


def test_alibi_of_a_cached_step_in_a_chunk(make_config: Make) -> None:
    """The first slots hold positions 6 and 7, when 7 is read; those after them are of the chunk before."""
    config = make_config(position={"kind": "alibi"}, n_heads=2, attention={"window": 3, "chunked": True})
    (mask,) = attention_masks([config], start=7, length=1, **PLACE)  # type: ignore[arg-type]
    assert mask.values is not None
    assert mask.values[0, 0, 0].tolist() == [-1 / 16, 0]


@pytest.mark.parametrize("length", [2, 5])
@pytest.mark.parametrize("window", [None, 1, 2])
def test_alibi_of_a_sequence(make_config: Make, length: int, window: int | None) -> None:
    config = make_config(position={"kind": "alibi"}, n_heads=2, attention={"window": window})
    (mask,) = attention_masks([config], start=0, length=length, **PLACE)  # type: ignore[arg-type]
    assert mask.values is not None
    assert mask.values.shape == (1, 2, length, length)
    for (head, slope), query, key in product(enumerate(alibi_slopes(2)), range(length), range(length)):
        attends = key <= query and (window is None or query - key < window)
        assert float(mask.values[0, head, query, key]) == (slope * (key - query) if attends else -math.inf)


def test_alibi_slopes() -> None:
    assert alibi_slopes(8) == tuple(2.0**-n for n in range(1, 9))
    assert alibi_slopes(4) == (2**-2, 2**-4, 2**-6, 2**-8)
    assert alibi_slopes(6) == (2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3)


def test_distance_lowers_scores() -> None:
    positions = torch.arange(3.0)
    bias = alibi_bias(2, positions, positions)
    assert bias.shape == (1, 2, 3, 3)
    assert bias[0, 0].diagonal().tolist() == [0, 0, 0]
    assert bias[0, 0, 2].tolist() == [-2 / 16, -1 / 16, 0]
