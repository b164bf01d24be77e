"""Every family: a published config gives the right fields, and as many parameters as transformers' module."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch
import transformers

from tests.interop.changes import Change
from tests.interop.empty_encoder import empty_encoder
from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.fields import fields
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig, flatten
from tinylm_cli.errors import ConfigError
from tinylm_cli.interop.families import FAMILIES, Family
from tinylm_cli.interop.load import ImportedConfig, import_config, load_config
from tinylm_cli.interop.shared_keys import filled_fields

CONFIGS = Path(__file__).resolve().parent / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.json"))

LLAMA: dict[str, Any] = {
    "embedding.multiplier": 1.0,
    "position.kind": "rope",
    "position.pairing": "half",
    "norm.kind": "rmsnorm",
    "norm.placement": "pre",
    "attention.bias": False,
    "feed_forward.activation": "silu",
    "feed_forward.gated": True,
    "feed_forward.bias": False,
    "tie_weights": False,
    "dropout": 0.0,
    "block.parallel": False,
}


GEMMA3N: dict[str, Any] = {
    **LLAMA, "embedding.multiplier": None, "norm.placement": "sandwich", "attention.qk_norm": "per_head",
    "attention.v_norm": True, "attention.scale": 1.0, "feed_forward.activation": "gelu_tanh", "tie_weights": True,
    "embedding.d_per_layer": 256, "embedding.per_layer_vocab_size": 262144, "block.altup_streams": 4,
    "block.laurel_rank": 64, "d_model": 2048, "d_ff": 16384, "n_layers": 35, "n_heads": 8, "attention.n_kv_heads": 2,
    "vocab_size": 262400, "max_len": 32768, "head.logit_softcap": 30.0, "position.theta": 1e6,
    "layers.pattern": "2 (4 sparse-local, sparse-full), 2 (4 local, full), 3 (4 shared-local, shared-full)",
    "layers.kinds": {
        "sparse-local": {
            "position": {"theta": 1e4}, "attention": {"window": 512}, "feed_forward": {"activation_sparsity": 0.95},
        },
        "sparse-full": {"feed_forward": {"activation_sparsity": 0.95}},
        "local": {"position": {"theta": 1e4}, "attention": {"window": 512}},
        "full": {},
        "shared-local": {"position": {"theta": 1e4}, "attention": {"window": 512, "kv_from": "local"}},
        "shared-full": {"attention": {"kv_from": "full"}},
    },
}  # fmt: skip
GEMMA4: dict[str, Any] = {
    **LLAMA,
    "embedding.multiplier": None,
    "norm.placement": "sandwich",
    "attention.qk_norm": "per_head",
    "attention.v_norm": True,
    "attention.scale": 1.0,
    "feed_forward.activation": "gelu_tanh",
    "tie_weights": True,
    "block.layer_scalar": True,
}


def _sharper(weight: float) -> float:
    return 0.1 * weight * math.log(40.0) + 1.0


EXPECTED: dict[str, dict[str, Any]] = {
    "openai-gpt": {
        "vocab_size": 40478, "d_ff": 3072, "max_len": 512, "dropout": 0.1, "tie_weights": True,
        "position.kind": "learned", "feed_forward.activation": "gelu_tanh", "norm.kind": "layernorm",
        "norm.placement": "post_residual",
    },
    "bert-generation": {
        "vocab_size": 50358, "d_model": 1024, "n_layers": 24, "d_ff": 4096, "max_len": 512, "tie_weights": True,
        "position.kind": "learned", "embedding.norm": True, "norm.eps": 1e-12, "norm.placement": "post_residual",
        "feed_forward.activation": "gelu", "head.bias": True,
    },
    "beam": {
        **LLAMA, "norm.placement": "sandwich", "norm.eps": 1e-6, "attention.qk_norm": "per_head",
        "attention.gate": True, "attention.gate_bias": "per_head", "attention.gate_per_head": False,
        "attention.d_head": 128, "attention.n_kv_heads": 8, "n_heads": 48, "position.theta": 1e4,
        "block.depth_scaled_residual": True, "head.logit_softcap": 30.0,
        "feed_forward.router": "sigmoid", "feed_forward.score_correction": True, "feed_forward.n_experts": 256,
        "feed_forward.n_groups": 8, "feed_forward.top_k_groups": 4, "feed_forward.d_expert": 2560,
        "feed_forward.routed_scale": 2.5, "feed_forward.renormalize": True,
        "layers.pattern": "3 local_dense, 2 local, 7 (full, 5 local), full, 3 local, full",
        "layers.kinds": {
            "local_dense": {"attention": {"window": 512}, "feed_forward": {"n_experts": None}},
            "local": {"attention": {"window": 512}},
            "full": {
                "position": {"kind": "none"},
                "attention": {
                    "temperature_scale": 0.1, "temperature_len": 2048, "temperature_offset": 1,
                    "temperature_growth": "power",
                },
            },
        },
    },
    "doge": {
        **LLAMA, "norm.eps": 1e-6, "attention.qk_norm": "per_head", "n_heads": 8, "position.theta": 1e4,
        "attention.dynamic_mask_top_k": 2048, "attention.window": None, "block.skip_weight": True, "max_len": 2048,
    },
    "laguna": {
        **LLAMA, "attention.gate": True, "attention.gate_activation": "softplus", "attention.gate_per_head": True,
        "attention.qk_norm": "per_head", "attention.d_head": 128, "attention.n_kv_heads": 8, "n_heads": 48,
        "feed_forward.router": "sigmoid", "feed_forward.score_correction": True, "feed_forward.n_experts": 256,
        "feed_forward.n_shared_experts": 1, "feed_forward.d_expert": 512, "feed_forward.routed_scale": 2.5,
        "position.rotary_fraction": 0.5, "position.scaling": "yarn", "position.theta": 5e5,
        "layers.first": "full_dense",
    },
    "gpt2": {
        "vocab_size": 50257, "d_ff": 3072, "max_len": 1024, "dropout": 0.1, "tie_weights": True,
        "embedding.multiplier": 1.0, "position.kind": "learned", "feed_forward.activation": "gelu_tanh",
        "norm.kind": "layernorm", "norm.eps": 1e-5, "attention.bias": True, "attention.scale": None,
    },
    "gptj": {
        "d_ff": 16384, "position.kind": "rope", "position.pairing": "adjacent", "position.rotary_fraction": 0.25,
        "attention.bias": False, "feed_forward.bias": True, "block.parallel": True, "block.shared_norm": True,
        "head.bias": True, "tie_weights": False,
    },
    "gpt_neox": {
        "position.rotary_fraction": 0.25, "position.theta": 1e4, "block.parallel": True, "block.shared_norm": False,
        "feed_forward.activation": "gelu", "attention.bias": True, "tie_weights": False, "dropout": 0.0,
    },
    "opt": {
        "position.kind": "learned", "position.offset": 2, "max_len": 2048, "feed_forward.activation": "relu",
        "tie_weights": True, "dropout": 0.1, "norm.eps": 1e-5,
    },
    "mamba2": {
        "d_model": 4096, "n_layers": 64, "block.mixer": "mamba2", "block.feed_forward": False, "position.kind": "none",
        "mamba2.n_heads": 128, "mamba2.d_head": 64, "mamba2.d_state": 128, "mamba2.n_groups": 8, "mamba2.min_dt": 0.0,
        "mamba2.max_dt": None, "mamba2.norm": "grouped", "norm.kind": "rmsnorm", "tie_weights": False,
    },
    "bloom": {
        "d_model": 1024, "d_ff": 4096, "n_heads": 16, "n_layers": 24, "max_len": 2048, "position.kind": "alibi",
        "embedding.norm": True, "feed_forward.activation": "gelu_tanh", "tie_weights": True,
    },
    "falcon": {
        "d_ff": 18176, "attention.n_kv_heads": 1, "attention.bias": False, "feed_forward.bias": False,
        "block.parallel": True, "block.shared_norm": True, "tie_weights": True, "position.kind": "rope",
    },
    "falcon-new": {
        "d_ff": 32768, "attention.n_kv_heads": 8, "block.parallel": True, "block.shared_norm": False,
    },
    "llama-2": {**LLAMA, "attention.n_kv_heads": None, "norm.eps": 1e-5, "position.theta": 1e4, "max_len": 4096},
    "llama": {
        **LLAMA, "attention.n_kv_heads": 8, "position.theta": 5e5, "position.scaling": "llama3",
        "position.scaling_factor": 8.0, "position.original_max_len": 8192, "position.low_freq_factor": 1.0,
        "position.high_freq_factor": 4.0, "max_len": 131072, "attention.d_head": None,
    },
    "mistral": {**LLAMA, "attention.n_kv_heads": 8, "attention.window": 4096, "attention.window_pattern": "L"},
    "mixtral": {
        **LLAMA, "attention.window": None, "position.theta": 1e6, "feed_forward.n_experts": 8, "feed_forward.top_k": 2,
        "feed_forward.router": "topk_softmax", "feed_forward.d_expert": None,
    },
    "qwen2": {
        **LLAMA, "attention.bias": True, "attention.out_bias": False, "attention.window": None, "tie_weights": True,
        "position.theta": 1e6, "norm.eps": 1e-6, "attention.n_kv_heads": 2,
    },
    "qwen3": {
        **LLAMA, "attention.d_head": 128, "attention.qk_norm": "per_head", "tie_weights": True, "max_len": 40960,
        "attention.n_kv_heads": 8,
    },
    "qwen3_moe": {
        **LLAMA, "attention.d_head": 128, "attention.qk_norm": "per_head", "d_ff": 6144, "feed_forward.d_expert": 768,
        "feed_forward.n_experts": 128, "feed_forward.top_k": 8, "feed_forward.router": "softmax",
        "feed_forward.renormalize": True, "feed_forward.n_dense_layers": 0,
    },
    "granitemoe": {
        **LLAMA, "attention.scale": 1.0, "head.logit_scale": 1.0, "feed_forward.n_experts": 8, "feed_forward.top_k": 2,
        "feed_forward.router": "topk_softmax", "feed_forward.d_expert": None, "d_ff": 11008,
    },
    "granitemoeshared": {
        **LLAMA, "attention.scale": 1.0, "head.logit_scale": 1.0, "feed_forward.n_experts": 8, "feed_forward.top_k": 2,
        "feed_forward.n_shared_experts": 1, "d_ff": 11008,
    },
    "granitemoe_swa": {
        **LLAMA, "attention.sinks": True, "attention.window": 128, "attention.window_pattern": "GLLL",
        "feed_forward.n_experts": 8, "feed_forward.top_k": 2, "feed_forward.n_shared_experts": 0,
    },
    "hunyuan_v1_moe": {
        **LLAMA, "attention.qk_norm": "per_head", "attention.qk_norm_after_rope": True, "feed_forward.n_experts": 16,
        "feed_forward.top_k": 1, "feed_forward.n_shared_experts": 1, "feed_forward.renormalize": True,
    },
    "flex_olmo": {
        **LLAMA, "norm.placement": "post", "attention.qk_norm": "full", "position.theta": 5e5,
        "feed_forward.n_experts": 7, "feed_forward.top_k": 5, "feed_forward.router": "softmax",
    },
    "dots1": {
        **LLAMA, "attention.qk_norm": "per_head", "attention.window": None, "feed_forward.n_dense_layers": 1,
        "feed_forward.n_experts": 16, "feed_forward.n_shared_experts": 2, "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
    },
    "glm4_moe": {
        **LLAMA, "attention.d_head": 128, "position.rotary_fraction": 0.5, "attention.qk_norm": "none",
        "attention.bias": True, "attention.out_bias": False, "position.theta": 1e6,
        "feed_forward.n_dense_layers": 1, "feed_forward.n_experts": 128, "feed_forward.top_k": 8,
        "feed_forward.d_expert": 1408, "feed_forward.n_shared_experts": 1, "feed_forward.renormalize": True,
    },
    "glm4_moe_lite": {
        **LLAMA, "attention.kind": "latent", "position.pairing": "adjacent", "attention.q_rank": 768,
        "attention.kv_rank": 512, "attention.d_nope": 192, "attention.d_rope": 64, "attention.d_value": 256,
        "attention.latent_norm_eps": 1e-6, "norm.eps": 1e-5, "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True, "feed_forward.renormalize": True, "feed_forward.n_experts": 64,
        "feed_forward.top_k": 4, "feed_forward.d_expert": 1536, "feed_forward.n_shared_experts": 1,
        "feed_forward.n_dense_layers": 1, "feed_forward.routed_scale": 1.8, "position.theta": 1e6,
    },
    "ernie4_5_moe": {
        **LLAMA, "tie_weights": True, "position.pairing": "adjacent", "position.theta": 5e5,
        "attention.n_kv_heads": 4, "feed_forward.router": "softmax", "feed_forward.score_correction": True,
        "feed_forward.renormalize": True, "feed_forward.n_experts": 64, "feed_forward.top_k": 6,
        "feed_forward.d_expert": 1536, "feed_forward.n_shared_experts": 2, "feed_forward.n_dense_layers": 1,
    },
    "axk1": {
        **LLAMA, "attention.kind": "latent", "position.pairing": "adjacent", "attention.q_rank": 1536,
        "feed_forward.router": "sigmoid", "feed_forward.score_correction": True, "feed_forward.renormalize": True,
        "feed_forward.n_experts": 192, "feed_forward.n_groups": 8, "feed_forward.top_k_groups": 4,
        "feed_forward.n_dense_layers": 1, "feed_forward.out_norm": True, "feed_forward.routed_scale": 2.5,
        "position.scaling": "yarn", "position.scaling_factor": 32.0,
    },
    "deepseek_v32": {
        **LLAMA, "attention.kind": "latent", "attention.q_rank": 1536, "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True, "feed_forward.renormalize": True, "feed_forward.n_groups": 8,
        "feed_forward.top_k_groups": 4, "feed_forward.n_dense_layers": 3, "feed_forward.routed_scale": 2.5,
        "position.pairing": "adjacent", "attention.scale": 192**-0.5 * _sharper(1.0) * _sharper(1.0),
        "attention.index_top_k": 2048, "attention.index_n_heads": 64, "attention.index_d_head": 128,
        "attention.index_pairing": "half",
    },
    "hy_v4": {
        **LLAMA, "attention.kind": "latent", "attention.q_rank": 1536, "attention.kv_rank": 512,
        "attention.d_nope": 192, "attention.d_rope": 64, "attention.d_value": 256, "attention.gate": True,
        "attention.sinks": True, "attention.index_top_k": 2048, "attention.index_n_heads": 16,
        "attention.index_d_head": 128, "attention.index_rope_last": True, "attention.index_norm_eps": 1e-5,
        "attention.index_pairing": "half", "feed_forward.router": "sigmoid", "feed_forward.score_correction": True,
        "feed_forward.n_experts": 256, "feed_forward.d_expert": 768, "feed_forward.expert_clamp": 10.0,
        "block.hyper_streams": 4, "block.hyper_write_scale": 2.0, "block.hyper_eps": 1e-6, "norm.eps": 1e-5,
        "layers.kinds": {
            "indexed": {},
            "indexed_dense": {"feed_forward": {"n_experts": None}},
            "shared": {"attention": {"index_shared": True}},
        },
    },
    "axk2": {
        **LLAMA, "attention.kind": "latent", "attention.q_rank": 384, "attention.kv_rank": 128, "attention.d_nope": 64,
        "attention.d_rope": 32, "attention.d_value": 64, "attention.gate": True, "attention.q_concat_raw": True,
        "attention.index_top_k": 2048, "attention.index_n_heads": 16, "attention.index_d_head": 128,
        "feed_forward.router": "sigmoid", "feed_forward.score_correction": True, "feed_forward.n_experts": 128,
        "feed_forward.n_groups": 1, "block.mixer_norm_gate_rank": 16, "block.feed_forward_norm_gate_rank": 16,
        "position.pairing": "adjacent", "layers.first": "dense", "layers.pattern": "experts",
        "layers.kinds": {
            "experts": {},
            "dense": {"feed_forward": {"n_experts": None}, "block": {"feed_forward_norm_gate_rank": None}},
        },
    },
    "glm_moe_dsa": {
        **LLAMA, "attention.kind": "latent", "attention.q_rank": 2048, "attention.kv_rank": 512,
        "attention.d_nope": 192, "attention.d_rope": 64, "attention.d_value": 256, "attention.latent_norm_eps": 1e-6,
        "norm.eps": 1e-5, "feed_forward.router": "sigmoid", "feed_forward.score_correction": True,
        "feed_forward.renormalize": True, "feed_forward.n_experts": 256, "feed_forward.n_dense_layers": 3,
        "feed_forward.routed_scale": 2.5, "position.pairing": "adjacent", "position.theta": 1e6,
        "attention.index_top_k": 2048, "attention.index_n_heads": 32, "attention.index_d_head": 128,
        "attention.index_pairing": "adjacent",
    },
    "dots3_note_text": {
        **LLAMA, "attention.kind": "latent", "attention.q_rank": 1024, "attention.kv_rank": 512,
        "attention.d_nope": 128, "attention.d_rope": 64, "attention.d_value": 128, "attention.scale_latents": True,
        "attention.k_rope_norm": True, "attention.gate": True, "attention.gate_per_head": True, "norm.eps": 1e-5,
        "attention.latent_norm_eps": None, "position.pairing": "adjacent", "position.theta": 8e7,
        "attention.index_top_k": 2048, "attention.index_n_heads": 64, "attention.index_d_head": 128,
        "attention.index_pairing": "adjacent", "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True, "feed_forward.renormalize": True, "feed_forward.n_experts": 256,
        "feed_forward.d_expert": 1536, "feed_forward.d_shared_expert": 1536, "feed_forward.n_shared_experts": 1,
        "layers.first": "indexed_dense", "layers.pattern": "indexed, 3 local", "layers.last": "indexed",
        "layers.kinds": {
            "indexed": {},
            "indexed_dense": {"feed_forward": {"n_experts": None}},
            "local": {
                "n_heads": 64, "position": {"theta": 5e4},
                "attention": {"kv_rank": 1024, "d_nope": 192, "window": 512, "index_top_k": None},
            },
        },
    },
    "bailing_hybrid": {
        **LLAMA, "attention.kind": "latent", "position.pairing": "adjacent", "position.theta": 6e6,
        "attention.kv_rank": 512, "attention.q_rank": None, "attention.gate": True, "attention.gate_per_head": True,
        "norm.eps": 1e-6, "feed_forward.router": "sigmoid", "feed_forward.score_correction": True,
        "feed_forward.renormalize": True, "feed_forward.n_experts": 512, "feed_forward.top_k": 8,
        "feed_forward.d_expert": 768, "feed_forward.n_shared_experts": 1, "feed_forward.n_groups": 8,
        "feed_forward.top_k_groups": 4, "feed_forward.routed_scale": 2.5, "kimi_delta_attention.n_heads": 32,
        "kimi_delta_attention.d_head": 128, "kimi_delta_attention.gate_rank": None,
        "kimi_delta_attention.max_decay_rate": 5.0, "layers.first": "2 linear_dense, 3 linear",
        "layers.pattern": "full, 5 linear", "layers.last": "full",
        "layers.kinds": {
            "linear_dense": {
                "block": {"mixer": "kimi_delta_attention"}, "feed_forward": {"n_experts": None},
            },
            "linear": {"block": {"mixer": "kimi_delta_attention"}},
            "full": {},
        },
    },
    "kimi_linear": {
        **LLAMA, "attention.kind": "latent", "position.kind": "none", "attention.kv_rank": 512,
        "attention.q_rank": None, "attention.d_nope": 128, "attention.d_rope": 64, "attention.d_value": 128,
        "attention.latent_norm_eps": 1e-6, "norm.eps": 1e-5, "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True, "feed_forward.renormalize": True, "feed_forward.n_experts": 256,
        "feed_forward.top_k": 8, "feed_forward.d_expert": 1024, "feed_forward.n_shared_experts": 1,
        "feed_forward.routed_scale": 2.446, "kimi_delta_attention.n_heads": 32, "kimi_delta_attention.d_head": 128,
        "kimi_delta_attention.gate_rank": 128, "kimi_delta_attention.kernel_size": 4,
        "kimi_delta_attention.max_decay_rate": None,
        "layers.pattern": "linear_dense, 2 linear, 5 (full, 3 linear), full, 2 linear, full",
        "layers.kinds": {
            "linear_dense": {
                "block": {"mixer": "kimi_delta_attention"}, "feed_forward": {"n_experts": None},
            },
            "linear": {"block": {"mixer": "kimi_delta_attention"}},
            "full": {},
        },
    },
    "sarvam_moe": {
        **LLAMA, "attention.d_head": None, "position.rotary_fraction": 1.0, "attention.qk_norm": "per_head",
        "position.theta": 8e6, "feed_forward.n_dense_layers": 1, "feed_forward.n_experts": 128, "feed_forward.top_k": 6,
        "feed_forward.d_expert": 1024, "feed_forward.n_shared_experts": 1, "feed_forward.routed_scale": 2.5,
    },
    "sarvam_mla": {
        **LLAMA, "attention.kind": "latent", "attention.q_rank": None, "attention.kv_rank": 512, "d_ff": 16384,
        "position.scaling": "yarn", "position.pairing": "adjacent", "feed_forward.n_dense_layers": 1,
        "feed_forward.n_groups": 1, "feed_forward.n_experts": 128, "feed_forward.top_k": 8,
        "feed_forward.score_correction": True, "attention.scale": 192**-0.5 * _sharper(1.0) * _sharper(1.0),
    },
    "lara_mini": {
        **LLAMA, "attention.d_head": 128, "attention.qk_norm": "per_head", "d_ff": 512, "feed_forward.n_experts": 128,
        "tie_weights": True, "feed_forward.top_k": 4, "feed_forward.d_shared_expert": 512,
        "feed_forward.shared_expert_gate": False, "gated_deltanet.n_key_heads": 8, "gated_deltanet.n_value_heads": 16,
        "feed_forward.renormalize": True,
        "layers.pattern": "linear, local, linear, full, local", "layers.last": "linear, local, linear, full",
    },
    "phimoe": {
        **LLAMA, "norm.kind": "layernorm", "norm.bias": None, "attention.bias": True, "head.bias": True,
        "feed_forward.n_experts": 16, "feed_forward.top_k": 2, "feed_forward.router": "sparsemixer", "d_ff": 6400,
        "feed_forward.router_jitter": 0.01, "position.scaling": "longrope", "position.original_max_len": 4096,
        "position.attention_factor": 1.243163121016122,
    },
    "kolibri1": {
        **LLAMA, "norm.placement": "sandwich", "attention.qk_norm": "per_head", "attention.d_head": 128, "d_ff": 512,
        "feed_forward.n_experts": 384, "feed_forward.d_shared_expert": 512, "feed_forward.score_correction": True,
        "feed_forward.correct_logits": True, "feed_forward.renormalize": False, "layers.pattern": "4 local, full",
    },
    "dbrx": {
        **LLAMA, "norm.kind": "layernorm", "norm.bias": False, "attention.clip_qkv": 8.0, "attention.n_kv_heads": 8,
        "d_ff": 10752, "feed_forward.n_experts": 16, "feed_forward.top_k": 4, "feed_forward.router": "softmax",
        "feed_forward.renormalize": True, "position.theta": 5e5, "tie_weights": False,
    },
    "flint": {
        **LLAMA, "attention.sinks": True, "attention.qk_norm": "per_head", "feed_forward.router": "sigmoid",
        "feed_forward.n_experts": 256, "feed_forward.d_shared_expert": 1024, "feed_forward.shared_expert_gate": False,
        "layers.pattern": "2 full_dense, 11 (3 local, full), 2 local, full",
    },
    "aria_text": {
        **LLAMA, "attention.d_head": None, "d_ff": 1664, "feed_forward.n_experts": 64, "feed_forward.top_k": 6,
        "feed_forward.router": "topk_softmax", "feed_forward.n_shared_experts": 2, "feed_forward.d_expert": None,
    },
    "minimax_m3_vl_text": {
        **LLAMA, "attention.qk_norm": "per_head", "norm.zero_centered": True, "position.rotary_fraction": 0.5,
        "d_ff": 12288, "feed_forward.d_expert": 3072, "feed_forward.d_shared_expert": 3072,
        "feed_forward.n_dense_layers": 3, "feed_forward.activation": "quick_gelu", "feed_forward.clamp": 7.0,
    },
    "solar_open": {
        **LLAMA, "attention.d_head": 128, "position.theta": 1e6, "d_ff": 1280, "feed_forward.n_dense_layers": 0,
        "feed_forward.n_experts": 128, "feed_forward.n_shared_experts": 1, "feed_forward.score_correction": True,
    },
    "minimax": {
        **LLAMA, "n_layers": 80, "d_ff": 9216, "attention.d_head": 128, "position.theta": 1e7,
        "feed_forward.n_experts": 32, "feed_forward.top_k": 2, "feed_forward.router": "topk_softmax",
        "block.normed_residual": True, "block.skip_multiplier": 3.5565588200778455,
        "lightning_attention.n_heads": 64, "lightning_attention.d_head": 128, "lightning_attention.o_norm_eps": 1e-6,
        "layers.pattern": "7 linear, full",
        "layers.kinds": {"linear": {"block": {"mixer": "lightning_attention"}}, "full": {}},
    },
    "minimax_m2": {
        **LLAMA, "attention.qk_norm": "full", "attention.d_head": 128, "position.rotary_fraction": 0.5,
        "position.theta": 5e6, "feed_forward.n_experts": 256, "feed_forward.score_correction": True,
    },
    "exaone_moe": {
        **LLAMA, "attention.qk_norm": "per_head", "feed_forward.n_experts": 64, "feed_forward.top_k": 8,
        "feed_forward.d_expert": 1024, "feed_forward.n_shared_experts": 1, "feed_forward.routed_scale": 2.5,
        "layers.first": "local_dense, 2 local", "layers.pattern": "full, 3 local", "layers.last": "full",
    },
    "afmoe": {
        **LLAMA, "attention.gate": True, "attention.qk_norm": "per_head", "norm.placement": "sandwich",
        "feed_forward.n_experts": 64, "feed_forward.n_shared_experts": 2, "feed_forward.renormalize": True,
        "layers.first": "local_dense, 2 local", "layers.pattern": "full, 3 local", "layers.last": "full",
    },
    "qwen2_moe": {
        **LLAMA, "attention.bias": True, "attention.out_bias": False, "position.theta": 1e6, "attention.window": None,
        "feed_forward.n_experts": 60, "feed_forward.top_k": 4, "feed_forward.d_expert": 1408, "d_ff": 5632,
        "feed_forward.n_shared_experts": 1, "feed_forward.d_shared_expert": 5632, "feed_forward.renormalize": False,
        "feed_forward.shared_expert_gate": True, "feed_forward.router": "softmax",
    },
    "falcon_h1": {
        **LLAMA, "block.mixer": "attention_mamba2", "position.theta": 1e11, "embedding.multiplier": 5.656854249492381,
        "attention.d_head": 64, "attention.n_kv_heads": 2, "attention.scale": 0.39062499999999994 / 8,
        "attention.out_multiplier": 0.9375, "mamba2.n_heads": 24, "mamba2.d_state": 128, "mamba2.norm": "none",
        "mamba2.multipliers": (
            *(1.25 * each for each in (0.3535533905932738, 0.25, 0.3535533905932738, 0.5, 0.3535533905932738)),
        ),
        "mamba2.out_multiplier": 0.23570226039551587, "feed_forward.gate_multiplier": 0.8838834764831844,
        "feed_forward.out_multiplier": 0.5859375, "head.logit_scale": 0.0390625,
    },
    "zamba": {  # the default config of transformers
        "norm.kind": "rmsnorm", "norm.eps": 1e-5, "position.kind": "none", "attention.d_head": 464, "d_ff": 14848,
        "attention.scale": 232**-0.5, "feed_forward.activation": "gelu", "feed_forward.gated": True,
        "mamba.n_heads": 2, "mamba.d_inner": 7424, "mamba.d_state": 16, "mamba.norm": "none",
    },
    "zamba2": {  # the default config of transformers, with two blocks, adapters of attention and RoPE
        "norm.kind": "rmsnorm", "norm.eps": 1e-5, "position.kind": "rope", "attention.d_head": 160, "d_ff": 10240,
        "attention.scale": 80**-0.5, "attention.adapter_rank": 128, "feed_forward.adapter_rank": 128,
        "feed_forward.activation": "gelu", "feed_forward.gated": True, "mamba2.n_heads": 8, "mamba2.d_head": 640,
        "mamba2.d_state": 64, "mamba2.min_dt": 0.001, "mamba2.max_dt": None, "mamba2.norm": "grouped",
        "layers.pattern": "6 mamba, 3 (hybrid-0, 5 mamba, hybrid-1, 5 mamba), hybrid-0, 4 mamba, hybrid-1, 3 mamba,"
        " hybrid-0, 2 mamba",
    },
    "qwen3_next": {
        **LLAMA, "position.theta": 1e7, "position.rotary_fraction": 0.25, "norm.zero_centered": True,
        "attention.gate": True, "attention.n_kv_heads": 2, "attention.d_head": 256, "attention.qk_norm": "per_head",
        "gated_deltanet.n_key_heads": 16, "gated_deltanet.n_value_heads": 32, "gated_deltanet.o_norm_eps": None,
        "feed_forward.n_experts": 512, "feed_forward.top_k": 10, "feed_forward.d_shared_expert": 512,
        "feed_forward.shared_expert_gate": True, "layers.pattern": "3 linear, full",
        "layers.kinds": {"linear": {"block": {"mixer": "gated_deltanet"}}, "full": {}},
    },
    "qwen3_5_text": {
        **LLAMA, "d_ff": 12288, "attention.gate": True, "position.rotary_fraction": 0.25,
        "feed_forward.n_experts": None, "gated_deltanet.n_value_heads": 32, "layers.pattern": "3 linear, full",
    },
    "qwen3_5_moe_text": {
        **LLAMA, "d_ff": 512, "feed_forward.n_experts": 256, "feed_forward.top_k": 8, "feed_forward.n_dense_layers": 0,
        "feed_forward.renormalize": True, "feed_forward.shared_expert_gate": True, "layers.pattern": "3 linear, full",
    },
    "olmo_hybrid": {
        **LLAMA, "attention.n_kv_heads": None, "norm.eps": 1e-6, "gated_deltanet.o_norm_eps": 1e-5,
        "gated_deltanet.d_key": 96, "gated_deltanet.d_value": 192, "gated_deltanet.negative_eigenvalues": True,
        "layers.pattern": "3 linear, full",
        "layers.kinds": {
            "linear": {"block": {"mixer": "gated_deltanet"}},
            "full": {"attention": {"qk_norm": "full"}, "norm": {"placement": "post"}},
        },
    },
    "olmo": {**LLAMA, "norm.kind": "layernorm", "norm.weight": False, "tie_weights": True, "norm.eps": 1e-5},
    "olmo2": {**LLAMA, "norm.placement": "post", "attention.qk_norm": "full", "norm.eps": 1e-6, "position.theta": 5e5},
    "mpt": {
        "position.kind": "alibi", "norm.kind": "layernorm", "norm.bias": False, "attention.bias": False,
        "attention.clip_qkv": None, "d_ff": 8192, "tie_weights": True, "max_len": 2048,
    },
    "granite_swa": {
        **LLAMA, "attention.sinks": True, "attention.window": 128, "attention.window_pattern": "GLLL",
        "attention.scale": 1.0, "tie_weights": True, "position.theta": 1e4,
    },
    "ctrl": {
        "embedding.multiplier": None, "position.kind": "sinusoidal", "position.sinusoids": "concatenated",
        "norm.eps": 1e-6, "head.bias": True, "d_ff": 8192, "feed_forward.activation": "relu", "tie_weights": True,
    },
    "gpt_neox_japanese": {
        "d_ff": 10240, "position.rotary_fraction": 1.0, "attention.bias": False, "feed_forward.bias": False,
        "tie_weights": True, "attention.out_bias": None,
    },
    "xglm": {
        "embedding.multiplier": None, "position.kind": "sinusoidal", "position.sinusoids": "tensor2tensor",
        "position.offset": 2, "norm.eps": 1e-5, "d_ff": 4096, "tie_weights": True, "dropout": 0.1,
    },
    "olmo3": {
        **LLAMA, "norm.placement": "post", "attention.qk_norm": "full", "attention.window": 4096,
        "attention.window_pattern": "LLLG", "position.theta": 5e5, "position.local_theta": 5e5,
        "position.scaling": "yarn", "position.scaling_factor": 8.0, "position.original_max_len": 8192,
    },
    "olmoe": {
        **LLAMA, "attention.qk_norm": "full", "feed_forward.n_experts": 64, "feed_forward.top_k": 8,
        "feed_forward.router": "softmax", "feed_forward.renormalize": False, "d_ff": 1024,
    },
    "gemma": {
        **LLAMA, "embedding.multiplier": None, "norm.zero_centered": True, "feed_forward.activation": "gelu_tanh",
        "attention.n_kv_heads": 1, "attention.d_head": None, "tie_weights": True,
    },
    "gemma2": {
        **LLAMA, "embedding.multiplier": None, "norm.zero_centered": True, "norm.placement": "sandwich",
        "feed_forward.activation": "gelu_tanh", "attention.d_head": 256, "attention.window": 4096,
        "attention.window_pattern": "LG", "attention.logit_softcap": 50.0, "head.logit_softcap": 30.0,
        "attention.scale": None, "tie_weights": True,
    },
    "gemma3_text": {
        **LLAMA, "embedding.multiplier": None, "norm.zero_centered": True, "norm.placement": "sandwich",
        "feed_forward.activation": "gelu_tanh", "attention.qk_norm": "per_head", "attention.window": 512,
        "attention.window_pattern": "LLLLLG", "position.theta": 1e6, "position.local_theta": 1e4,
        "attention.logit_softcap": None, "head.logit_softcap": None, "tie_weights": True,
    },
    "llava": {**LLAMA, "vocab_size": 32064, "d_model": 4096, "d_ff": 11008, "max_len": 4096, "norm.eps": 1e-5},
    "llava_next": {
        **LLAMA, "vocab_size": 32064, "d_ff": 14336, "attention.n_kv_heads": 8, "max_len": 32768,
        "position.theta": 1e6, "attention.window": None, "norm.eps": 1e-5,
    },
    "paligemma": {
        **LLAMA, "embedding.multiplier": None, "norm.zero_centered": True, "feed_forward.activation": "gelu_tanh",
        "attention.n_kv_heads": 1, "n_layers": 18, "vocab_size": 257216, "tie_weights": True,
    },
    "llava_onevision": {
        **LLAMA, "attention.bias": True, "attention.out_bias": False, "d_model": 3584, "n_layers": 28,
        "position.theta": 1e6, "attention.window": None, "vocab_size": 152064,
    },
    "internvl": {
        **LLAMA, "attention.bias": True, "attention.out_bias": False, "d_model": 896, "n_layers": 24,
        "attention.n_kv_heads": 2, "position.theta": 1e6, "position.scaling": "dynamic", "vocab_size": 151674,
        "attention.window": None, "tie_weights": False,
    },
    "aya_vision": {
        **LLAMA, "norm.kind": "layernorm", "norm.bias": False, "block.parallel": True, "block.shared_norm": True,
        "position.pairing": "adjacent", "position.theta": 5e4, "head.logit_scale": 0.25, "tie_weights": True,
        "attention.n_kv_heads": 8, "layers.pattern": "3 local, full",
    },
    "idefics3": {
        **LLAMA, "vocab_size": 128259, "n_layers": 32, "attention.n_kv_heads": 8, "position.theta": 5e5,
        "norm.eps": 1e-5,
    },
    "smolvlm": {
        **LLAMA, "vocab_size": 49280, "n_heads": 15, "attention.n_kv_heads": 5, "max_len": 8192, "norm.eps": 1e-5,
        "position.theta": 1e5,
    },
    "mistral3": {
        **LLAMA, "vocab_size": 131072, "d_model": 5120, "attention.d_head": 128, "attention.n_kv_heads": 8,
        "position.theta": 1e9, "attention.window": None,
    },
    "qwen2_vl": {
        **LLAMA, "attention.bias": True, "attention.out_bias": False, "d_model": 3584, "n_layers": 28,
        "position.scaling": "none", "position.theta": 1e6, "attention.window": None, "vocab_size": 152064,
    },
    "qwen2_5_vl": {"d_model": 2048, "n_layers": 36, "n_heads": 16, "max_len": 128000, "tie_weights": True},
    "qwen3_vl": {
        **LLAMA, "d_model": 2560, "n_layers": 36, "attention.qk_norm": "per_head", "position.theta": 5e6,
        "position.scaling": "none", "tie_weights": True, "attention.d_head": 128,
    },
    "qwen3_5": {
        **LLAMA, "d_ff": 17408, "attention.gate": True, "position.theta": 1e7, "position.rotary_fraction": 0.25,
        "gated_deltanet.n_value_heads": 48, "layers.pattern": "3 linear, full", "position.scaling": "none",
    },
    "qwen3_5_moe": {
        **LLAMA, "d_ff": 512, "feed_forward.n_experts": 256, "feed_forward.shared_expert_gate": True, "n_layers": 40,
    },
    "emu3": {
        **LLAMA, "dropout": 0.1, "vocab_size": 184622, "attention.n_kv_heads": 8, "position.theta": 1e6,
    },
    "dots3_note": {
        **LLAMA, "position.pairing": "adjacent", "attention.kind": "latent", "attention.scale_latents": True,
        "feed_forward.n_experts": 256, "layers.first": "indexed_dense", "layers.pattern": "indexed, 3 local",
    },
    "fuyu": {
        "position.theta": 25_000.0, "position.rotary_fraction": 0.5, "attention.qk_norm": "per_head", "d_ff": 16384,
        "feed_forward.activation": "relu2", "norm.kind": "layernorm", "n_layers": 36, "tie_weights": False,
    },
    "got_ocr2": {
        **LLAMA, "attention.bias": True, "attention.out_bias": False, "d_model": 1024, "n_layers": 24,
        "tie_weights": True, "position.theta": 1e6, "attention.window": None,
    },
    "moss_transcribe_diarize": {
        **LLAMA, "attention.qk_norm": "per_head", "d_model": 1024, "n_layers": 28, "max_len": 131072,
        "tie_weights": True, "attention.d_head": 128,
    },
    "git": {
        "position.kind": "learned", "norm.placement": "post_residual", "norm.eps": 1e-12, "embedding.norm": True,
        "feed_forward.activation": "gelu", "head.bias": True, "tie_weights": False, "max_len": 1024, "dropout": 0.1,
    },
    "phi4_multimodal": {
        **LLAMA, "d_model": 3072, "n_heads": 24, "attention.n_kv_heads": 8, "attention.window": 262144,
        "position.rotary_fraction": 0.75, "tie_weights": True, "vocab_size": 200064,
    },
    "gemma3": {
        "d_model": 2560, "n_layers": 34, "n_heads": 8, "attention.n_kv_heads": 4, "vocab_size": 262208,
        "attention.window": 1024, "attention.window_pattern": "LLLLLG", "position.scaling": "linear",
        "position.scaling_factor": 8.0, "position.theta": 1e6, "position.local_theta": 1e4, "max_len": 131072,
    },
    "gemma3n_text": GEMMA3N,
    "gemma3n": GEMMA3N,
    "gemma4_text": {
        **GEMMA4, "d_model": 5376, "n_layers": 60, "d_ff": 21504, "head.logit_softcap": 30.0,
        "layers.pattern": "5 local, full",
        "layers.kinds": {
            "local": {"position": {"theta": 1e4}, "attention": {"window": 1024}},
            "full": {
                "position": {"theta": 1e6, "rotary_fraction": 0.25, "proportional": True},
                "attention": {"d_head": 512, "n_kv_heads": 4, "keys_as_values": True},
            },
        },
    },
    "gemma4_unified_text": {
        **GEMMA4, "d_model": 2304, "n_layers": 30, "max_len": 262144, "layers.pattern": "5 local, full",
        "layers.kinds": {
            "local": {"position": {"theta": 1e4}, "attention": {"window": 1024}},
            "full": {
                "position": {"theta": 1e6, "rotary_fraction": 0.25, "proportional": True},
                "attention": {"d_head": 512},
            },
        },
    },
    "gemma4": {**GEMMA4, "d_model": 5376, "layers.pattern": "5 local, full", "head.logit_softcap": 30.0},
    "gemma4_unified": {**GEMMA4, "d_model": 2304, "layers.pattern": "5 local, full"},
    "lfm3": {
        **LLAMA, "tie_weights": True, "norm.placement": "sandwich", "attention.qk_norm": "per_head",
        "attention.gate": True, "attention.gate_per_head": True, "attention.n_kv_heads": 4, "short_conv.kernel_size": 7,
        "layers.kinds": {
            "conv": {"block": {"mixer": "short_conv"}},
            "full": {"position": {"theta": 1e6, "rotary_fraction": 0.5, "proportional": True}},
            "local": {"position": {"theta": 1e4}, "attention": {"window": 256}},
        },
    },
    "phi": {
        "position.rotary_fraction": 0.4, "block.parallel": True, "block.shared_norm": True, "head.bias": True,
        "feed_forward.activation": "gelu_tanh", "dropout": 0.1, "attention.bias": True, "norm.kind": "layernorm",
    },
    "phi3": {
        **LLAMA, "position.scaling": "longrope", "position.original_max_len": 4096, "position.scaling_factor": 32.0,
        "attention.window": 262144, "position.rotary_fraction": 1.0, "position.attention_factor": None,
    },
    "starcoder2": {
        "norm.kind": "layernorm", "attention.n_kv_heads": 2, "attention.bias": True, "feed_forward.gated": False,
        "feed_forward.activation": "gelu_tanh", "attention.window": 4096, "tie_weights": True, "dropout": 0.1,
        "position.theta": 999999.4420358813,
    },
    "stablelm": {
        **LLAMA, "norm.kind": "layernorm", "position.rotary_fraction": 0.25, "attention.bias": True,
        "attention.out_bias": False,
    },
    "glm": {
        **LLAMA, "position.pairing": "adjacent", "position.rotary_fraction": 0.5, "position.theta": 5e6,
        "attention.n_kv_heads": 2, "attention.bias": True, "attention.out_bias": False, "norm.eps": 1.5625e-7,
    },
    "glm4": {
        **LLAMA, "position.pairing": "adjacent", "position.rotary_fraction": 0.5, "attention.bias": True,
        "attention.out_bias": False, "norm.placement": "sandwich", "norm.eps": 1e-5,
    },
    "hrm_text": {
        **LLAMA, "norm.weight": False, "norm.eps": 1e-6, "attention.gate": True, "n_layers": 32, "max_len": 2048,
        "embedding.multiplier": 50.0, "loop.n_loops": 2, "loop.n_low_layers": 16, "loop.n_low_loops": 3,
    },
    "helium": {
        **LLAMA, "position.pairing": "adjacent", "position.theta": 1e5, "norm.eps": 1e-8, "max_len": 4096,
    },
    "ernie4_5": {
        **LLAMA, "position.pairing": "adjacent", "position.theta": 5e5, "attention.n_kv_heads": 2,
        "attention.d_head": 128, "tie_weights": True, "max_len": 131072,
    },
    "seed_oss": {
        **LLAMA, "attention.bias": True, "attention.out_bias": False, "attention.n_kv_heads": 8, "dropout": 0.1,
        "d_model": 5120, "n_heads": 80, "attention.d_head": 128, "position.theta": 1e7, "position.scaling": "none",
    },
    "granite": {
        **LLAMA, "embedding.multiplier": 12.0, "attention.scale": 0.0078125, "block.residual_multiplier": 0.22,
        "head.logit_scale": 0.0625, "tie_weights": True, "attention.n_kv_heads": 8, "norm.eps": 1e-5,
    },
    "exaone4": {
        **LLAMA, "norm.placement": "post", "attention.qk_norm": "per_head", "attention.window": None,
        "position.scaling": "llama3", "position.scaling_factor": 16.0, "position.theta": 1e6, "tie_weights": True,
        "attention.n_kv_heads": 8,
    },
    "cohere": {
        **LLAMA, "norm.kind": "layernorm", "norm.bias": False, "position.pairing": "adjacent", "position.theta": 8e6,
        "block.parallel": True, "block.shared_norm": True, "head.logit_scale": 0.0625, "tie_weights": True,
        "attention.n_kv_heads": None,
    },
    "cohere2": {
        **LLAMA, "norm.kind": "layernorm", "norm.bias": False, "position.pairing": "adjacent",
        "block.parallel": True, "block.shared_norm": True, "head.logit_scale": 0.0625, "tie_weights": True,
        "layers.pattern": "3 local, full",
        "layers.kinds": {"local": {"attention": {"window": 4096}}, "full": {"position": {"kind": "none"}}},
    },
    "lfm2": {
        **LLAMA, "position.theta": 1e6, "attention.n_kv_heads": 8, "attention.qk_norm": "per_head", "tie_weights": True,
        "d_ff": 8192, "short_conv.kernel_size": 3, "layers.pattern": "3 (2 conv, full), 3 (conv, full), conv",
        "layers.kinds": {"conv": {"block": {"mixer": "short_conv"}}, "full": {}}, "norm.eps": 1e-5,
    },
    "lfm2_moe": {
        **LLAMA, "position.theta": 1e6, "attention.qk_norm": "per_head", "tie_weights": True, "d_ff": 7168,
        "feed_forward.n_experts": 32, "feed_forward.top_k": 4, "feed_forward.d_expert": 1792,
        "feed_forward.router": "sigmoid", "feed_forward.score_correction": True, "feed_forward.renormalize": True,
        "layers.pattern": "2 conv_dense, 4 (full, 3 conv), 2 (full, 2 conv)",
    },
    "hy_v3": {
        **LLAMA, "attention.qk_norm": "per_head", "attention.qk_norm_after_rope": False, "position.theta": 11158840.0,
        "feed_forward.n_experts": 192, "feed_forward.d_expert": 1536, "feed_forward.n_shared_experts": 1,
        "feed_forward.routed_scale": 2.826, "feed_forward.score_correction": True, "feed_forward.n_dense_layers": 1,
    },
    "mellum": {
        **LLAMA, "attention.qk_norm": "per_head", "attention.window": 1024, "attention.window_pattern": "LLLG",
        "position.theta": 5e5, "position.local_theta": 1e4, "feed_forward.n_experts": 64, "feed_forward.top_k": 8,
        "feed_forward.router": "softmax", "feed_forward.n_dense_layers": 0, "feed_forward.d_expert": 896,
    },
    "nemotron_h": {
        "position.kind": "none", "norm.kind": "rmsnorm", "norm.eps": 1e-5, "attention.n_kv_heads": 8, "d_ff": 21504,
        "tie_weights": False, "feed_forward.activation": "relu2", "mamba2.n_heads": 128, "mamba2.n_groups": 8,
        "mamba2.min_dt": 0.001, "feed_forward.n_experts": None,
        "layers.pattern": "3 (mamba, mlp), mamba, attention, 3 (mlp, mamba), moe",
    },
    "recurrent_gemma": {
        "d_model": 2560, "d_ff": 3840, "norm.zero_centered": True, "embedding.multiplier": 50.5, "tie_weights": True,
        "attention.window": 2048, "attention.out_bias": True, "attention.bias": False, "position.rotary_fraction": 0.5,
        "head.logit_softcap": 30.0, "rg_lru.n_blocks": 10, "rg_lru.d_inner": 2560, "feed_forward.bias": True,
        "layers.pattern": "2 recurrent, attention", "layers.last": "2 recurrent",
        "layers.kinds": {"recurrent": {"block": {"mixer": "rg_lru"}}, "attention": {}},
    },
    "jetmoe": {
        **LLAMA, "d_model": 2048, "n_heads": 32, "n_layers": 24, "d_ff": 5632, "attention.n_kv_heads": 16,
        "attention.d_head": 128, "attention.n_experts": 8, "attention.out_bias": True, "feed_forward.n_experts": 8,
        "feed_forward.top_k": 2, "feed_forward.router": "topk_softmax", "feed_forward.out_bias": True,
        "position.theta": 1e4, "norm.eps": 1e-5, "layers.pattern": "layer", "tie_weights": True,
        "layers.kinds": {"layer": {"norm": {"eps": 1e-6}}},
    },
    "rwkv": {
        "d_model": 768, "n_layers": 12, "d_ff": 3072, "max_len": 1024, "block.mixer": "rwkv", "rwkv.d_inner": 768,
        "position.kind": "none", "norm.kind": "layernorm", "norm.eps": 1e-5, "norm.bias": None, "embedding.norm": True,
        "feed_forward.activation": "relu2", "feed_forward.channel_mixing": True, "feed_forward.bias": False,
        "tie_weights": False, "dropout": 0.0,
    },
    "longcat_flash": {
        **LLAMA, "d_model": 6144, "n_layers": 56, "n_heads": 64, "d_ff": 12288, "max_len": 131072,
        "attention.kind": "latent", "attention.q_rank": 1536, "attention.kv_rank": 512, "attention.d_nope": 128,
        "attention.d_rope": 64, "attention.d_value": 128, "attention.scale_latents": True,
        "attention.latent_norm_eps": 1e-6, "norm.eps": 1e-5, "position.theta": 1e7, "position.pairing": "adjacent",
        "feed_forward.n_experts": 512, "feed_forward.n_zero_experts": 256, "feed_forward.top_k": 12,
        "feed_forward.d_expert": 2048, "feed_forward.n_shared_experts": 1, "feed_forward.d_shared_expert": 12288,
        "feed_forward.shortcut": True, "feed_forward.router": "softmax", "feed_forward.score_correction": True,
        "feed_forward.renormalize": False, "feed_forward.routed_scale": 6.0, "layers.pattern": "experts, dense",
        "layers.kinds": {"experts": {}, "dense": {"feed_forward": {"n_experts": None}}},
    },
    "xlstm": {
        "d_model": 4096, "n_layers": 32, "d_ff": 10944, "max_len": 8192, "block.mixer": "mlstm", "mlstm.n_heads": 8,
        "mlstm.d_key": 256, "mlstm.d_value": 512, "mlstm.gate_softcap": 15.0, "mlstm.o_norm_eps": None,
        "mlstm.chunk_len": 64, "position.kind": "none", "norm.kind": "rmsnorm", "norm.eps": 1e-6,
        "feed_forward.activation": "silu", "feed_forward.gated": True, "feed_forward.bias": False,
        "head.logit_softcap": 30.0, "embedding.multiplier": 1.0, "tie_weights": False, "dropout": 0.0,
    },
    "mamba": {
        "d_model": 768, "n_layers": 32, "block.mixer": "mamba", "block.feed_forward": False, "position.kind": "none",
        "mamba.d_inner": 1536, "mamba.dt_rank": 48, "mamba.d_state": 16, "mamba.norm": "none", "norm.kind": "rmsnorm",
        "mamba.bias": False, "mamba.conv_bias": True, "tie_weights": True,
    },
    "falcon_mamba": {"block.mixer": "mamba", "mamba.norm": "unweighted", "mamba.eps": 1e-6, "norm.eps": 1e-5},
    "jamba": {
        **LLAMA, "position.kind": "none", "norm.eps": 1e-6, "mamba.norm": "weighted", "mamba.dt_rank": 256,
        "feed_forward.n_experts": 16, "feed_forward.router": "softmax", "feed_forward.renormalize": False,
        "layers.pattern": "2 (mamba_dense, mamba), attention_dense, mamba, mamba_dense, mamba",
        "layers.kinds": {
            "mamba_dense": {"block": {"mixer": "mamba"}, "feed_forward": {"n_experts": None}},
            "mamba": {"block": {"mixer": "mamba"}},
            "attention_dense": {"feed_forward": {"n_experts": None}},
        },
    },
    "bamba": {  # the default config of transformers, with attention in three layers
        **LLAMA, "attention.n_kv_heads": 8, "position.rotary_fraction": 0.5, "norm.eps": 1e-5, "mamba2.n_heads": 128,
        "mamba2.d_head": 64, "mamba2.d_state": 256, "mamba2.n_groups": 1, "mamba2.max_dt": None,
        "layers.first": "9 mamba", "layers.pattern": "attention, 8 mamba", "layers.last": "attention, 4 mamba",
        "layers.kinds": {"mamba": {"block": {"mixer": "mamba2"}}, "attention": {}},
    },
    "granitemoehybrid": {  # the default config of transformers, with the layer types of Granite 4.0
        **LLAMA, "position.kind": "none", "attention.scale": 1.0, "mamba2.n_heads": 128, "mamba2.d_state": 256,
        "feed_forward.n_experts": 8, "feed_forward.top_k": 2, "feed_forward.n_shared_experts": 1,
        "feed_forward.d_shared_expert": 1024, "d_ff": 512, "layers.pattern": "5 mamba, attention, 4 mamba",
        "layers.kinds": {"mamba": {"block": {"mixer": "mamba2"}}, "attention": {}},
    },
    "smollm3": {
        **LLAMA, "position.theta": 5e6, "attention.n_kv_heads": 4, "tie_weights": True,
        "layers.pattern": "3 rope, nope", "layers.kinds": {"rope": {}, "nope": {"position": {"kind": "none"}}},
    },
    "internlm3": {
        **LLAMA, "attention.n_kv_heads": 2, "position.scaling": "dynamic", "position.scaling_factor": 6.0,
        "position.theta": 5e7, "position.original_max_len": 32768, "norm.eps": 1e-5,
    },
    "iquestcoder": {**LLAMA, "attention.n_kv_heads": 8, "attention.d_head": None, "position.theta": 5e5},
    "cwm": {
        **LLAMA, "attention.n_kv_heads": 8, "attention.window": 8192, "attention.window_pattern": "GLLL",
        "position.scaling": "llama3", "position.scaling_factor": 16.0, "position.theta": 1e6,
    },
    "apertus": {
        **LLAMA, "feed_forward.gated": False, "feed_forward.activation": "xielu", "attention.qk_norm": "per_head",
        "attention.n_kv_heads": 8, "position.scaling": "llama3", "position.scaling_factor": 8.0,
        "position.theta": 12e6, "norm.eps": 1e-5, "d_ff": 21504,
    },
    "apertus1p5_text": {
        **LLAMA, "feed_forward.gated": False, "feed_forward.activation": "xielu", "attention.qk_norm": "per_head",
        "attention.n_kv_heads": 8, "vocab_size": 266752, "position.scaling": "llama3",
    },
    "diffllama": {
        **LLAMA, "attention.differential": True, "attention.n_kv_heads": 8, "max_len": 2048, "position.theta": 1e4,
        "norm.eps": 1e-5, "tie_weights": False,
    },
    "arcee": {
        **LLAMA, "feed_forward.gated": False, "feed_forward.activation": "relu2", "attention.n_kv_heads": 4,
        "position.scaling": "yarn", "position.scaling_factor": 20.0, "max_len": 65536,
    },
    "jais2": {
        **LLAMA, "norm.kind": "layernorm", "feed_forward.gated": False, "feed_forward.activation": "relu2",
        "attention.bias": True, "feed_forward.bias": True, "norm.eps": 1e-5,
    },
    "mimo_v2_flash": {
        **LLAMA, "attention.d_head": 192, "attention.d_value": 128, "attention.out_multiplier": 0.707,
        "attention.n_kv_heads": 4, "position.theta": 5e6, "position.rotary_fraction": 0.334, "norm.eps": 1e-5,
        "feed_forward.router": "sigmoid", "feed_forward.score_correction": True, "feed_forward.n_experts": 256,
        "feed_forward.top_k": 8, "feed_forward.d_expert": 2048,
        "layers.first": "full_dense, 4 local", "layers.pattern": "full, 5 local",
    },
    "modernbert-decoder": {
        "embedding.norm": True, "norm.kind": "layernorm", "norm.bias": False, "attention.bias": False,
        "feed_forward.activation": "gelu", "feed_forward.gated": True, "feed_forward.bias": False, "head.bias": True,
        "head.dense": True, "head.dense_activation": "gelu", "head.dense_bias": False, "position.theta": 160000.0,
        "layers.first": "first", "layers.pattern": "2 local, full", "tie_weights": True,
    },
    "bitnet": {
        **LLAMA, "feed_forward.activation": "relu2", "attention.sub_norm": True, "feed_forward.sub_norm": True,
        "attention.n_kv_heads": 5, "position.theta": 5e5, "max_len": 4096, "tie_weights": True,
    },
    "vaultgemma": {
        **LLAMA, "embedding.multiplier": None, "norm.zero_centered": True, "feed_forward.activation": "gelu_tanh",
        "attention.d_head": 256, "attention.window": None, "attention.scale": None, "tie_weights": True,
    },
    "codegen": {
        "d_ff": 4096, "position.pairing": "adjacent", "position.rotary_fraction": 0.5, "attention.bias": False,
        "block.parallel": True, "block.shared_norm": True, "head.bias": True, "tie_weights": False,
    },
    "gpt_bigcode": {
        "d_ff": 24576, "position.kind": "learned", "attention.n_kv_heads": 1, "feed_forward.activation": "gelu",
        "tie_weights": True, "max_len": 8192, "dropout": 0.1, "attention.scale": None,
    },
    "gpt_neo": {
        "d_ff": 3072, "position.kind": "learned", "attention.scale": 1.0, "attention.bias": False,
        "attention.out_bias": True, "attention.window": 256, "attention.window_pattern": "GL", "tie_weights": True,
    },
    "biogpt": {
        "embedding.multiplier": None, "position.kind": "learned", "position.offset": 2, "tie_weights": True,
        "norm.eps": 1e-5, "dropout": 0.1, "feed_forward.activation": "gelu",
    },
    "exaone": {**LLAMA, "attention.n_kv_heads": 8, "position.theta": 5e5, "norm.eps": 1e-5, "d_ff": 14336},
    "hyperclovax": {**LLAMA, "norm.placement": "sandwich", "attention.scale": None, "head.logit_scale": 1.0},
    "hunyuan_v1_dense": {
        **LLAMA, "attention.qk_norm": "per_head", "attention.qk_norm_after_rope": True, "norm.eps": 1e-5,
    },
    "nanochat": {
        **LLAMA, "norm.weight": False, "embedding.norm": True, "attention.qk_norm_after_rope": True, "d_ff": 8192,
        "feed_forward.activation": "relu2", "feed_forward.gated": False, "head.logit_softcap": 15.0,
    },
    "ministral": {**LLAMA, "attention.window": 4096, "attention.window_pattern": "L", "attention.n_kv_heads": 8},
    "ministral3": {
        **LLAMA, "attention.n_kv_heads": 8, "position.scaling": "yarn", "position.scaling_factor": 16.0,
        "position.attention_factor": 1.0, "position.theta": 1e6, "attention.temperature_scale": 0.1,
        "attention.temperature_len": 16384, "attention.temperature_offset": 0,
    },
    "mistral3-ministral3": {
        **LLAMA, "d_model": 3072, "d_ff": 9216, "n_layers": 26, "attention.d_head": 128, "tie_weights": True,
        "attention.temperature_scale": 0.1, "attention.temperature_len": 16384,
    },
    "llama4": {
        **LLAMA, "position.pairing": "adjacent", "position.scaling": "llama3", "position.low_freq_factor": 1.0,
        "position.high_freq_factor": 1.0, "d_ff": 16384, "feed_forward.d_expert": 8192, "feed_forward.n_experts": 16,
        "feed_forward.top_k": 1, "feed_forward.router": "sigmoid", "feed_forward.router_weight_on_input": True,
        "feed_forward.n_shared_experts": 1, "layers.pattern": "3 rope_chunked, nope",
        "layers.kinds": {
            "rope_chunked": {
                "attention": {
                    "qk_norm": "per_head", "qk_norm_weight": False, "qk_norm_after_rope": True, "window": 8192,
                    "chunked": True,
                },
            },
            "nope": {
                "position": {"kind": "none"},
                "attention": {"temperature_scale": 0.1, "temperature_len": 8192, "temperature_offset": 1},
            },
        },
    },
    "llama4_text": {
        **LLAMA, "position.pairing": "adjacent", "position.scaling": "none", "feed_forward.n_experts": 128,
        "layers.pattern": "rope_chunked_dense, rope_chunked, rope_chunked_dense, nope",
    },
    "nemotron": {
        **LLAMA, "norm.kind": "layernorm", "norm.zero_centered": True, "norm.bias": None,
        "feed_forward.activation": "relu2", "feed_forward.gated": False, "position.rotary_fraction": 0.5,
    },
    "persimmon": {
        "position.kind": "rope", "position.rotary_fraction": 0.5, "attention.qk_norm": "per_head", "d_ff": 16384,
        "attention.bias": True, "norm.kind": "layernorm", "feed_forward.activation": "relu2", "tie_weights": False,
    },
    "cohere2_moe": {
        **LLAMA, "norm.kind": "layernorm", "norm.bias": False, "block.parallel": True, "block.shared_norm": True,
        "head.logit_scale": 1.0, "tie_weights": True, "position.pairing": "adjacent", "position.theta": 5e4,
        "feed_forward.n_experts": 128, "feed_forward.top_k": 8, "feed_forward.router": "sigmoid",
        "feed_forward.renormalize": True, "feed_forward.n_shared_experts": 4, "feed_forward.d_expert": 1536,
        "feed_forward.routed_scale": 0.5, "feed_forward.shared_scale": 0.5, "d_ff": 16384,
        "layers.pattern": "3 local_experts, full_experts", "layers.first": "full_dense",
    },
    "cohere_compass_text": {
        **LLAMA, "norm.kind": "layernorm", "norm.bias": False, "block.parallel": True, "block.shared_norm": True,
        "head.logit_scale": 0.25, "tie_weights": True, "layers.pattern": "3 local, full", "n_layers": 32,
        "layers.kinds": {
            "local": {"attention": {"window": 4096}, "position": {"theta": 5e4}},
            "full": {"position": {"kind": "none"}},
        },
    },
    "minicpm3": {
        **LLAMA, "attention.kind": "latent", "attention.kv_rank": 256, "attention.q_rank": 768, "attention.d_value": 64,
        "attention.latent_norm_eps": 1e-6, "norm.eps": 1e-5, "tie_weights": True, "embedding.multiplier": 12.0,
        "block.residual_multiplier": 1.4 / math.sqrt(62), "head.logit_scale": 0.1,
    },
    "youtu": {
        **LLAMA, "attention.kind": "latent", "position.pairing": "adjacent", "attention.q_rank": 1536,
        "attention.kv_rank": 512, "feed_forward.n_experts": None, "tie_weights": True,
    },
    "deepseek_v2": {
        **LLAMA, "attention.kind": "latent", "position.pairing": "adjacent", "attention.kv_rank": 512,
        "attention.q_rank": None, "feed_forward.n_experts": 64, "feed_forward.top_k": 6, "feed_forward.d_expert": 1408,
        "feed_forward.n_shared_experts": 2, "feed_forward.n_dense_layers": 1, "feed_forward.router": "softmax",
        "feed_forward.renormalize": False, "feed_forward.n_groups": 1, "position.scaling": "yarn",
        "position.attention_factor": 1.0,
        "attention.scale": 192**-0.5 * _sharper(0.707) * _sharper(0.707),
    },
    "deepseek_v3": {
        **LLAMA, "attention.kind": "latent", "attention.q_rank": 1536, "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True, "feed_forward.renormalize": True, "feed_forward.n_groups": 8,
        "feed_forward.top_k_groups": 4, "feed_forward.n_dense_layers": 3, "feed_forward.routed_scale": 2.5,
        "position.pairing": "adjacent", "attention.scale": 192**-0.5 * _sharper(1.0) * _sharper(1.0),
    },
    "gpt_oss": {
        **LLAMA, "attention.bias": True, "attention.sinks": True, "attention.d_head": 64, "attention.window": 128,
        "attention.window_pattern": "LG", "feed_forward.activation": "quick_gelu", "feed_forward.clamp": 7.0,
        "feed_forward.bias": True, "feed_forward.router": "topk_softmax", "feed_forward.router_bias": True,
        "feed_forward.n_experts": 32, "feed_forward.top_k": 4, "position.scaling": "yarn", "position.truncate": False,
        "position.theta": 150000.0, "position.original_max_len": 4096, "position.scaling_factor": 32.0,
    },
}  # fmt: skip


@cache
def imported(name: str) -> ImportedConfig:
    return import_config(str(CONFIGS / f"{name}.json"))


def test_every_family_is_tested() -> None:
    assert {imported(name).family for name in NAMES} == set(FAMILIES)
    assert list(EXPECTED.keys() - NAMES) == list(NAMES - EXPECTED.keys()) == []


@pytest.mark.parametrize("name", NAMES)
def test_fields(name: str) -> None:
    flat = flatten(imported(name).loaded.config.model_dump())
    expected = EXPECTED[name]
    assert {field: flat[field] for field in expected} == expected


def transformers_params(model_type: str, settings: dict[str, Any]) -> int:
    """Return the trainable parameters of transformers' own module, built on meta, a shared tensor counted once.

    Of a multimodal model, these are the parameters of its language model.
    """
    importlib.import_module("transformers.generation.utils")  # it computes at import, which torch 2.6 cannot on meta
    config = transformers.AutoConfig.for_model(model_type, **settings)
    family = FAMILIES[model_type]
    others = family.keys.tensor_names.skipped_prefixes if family.keys.ignored_outer_keys else ()
    with torch.device("meta"), empty_encoder():
        if others:
            model = getattr(transformers, family.architecture)(config)
            model.tie_weights()
        else:
            model = transformers.AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    counted = [tensor for name, tensor in model.named_parameters() if not others or not name.startswith(others)]
    return sum(tensor.numel() for tensor in counted if tensor.requires_grad)


def unused_params(name: str, config: ModelConfig) -> int:
    """Return the parameters that transformers' code allocates and does not use."""
    family = FAMILIES.get(name)  # some file names are not family names
    unused = {} if family is None else family.keys.tensor_names.unused_tensors(config)
    return sum(map(math.prod, unused.values()))


