"""Leftover keys of a config.json: without effect at their value, in another name, or not understood."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop.changes import Change, errors_of
from tinylm_cli.interop.inert_keys import INERT, is_inert
from tinylm_cli.interop.load import import_config, load_config

LEFTOVERS: list[tuple[str, dict[str, Any]]] = [
    ("qwen2", {"use_mrope": False}),
    ("qwen2", {"use_mrope": False, "use_logn_attn": False, "vision_start_token_id": 151652}),
    ("llama", {"max_sequence_length": 2048}),
    ("llama", {"n_ctx": 1, "seq_length": 2}),
    ("llama", {"transformers.js_config": {"dtype": "q4"}, "is_llama_config": True, "rope_interleaved": False}),
    ("llama", {"quantization": {"group_size": 64, "bits": 4}, "tokenizer_padding_side": "left"}),
    ("llama", {"learning_rate": 1e-4, "neftune_noise_alpha": 5, "lora_alpha": 16, "hidden_dropout_prob": 0.1}),
    ("llama", {"use_qk_norm": False, "qkv_bias": False, "tie_embeddings": False, "norm_type": "RMSNorm"}),
    ("llama", {"num_experts": 0, "logit_scale": 1.0, "attn_logit_softcapping": 0.0, "pipeline_tag": "none"}),
    ("llama", {"position_embedding_type": "rope", "use_rope": True, "activation_function": "silu", "alibi": False}),
    ("llama", {"layer_norm_eps": 1e-12, "n_layer": 3, "n_head": 5, "dim": 7}),
    ("llama", {"is_causal": True, "layer_types": ["full_attention"]}),
    ("llama", {"moe": {}, "extra_heads": [], "adapter": {"enabled": False}}),
    ("gpt_neox", {"custom_pipeline": {"text-generation": {"impl": "my_pipeline.Mine"}}, "use_bias": True}),
    ("falcon", {"n_head": 71, "n_layer": 32}),
    ("qwen3_moe", {"qkv_bias": False, "use_qk_norm": True, "shared_expert_intermediate_size": 0}),
    ("qwen3", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "attn_factor": 0.88, "mrope": [1]}}),
    ("mistral", {"sliding_window_pattern": 0, "use_sliding_window": False, "max_new_tokens": 64}),
    ("gpt2", {"position_embedding_type": "absolute", "pre_norm": True}),
    ("deepseek_v3", {"use_cache_quantization": True, "unknown_feature": False}),
    ("llama", {"author": "someone", "tags": ["a", "b"], "language": ["en"], "library_name": "x", "metadata": {"n": 1}}),
    ("llama", {"system_prompt": "You are …", "prompts": {"query": "q: "}, "base_model_config": "x/y"}),
    ("llama", {"load_in_4bit": True, "sample_packing": True, "unsloth_training": True, "num_steps": "global_step1000"}),
    ("llama", {"vllm_version": 3, "gpu_memory_utilization": 0.9, "tensor_parallel_size": 2, "fuse_rms_norm": True}),
    ("llama", {"num_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 7, "moe_layer_freq": 1}),
    (
        "llama",
        {"sliding_window": 131072, "multi_query_attention": True, "attn_type": "gqa", "scale_attn_weights": True},
    ),
    ("llama", {"original_vocab_size": 128000, "pad_vocab_size_multiple": 64, "residual_multiplier": 1.0}),
    ("deepseek_v3", {"attn_type": "mla", "q_head_dim": 192, "attention_kind": "latent"}),
    ("gpt2", {"hidden_act": "relu", "activation": "swiglu"}),
    ("llama", {"topk_method": "greedy", "n_group": 8, "scoring_func": "sigmoid", "rotary_dim": 128}),
    ("glm4_moe", {"topk_method": "noaux_tc", "scoring_func": "sigmoid"}),
    ("qwen2_moe", {"n_group": 1, "topk_group": 1, "topk_method": "greedy", "scoring_func": "softmax"}),
    ("mixtral", {"moe_intermediate_size": 14336, "moe_dropless": True}),
    ("mixtral", {"n_routed_experts": 8, "moe_top_k": 2, "n_shared_experts": 0}),
]


def _case(keys: dict[str, Any]) -> str:
    return "-".join(keys)


@pytest.mark.parametrize(("sample", "keys"), LEFTOVERS, ids=[f"{name}-{_case(keys)}" for name, keys in LEFTOVERS])
def test_leftover_keys(sample: str, keys: dict[str, Any], changed: Change) -> None:
    """The config is the same as without them, and import lists them."""
    without = {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}} if "rope_scaling" in keys else {}
    expected = load_config(changed(sample, **without)).config
    found = import_config(changed(sample, **keys))
    assert found.loaded.config == expected
    names = {"rope_scaling.attn_factor", "rope_scaling.mrope"} if "rope_scaling" in keys else keys.keys()
    assert names <= set(found.ignored)


@pytest.mark.parametrize(("sample", "keys"), LEFTOVERS, ids=[f"{name}-{_case(keys)}" for name, keys in LEFTOVERS])
def test_leftover_keys_in_transformers(sample: str, keys: dict[str, Any], changed: Change) -> None:
    """Transformers builds the same tensors with and without them."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sizes = {"num_hidden_layers": 1, "n_layer": 1} if sample != "falcon" else {"num_hidden_layers": 1}
    sizes = {name: size for name, size in sizes.items() if name in json.loads(Path(changed(sample)).read_text())}
    shapes = []
    for more in (keys, {}):
        body = json.loads(
            Path(changed(sample, **sizes, **{key: more[key] for key in more if key not in sizes})).read_text()
        )
        body.pop("quantization_config", None)
        config = transformers.AutoConfig.for_model(body.pop("model_type"), **body)
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config)
        shapes.append({name: tuple(tensor.shape) for name, tensor in model.named_parameters()})
    assert shapes[0] == shapes[1]


