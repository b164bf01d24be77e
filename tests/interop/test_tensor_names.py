"""Names of stored tensors that are not parameters: buffers, and a tied LM head."""

from __future__ import annotations

import pytest

from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.tensor_names import TensorNames

CONFIG = load_config("tiny").config


def names_of(family: str) -> TensorNames:
    return FAMILIES[family].keys.tensor_names_for(CONFIG)


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("gpt2", "h.0.attn.bias"),
        ("gpt2", "transformer.h.11.attn.masked_bias"),
        ("gptj", "transformer.h.3.attn.embed_positions"),
        ("gpt_neox", "gpt_neox.layers.0.attention.rotary_emb.inv_freq"),
        ("gpt_neox", "gpt_neox.layers.0.attention.masked_bias"),
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq"),
        ("llama", "rotary_emb.inv_freq"),
    ],
)
def test_recomputed_buffers(family: str, name: str) -> None:
    assert names_of(family).is_recomputed(name)


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("gpt2", "h.0.attn.c_attn.bias"),
        ("gpt2", "h.0.cross_attn.bias"),
        ("gpt_neox", "gpt_neox.layers.0.attention.dense.bias"),
        ("llama", "model.layers.0.attn.bias"),
        ("opt", "model.decoder.embed_positions.weight"),
    ],
)
def test_similar_names(family: str, name: str) -> None:
    assert not names_of(family).is_recomputed(name)


def test_heads() -> None:
    assert names_of("gpt2").lm_heads == {"lm_head.weight"}
    assert names_of("gpt_neox").lm_heads == {"embed_out.weight"}
    assert names_of("gemma3").lm_heads == {"lm_head.weight", "language_model.lm_head.weight"}
    assert all(names_of(model_type).lm_heads for model_type in FAMILIES)