BEFORE_5 = {name: {"tie_word_embeddings": False} for name in ("internvl", "mistral3")}
"""Keys whose absence has another meaning since transformers 5, which writes them always."""


@pytest.mark.parametrize("name", NAMES)
def test_params_equal_transformers(name: str) -> None:
    settings = {**BEFORE_5.get(name, {}), **json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))}
    for key in ("quantization_config", "auto_map"):
        settings.pop(key, None)
    expected = transformers_params(settings.pop("model_type"), settings)
    config = imported(name).loaded.config
    assert total_params(tensor_table(config)) + unused_params(name, config) == expected


UNDEFAULTED = {
    *(
        "bert-generation",
        "cohere_compass_text",
        "dbrx",
        "deepseek_v2",
        "dots1",
        "glm4_moe",
        "granitemoehybrid",
        "hunyuan_v1_dense",
    ),
    *("hunyuan_v1_moe", "lfm2_moe", "ministral", "nemotron"),
}
"""Families whose default config transformers cannot build, or tinylm refuses."""

DEFAULTED = sorted(
    name for name, family in FAMILIES.items() if name not in UNDEFAULTED and not family.keys.ignored_outer_keys
)


COMPUTED = {"mamba.dt_rank", "rwkv.d_inner"}
"""Fields that tinylm computes if they are absent; transformers writes the values."""


