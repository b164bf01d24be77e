"""GGUF files that the package ``gguf`` writes, read as configs: equal to the models of transformers, to the byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFValueType, GGUFWriter

from tests.interop.families import configs
from tests.interop.gguf import written_files
from tests.interop.gguf.converter_metadata import rope_of
from tests.interop.gguf.written_files import UnmappedError, Written, llama3_factors, write_model
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.stored_tensors import stored_bytes
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import flatten
from tinylm_cli.errors import ConfigError
from tinylm_cli.interop.gguf.architectures import ARCHITECTURES, READ_ONLY
from tinylm_cli.interop.key_effects import Effect, KeyPolicy
from tinylm_cli.interop.load import load_config

DRAWN = 24
"""Random configs of a family; the converters do not convert all."""

CHANGES: dict[str, dict[str, Any]] = {
    "arcee": {"hidden_act": "relu2"},
    "cohere": {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}},
    "cohere2": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 100.0},
        "sliding_window_pattern": 4,
        "num_hidden_layers": 4,
    },
    "deepseek_v3": {"rope_interleave": True},
    "falcon": {"ffn_hidden_size": None, "parallel_attn": True},
    "granite": {"head_dim": ...},
    "granitemoe": {"head_dim": ...},
    "gpt_bigcode": {
        "activation_function": "gelu_pytorch_tanh",
        "multi_query": True,
        "n_inner": None,
        "scale_attn_weights": True,
    },
    "gpt2": {"activation_function": "gelu_new", "scale_attn_weights": True},
    "nemotron": {"head_dim": ..., "hidden_act": "relu2"},
    "phi": {"qk_layernorm": False},
    "qwen2_moe": {"decoder_sparse_step": 1, "mlp_only_layers": []},
    "qwen3_moe": {"decoder_sparse_step": 1, "mlp_only_layers": []},
    "smollm3": {
        "no_rope_layers": ...,
        "no_rope_layer_interval": 4,
        "use_sliding_window": False,
        "num_hidden_layers": 4,
        "layer_types": ...,
    },
}
"""Keys that drawn configs have in place of values that no converter writes; ``...`` deletes one."""

WINDOWS = ("attention.window", "attention.window_pattern")
NOT_STATED = {
    "bloom": ("block.normed_residual",),
    "deepseek_v2": ("position.attention_factor",),
    "deepseek_v3": ("position.attention_factor",),
    "falcon": ("max_len",),
    "falcon_mamba": ("max_len", "mamba.dt_rank", "mamba.eps"),
    "gemma2": (*WINDOWS, "attention.scale"),
    "gemma3_text": ("attention.scale",),
    "gpt_oss": WINDOWS,
    "jamba": ("layers.kinds", "mamba.dt_rank"),
    "lfm2_moe": ("feed_forward.renormalize", "feed_forward.routed_scale"),
    "mamba": ("max_len", "mamba.dt_rank"),
    "mamba2": ("max_len", "mamba2.chunk_len"),
    "mistral": WINDOWS,
    "mixtral": WINDOWS,
    "mpt": ("attention.scale",),
    "olmoe": ("attention.clip_qkv", "feed_forward.renormalize"),
    "qwen2": WINDOWS,
    "qwen2_moe": (*WINDOWS, "feed_forward.renormalize"),
    "qwen3": WINDOWS,
    "qwen3_moe": (*WINDOWS, "feed_forward.renormalize"),
    "starcoder2": WINDOWS,
}
"""Fields of a family that converters do not write: llama.cpp has them in its code, or a file of its own words."""


def converted(family: str, folder: Path) -> Iterator[tuple[dict[str, Any], Written]]:
    """Write a GGUF file of each drawn config that a converter converts."""
    for number, drawn in enumerate(configs(family, DRAWN)):
        keys = {**drawn, "model_type": family, **CHANGES.get(family, {})}
        keys = {key: value for key, value in keys.items() if value is not ...}
        if family == "phi":
            keys["intermediate_size"] = 4 * keys["hidden_size"]
        try:
            yield keys, write_model(folder / f"{number}.gguf", keys)
        except UnmappedError:
            continue


@pytest.mark.parametrize("family", written_files.ARCHITECTURES)
@pytest.mark.filterwarnings("ignore")
def test_drawn_models(family: str, tmp_path: Path) -> None:
    n_models = 0
    for keys, written in converted(family, tmp_path):
        loaded = load_config(str(written.path))
        table = tensor_table(loaded.config)
        assert total_params(table) == written.n_params
        assert stored_bytes(table, loaded.config.storage) == written.tensor_bytes
        config_json = tmp_path / "config.json"
        config_json.write_text(json.dumps(keys), encoding="utf-8")
        expected, found = (flatten(each.config.model_dump()) for each in (load_config(str(config_json)), loaded))
        if rope_of(keys).get("rope_type") == "llama3":
            factors = tuple(np.array(llama3_factors(keys), np.float32).tolist())
            assert found["position.long_factors"] == found["position.short_factors"] == pytest.approx(factors)
            assert found["position.attention_factor"] == 1
        for name, value in expected.items():
            not_stated = name.startswith("storage.") or name in ("dropout", *NOT_STATED.get(family, ()))
            if not not_stated and not (name.startswith("position.") and rope_of(keys).get("rope_type") == "llama3"):
                assert found[name] == pytest.approx(value) if isinstance(value, float) else found[name] == value, name
        n_models += 1
        if n_models == 4:
            return
    assert n_models


def header(path: Path, arch: str = "llama", *, omit: str = "", **others: Any) -> str:
    """Write a small file of a Llama, without one key and with others."""
    writer = GGUFWriter(path, arch)
    sizes = {"block_count": 1, "context_length": 64, "embedding_length": 8, "feed_forward_length": 16}
    sizes |= {"attention.head_count": 2, "attention.head_count_kv": 1}
    for key, value in (sizes | others).items():
        if key != omit:
            writer.add_key_value(f"{arch}.{key}", value, TYPES[type(value)])
    for name, shape in (("token_embd.weight", (5, 8)), ("output_norm.weight", (8,))):
        writer.add_tensor(name, np.zeros(shape, np.float32))
    finish(writer)
    return str(path)


def finish(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    if writer.tensors[0]:
        writer.write_tensors_to_file()
    writer.close()


TYPES = {int: GGUFValueType.INT64, float: GGUFValueType.FLOAT32, str: GGUFValueType.STRING, bool: GGUFValueType.BOOL}


def errors_of(reference: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as raised:
        load_config(reference)
    return [(each.code, str(each.message)) for each in raised.value.diagnostics]


def test_small_header(tmp_path: Path) -> None:
    config = load_config(header(tmp_path / "model.gguf")).config
    assert (config.vocab_size, config.d_model, config.n_heads, config.n_kv_heads, config.d_head) == (5, 8, 2, 1, 4)
    assert config.tie_weights
    assert config.position.theta == 10_000


@pytest.mark.parametrize("key", ["block_count", "context_length", "embedding_length", "attention.head_count"])
def test_missing_sizes(tmp_path: Path, key: str) -> None:
    """No size takes the default of the family."""
    assert errors_of(header(tmp_path / "model.gguf", omit=key)) == [("missing-key", f"the header has no llama.{key}")]


def test_unknown_architectures(tmp_path: Path) -> None:
    assert errors_of(header(tmp_path / "a.gguf", "t5")) == [("unknown-family", "the architecture t5 is not supported")]
    assert errors_of(header(tmp_path / "b.gguf", "new")) == [("unknown-family", "unknown architecture new")]


def test_other_files(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "lora.gguf", "llama")
    writer.add_type("adapter")
    finish(writer)
    message = 'general.type is "adapter": the file does not hold a model'
    assert errors_of(str(tmp_path / "lora.gguf")) == [("unknown-family", message)]


def test_vocabulary_only(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "vocab.gguf", "llama")
    for add in (writer.add_block_count, writer.add_context_length, writer.add_embedding_length, writer.add_head_count):
        add(2)
    writer.add_feed_forward_length(2)
    finish(writer)
    message = "the file has no tensor token_embd.weight with 2 dimensions"
    assert errors_of(str(tmp_path / "vocab.gguf")) == [("missing-tensor", message)]


def test_unknown_keys(tmp_path: Path) -> None:
    """A key of the architecture that is not understood is an error unless no figure depends on it."""
    reference = header(tmp_path / "model.gguf", new_scale=0.3, new_layers=7)
    assert [code for code, _ in errors_of(reference)] == ["unknown-setting", "unknown-setting"]
    for policy in (KeyPolicy(("llama.new_scale", "llama.new_layers")), KeyPolicy(("llama.new_layers",), Effect.costs)):
        loaded = load_config(reference, (), policy)
        assert loaded.ignored_keys.keys() == {"llama.new_scale", "llama.new_layers"}


def test_keys_without_effect(tmp_path: Path) -> None:
    """Keys of other namespaces, and keys that spell a key of config.json, change nothing."""
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_string("general.whatever", "x")
    writer.add_uint32("hidden_size", 99)
    writer.add_string("model_type", "gpt2")
    writer.add_uint32("quantize.imatrix.chunks_count", 9)
    for add, value in (
        (writer.add_block_count, 1),
        (writer.add_context_length, 64),
        (writer.add_embedding_length, 8),
        (writer.add_feed_forward_length, 16),
        (writer.add_head_count, 2),
        (writer.add_vocab_size, 3),
        (writer.add_expert_count, 0),
        (writer.add_expert_used_count, 0),
    ):
        add(value)
    writer.add_tensor("token_embd.weight", np.zeros((5, 8), np.float32))
    finish(writer)
    config = load_config(str(tmp_path / "model.gguf")).config
    assert (config.d_model, config.vocab_size, config.feed_forward.n_experts) == (8, 5, None)


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("embedding_length", 0, "out-of-range"),
        ("embedding_length", -1, "out-of-range"),
        ("embedding_length", "8", "wrong-type"),
        ("block_count", 2**60, "out-of-range"),
        ("attention.head_count", 0, "out-of-range"),
        ("attention.head_count", 0.5, "wrong-type"),
        ("rope.freq_base", float("nan"), "not-finite"),
        ("attention.layer_norm_rms_epsilon", float("inf"), "not-finite"),
        ("attention.key_length", 2**50, "out-of-range"),
        ("rope.dimension_count", 2**50, "unknown-setting"),
        ("rope.scaling.type", "unheard-of", "unknown-setting"),
        ("rope.scaling.factor", "x", "wrong-type"),
    ],
)
def test_impossible_values(tmp_path: Path, key: str, value: Any, code: str) -> None:
    assert code in [each for each, _ in errors_of(header(tmp_path / "model.gguf", **{key: value}))]


@pytest.mark.parametrize("value", ["none", 7, 0.5, float("inf")])
def test_impossible_bias_of_alibi(tmp_path: Path, value: Any) -> None:
    """A value that MPT does not have is an error at the key, of whatever type."""
    found = errors_of(header(tmp_path / "model.gguf", "mpt", **{"attention.max_alibi_bias": value}))
    assert any("alibi_bias_max" in message for _, message in found)


def test_every_architecture_is_written() -> None:
    assert written_files.ARCHITECTURES.keys() == ARCHITECTURES.keys() | READ_ONLY.keys()