UNDERSTOOD_BY_NONE: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"use_qk_norm": True}),
    ("llama", {"qkv_bias": True}),
    ("llama", {"norm_type": "layernorm"}),
    ("llama", {"position_embedding_type": "alibi"}),
    ("llama", {"alibi": True}),
    ("llama", {"use_rope": False}),
    ("llama", {"is_causal": False}),
    ("llama", {"num_experts": 8}),
    ("llama", {"logit_scale": 0.5}),
    ("llama", {"num_hidden_layers": ..., "n_layer": 3}),
    ("llama", {"layer_types": ["full_attention", "linear_attention"]}),
    ("qwen3", {"use_qk_norm": False}),
    ("qwen2", {"qkv_bias": False}),
    ("mistral", {"conv_kernel_size": 4}),
    ("llama", {"num_image_tokens": 4}),
    ("llama", {"attention_variant": "differential"}),
    ("llama", {"mlp_gate": True}),
    ("qwen2_moe", {"topk_method": "noaux_tc"}),
    ("qwen2_moe", {"scoring_func": "sigmoid"}),
    ("qwen2_moe", {"n_group": 4}),
    ("llama", {"rotary_dim": 64}),
    ("llama", {"n_shared_experts": 1}),
    ("llama", {"sliding_window": 4096}),
    ("llama", {"multi_query": False}),
    ("deepseek_v3", {"q_head_dim": 128}),
    ("deepseek_v3", {"attn_type": "gqa"}),
]


@pytest.mark.parametrize(
    ("sample", "keys"), UNDERSTOOD_BY_NONE, ids=[f"{name}-{_case(keys)}" for name, keys in UNDERSTOOD_BY_NONE]
)
def test_keys_that_contradict_the_family(sample: str, keys: dict[str, Any], changed: Change) -> None:
    """Neither off nor what the family does: the key may change the model."""
    assert [code for code, _ in errors_of(changed(sample, **keys))] == ["unknown-setting"]


def test_inner_norms_of_jamba(changed: Change) -> None:
    """Old configs state that the mixers have norms, which is always so."""
    assert load_config(changed("jamba", mamba_inner_layernorms=True)).config == load_config(changed("jamba")).config
    found = errors_of(changed("jamba", mamba_inner_layernorms=False))
    assert [code for code, _ in found] == ["unsupported-setting"]


def test_keys_of_other_tasks() -> None:
    """Every key of transformers' base config and of generation is known to be without effect."""
    transformers = pytest.importorskip("transformers")
    read = {"is_encoder_decoder", "tie_word_embeddings", "attribute_map", "sub_configs_defaults", "base_config_key"}
    base = transformers.PretrainedConfig.__dataclass_fields__.keys() - read
    generation = transformers.GenerationConfig().to_dict()
    assert {key for key in {*base, *generation} if not is_inert(key, 1)} == set()


@pytest.mark.parametrize(
    "key",
    [
        "layer_scale_init_value", "conv_kernel", "num_loss_layers", "q_lora_rank", "seedling",
        "fused_qkv_bias", "init_bias", "grad_heads", "use_dropout_gate", "token_ids_embedding", "loss_proj",
    ],
)  # fmt: skip
def test_names_of_parts(key: str) -> None:
    """A part of a name about training does not make a key inert if it counts or sizes a part of the model."""
    assert key not in INERT
    assert not is_inert(key, 4)


@pytest.mark.parametrize(
    "key", ["head_init_std", "mlp_dropout_rate", "gate_init", "proj_pdrop", "sink_dtype", "adapter_lr"]
)
def test_settings_of_training(key: str) -> None:
    """A key about training may name the part that it is for."""
    assert key not in INERT
    assert is_inert(key, 0.25)