@pytest.mark.parametrize("family", DEFAULTED)
def test_default_config_equals_transformers(family: str, tmp_path: Path) -> None:
    """tests/docs/test_families_page.py compares the parameters."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": family}), encoding="utf-8")
    config = load_config(str(path)).config
    theirs = transformers.AutoConfig.for_model(family)
    training_len = 8192 if family == "xlstm" else 2048  # of the published models of families without a limit
    assert config.max_len == getattr(theirs, "max_position_embeddings", training_len)
    assert config.tie_weights == theirs.tie_word_embeddings
    theirs.save_pretrained(tmp_path)
    written, unwritten = (
        {name: value for name, value in flatten(each.model_dump()).items() if name not in COMPUTED}
        for each in (load_config(str(path)).config, config)
    )
    assert unwritten == written, "absent keys have the values that transformers writes"


OTHER_DEFAULTS = {
    ("bailing_hybrid", "head_dim"): 64,  # its config overwrites it with qk_rope_head_dim, after it used the 128
    ("ernie4_5_moe", "moe_layer_end_index"): 27,  # -1 is the last layer
    ("gemma3n", "intermediate_size"): [16384] * 35,  # one size for all layers
    ("gemma3n_text", "intermediate_size"): [16384] * 35,
    ("hrm_text", "num_hidden_layers"): 128,  # it multiplies the 16 layers of a module by the number of passes
    ("qwen2_moe", "sliding_window"): 0,  # none, as use_sliding_window is false
}
"""Defaults of transformers that its config object shows otherwise than as the key's own default."""


@pytest.mark.parametrize(
    ("family", "language_model"),
    [
        pair
        for name, family in FAMILIES.items()
        for pair in ((name, None), *((name, one) for one in family.language_models))
    ],
)
def test_default_of_each_key_equals_transformers(family: str, language_model: str | None) -> None:
    """Without and with the model_type of a language model."""
    record = FAMILIES[family]
    outer = {} if language_model is None else {"text_config": {"model_type": language_model}}
    keys_class = record.keys_class if language_model is None else record.language_models[language_model]
    ours = {key: field.default for key, field in record._replace(keys_class=keys_class).keys.model_fields.items()}
    theirs = transformers.AutoConfig.for_model(family, **outer).get_text_config()
    settings = theirs.to_dict()
    if ours.get("rope_parameters") is None:
        settings = (settings.get("rope_parameters") or {}) | settings
    if record.language_models:
        settings.pop("tie_word_embeddings", None)  # the outer one counts
    found = {}
    for key, default in ours.items():
        value = settings.get(theirs.attribute_map.get(key, key))
        if isinstance(default, int | float | str) and default != "auto" and value is not None:
            found[key] = value
    assert found.keys() > {"vocab_size"}
    assert found == {key: OTHER_DEFAULTS.get((family, key), ours[key]) for key in found}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.model_type)
def test_record(family: Family) -> None:
    keys = family.keys.model_fields.keys()
    filled = [name for key in keys for name in filled_fields(family.keys, key)]
    assert {*filled, *family.keys.constants} <= fields().keys()
    assert keys.isdisjoint(family.keys.ignored), "in the schema, and said to be ignored"
    assert set(family.keys.aliases.values()) <= keys
    assert not family.keys.aliases.keys() & keys


def test_lazy_loading() -> None:
    code = (
        "import sys; from tinylm_cli.interop.families import FAMILIES; FAMILIES['llama'].keys;"
        " print(*(name for name in sys.modules if 'interop.families.' in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tinylm_cli.interop.families.llama"]


LLAMA_3_2_SCALING = {
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}

GALLERY: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "gpt2-medium": ("gpt2", {"n_embd": 1024, "n_head": 16, "n_layer": 24}),
    "gpt2-large": ("gpt2", {"n_embd": 1280, "n_head": 20, "n_layer": 36}),
    "gpt2-xl": ("gpt2", {"n_embd": 1600, "n_head": 25, "n_layer": 48}),
    "pythia-160m": ("gpt_neox", {}),
    "llama-2-7b": ("llama-2", {}),
    "llama-3-8b": ("llama", {"max_position_embeddings": 8192, "rope_scaling": None}),
    "llama-3.1-8b": ("llama", {}),
    "llama-3.1-70b": ("llama", {
        "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "intermediate_size": 28672,
    }),
    "llama-3.1-405b": ("llama", {
        "hidden_size": 16384, "num_hidden_layers": 126, "num_attention_heads": 128, "intermediate_size": 53248,
    }),
    "llama-3.2-1b": ("llama", {
        "hidden_size": 2048, "num_hidden_layers": 16, "intermediate_size": 8192, "head_dim": 64,
        "rope_scaling": LLAMA_3_2_SCALING, "tie_word_embeddings": True,
    }),
    "llama-3.2-3b": ("llama", {
        "hidden_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 24, "intermediate_size": 8192,
        "head_dim": 128, "rope_scaling": LLAMA_3_2_SCALING, "tie_word_embeddings": True,
    }),
    "mistral-7b": ("mistral", {}),
    "mixtral-8x7b": ("mixtral", {}),
    "qwen2.5-0.5b": ("qwen2", {}),
    "qwen3-0.6b": ("qwen3", {}),
    "qwen3-1.7b": ("qwen3", {"hidden_size": 2048, "intermediate_size": 6144}),
    "qwen3-4b": ("qwen3", {
        "hidden_size": 2560, "num_hidden_layers": 36, "num_attention_heads": 32, "intermediate_size": 9728,
    }),
    "qwen3-8b": ("qwen3", {
        "hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32, "intermediate_size": 12288,
        "tie_word_embeddings": False,
    }),
    "qwen3-14b": ("qwen3", {
        "hidden_size": 5120, "num_hidden_layers": 40, "num_attention_heads": 40, "intermediate_size": 17408,
        "tie_word_embeddings": False,
    }),
    "qwen3-32b": ("qwen3", {
        "hidden_size": 5120, "num_hidden_layers": 64, "num_attention_heads": 64, "intermediate_size": 25600,
        "tie_word_embeddings": False,
    }),
    "qwen3-30b-a3b": ("qwen3_moe", {}),
    "qwen3-235b-a22b": ("qwen3_moe", {
        "hidden_size": 4096, "num_hidden_layers": 94, "num_attention_heads": 64, "intermediate_size": 12288,
        "moe_intermediate_size": 1536,
    }),
    "gemma-2-2b": ("gemma2", {}),
    "gemma-3-1b": ("gemma3_text", {}),
    "gemma-3-4b": ("gemma3", {}),
    "gemma-3-27b": ("gemma3", {"text_config": {
        "model_type": "gemma3_text", "hidden_size": 5376, "num_hidden_layers": 62, "num_attention_heads": 32,
        "num_key_value_heads": 16, "head_dim": 128, "intermediate_size": 21504, "query_pre_attn_scalar": 168,
        "sliding_window": 1024, "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    }}),
    "gemma-4-e2b": ("gemma4_text", {
        "hidden_size": 1536, "intermediate_size": 6144, "num_hidden_layers": 35, "num_attention_heads": 8,
        "num_key_value_heads": 1, "sliding_window": 512, "max_position_embeddings": 131072,
        "hidden_size_per_layer_input": 256, "num_kv_shared_layers": 20, "use_double_wide_mlp": True,
        "attention_k_eq_v": False, "layer_types": [*["sliding_attention"] * 4, "full_attention"] * 7,
    }),
    "gemma-4-26b-a4b": ("gemma4_text", {
        "hidden_size": 2816, "intermediate_size": 2112, "num_hidden_layers": 30, "num_attention_heads": 16,
        "num_key_value_heads": 8, "num_global_key_value_heads": 2, "enable_moe_block": True, "num_experts": 128,
        "top_k_experts": 8, "moe_intermediate_size": 704,
        "layer_types": [*["sliding_attention"] * 5, "full_attention"] * 5,
    }),
    "olmo-2-7b": ("olmo2", {}),
    "deepseek-v2-lite": ("deepseek_v2", {}),
    "deepseek-v3": ("deepseek_v3", {}),
    "kimi-k2": ("deepseek_v3", {
        "model_type": "kimi_k2", "vocab_size": 163840, "num_attention_heads": 64, "num_key_value_heads": 64,
        "max_position_embeddings": 131072, "n_routed_experts": 384, "n_group": 1, "topk_group": 1,
        "first_k_dense_replace": 1, "num_nextn_predict_layers": 0, "routed_scaling_factor": 2.827,
        "rope_theta": 50000.0, "rope_scaling": {
            "type": "yarn", "factor": 32.0, "beta_fast": 1.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 4096,
        },
    }),
    "glm-4.5-air": ("glm4_moe", {}),
    "llama-4-scout": ("llama4", {}),
    "minimax-m2": ("minimax_m2", {}),
    "gpt-oss-20b": ("gpt_oss", {}),
    "gpt-oss-120b": ("gpt_oss", {
        "num_hidden_layers": 36, "num_local_experts": 128, "layer_types": ["sliding_attention", "full_attention"] * 18,
    }),
    "nanochat-d20": ("nanochat", {
        "vocab_size": 65536, "hidden_size": 1280, "num_hidden_layers": 20, "num_attention_heads": 10,
        "num_key_value_heads": 10, "intermediate_size": 5120,
    }),
    "lfm2-1.2b": ("lfm2", {}),
    "smollm3-3b": ("smollm3", {}),
    "olmo-3-7b": ("olmo3", {}),
    "qwen3-next-80b-a3b": ("qwen3_next", {}),
    "qwen3.5-9b": ("qwen3_5", {"text_config": {
        "model_type": "qwen3_5_text", "max_position_embeddings": 262144,
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.25, "mrope_section": [11, 11, 10],
            "mrope_interleaved": True,
        },
    }}),
    "qwen3.5-35b-a3b": ("qwen3_5_moe", {}),
    "kimi-linear-48b-a3b": ("kimi_linear", {}),
    "granite-4.0-h-small": ("granitemoehybrid", {
        "vocab_size": 100352, "num_key_value_heads": 8, "num_local_experts": 72, "num_experts_per_tok": 10,
        "intermediate_size": 768, "shared_intermediate_size": 1536, "mamba_d_state": 128,
        "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "embedding_multiplier": 12, "logits_scaling": 16,
        "residual_multiplier": 0.22, "attention_multiplier": 0.0078125, "tie_word_embeddings": True,
    }),
    "granite-4.0-h-micro": ("granitemoehybrid", {
        "vocab_size": 100352, "hidden_size": 2048, "num_key_value_heads": 8, "num_local_experts": 0,
        "num_experts_per_tok": 0, "intermediate_size": 8192, "shared_intermediate_size": 8192, "mamba_n_heads": 64,
        "mamba_d_state": 128, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "embedding_multiplier": 12,
        "logits_scaling": 8, "residual_multiplier": 0.22, "attention_multiplier": 0.015625, "tie_word_embeddings": True,
    }),
    "nemotron-h-8b": ("nemotron_h", {
        "max_position_embeddings": 8192, "num_hidden_layers": 52, "layers_block_type": None,
        "hybrid_override_pattern": "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
    }),
    "nemotron-nano-9b-v2": ("nemotron_h", {
        "hidden_size": 4480, "num_attention_heads": 40, "intermediate_size": 15680, "mamba_head_dim": 80,
        "max_position_embeddings": 131072, "num_hidden_layers": 56, "layers_block_type": None,
        "hybrid_override_pattern": "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-",
    }),
    "nemotron-3-super": ("nemotron_h", {
        "num_key_value_heads": 2, "intermediate_size": 2688, "max_position_embeddings": 262144,
        "n_routed_experts": 512, "num_experts_per_tok": 22, "moe_intermediate_size": 2688, "moe_latent_size": 1024,
        "moe_shared_expert_intermediate_size": 5376, "routed_scaling_factor": 5.0, "num_hidden_layers": 88,
        "layers_block_type": None, "num_nextn_predict_layers": 1, "mtp_hybrid_override_pattern": "*E",
        "rope_theta": 10000, "partial_rotary_factor": 1.0, "norm_eps": 1e-5,
        "hybrid_override_pattern": "MEMEMEM*E" * 3 + "MEMEMEMEM*E" * 4 + "MEMEMEM*EMEMEMEME",
    }),
    "jamba-v0.1": ("jamba", {}),
    "recurrentgemma-2b": ("recurrent_gemma", {
        "intermediate_size": 15360, "num_key_value_heads": 1, "max_position_embeddings": 8192,
    }),
    "falcon-h1-0.5b": ("falcon_h1", {}),
    "falcon-mamba-7b": ("falcon_mamba", {
        "hidden_size": 4096, "intermediate_size": 8192, "num_hidden_layers": 64, "time_step_rank": 256,
        "vocab_size": 65024, "tie_word_embeddings": False,
    }),
    "mamba2-2.7b": ("mamba2", {
        "hidden_size": 2560, "num_heads": 80, "n_groups": 1, "vocab_size": 50288, "intermediate_size": 5120,
        "tie_word_embeddings": True,
    }),
}  # fmt: skip
"""The published config of each model: the one in ``configs`` of the same family, with the keys in which it differs."""


@pytest.mark.parametrize("name", GALLERY)
def test_gallery_equals_published_configs(name: str, changed: Change) -> None:
    family, keys = GALLERY[name]
    shown, published = load_config(name).config, load_config(changed(family, **keys)).config
    published = published.model_copy(update={"storage": shown.storage})  # the gallery states no stored types
    if not any("attention" in kind.block.mixers for kind in layer_pattern(shown).kinds):
        published = published.model_copy(update={"max_len": shown.max_len})  # such a config.json states no length
    assert canonical_fields(shown) == canonical_fields(published)
    if shown.block.mixer == "attention" and not shown.layers.kinds:  # names of kinds are ours, and sizes may be implied
        assert shown == published.model_copy(update={"nominal_params": shown.nominal_params})


@pytest.mark.parametrize("absent", ["n_group", "topk_group"])
def test_expert_groups_are_needed_in_full(absent: str, changed: Change) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(changed("deepseek_v3", **{absent: None}))
    (found,) = raised.value.diagnostics
    assert (found.code, found.field, found.help) == ("missing-key", absent, f'for example "{absent}": 8')
