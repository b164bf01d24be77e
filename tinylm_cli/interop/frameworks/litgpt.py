"""LitGPT: ``model_config.yaml``, with the fields of ``litgpt.Config``.

References:
    litgpt 0.5.13, litgpt/config.py and litgpt/model.py
"""

from __future__ import annotations

import math
from typing import Any

from tinylm_cli.config.layer_kinds import GLOBAL, LOCAL, repeated_prefix
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.yaml_scalar import scalar
from tinylm_cli.interop.frameworks.framework import Document, Framework

GEMMA, OLMO = "Gemma", "OLMo"
"""Parts of the name of a model with which litgpt adds 1 to the weights of RMSNorm, and omits those of LayerNorm."""

_NORM_CLASSES = {"layernorm": "LayerNorm", "rmsnorm": "RMSNorm"}
_APPROXIMATIONS = {"gelu": "none", "gelu_tanh": "tanh"}


def write(config: ModelConfig, name: str) -> Document:
    """Return the fields of ``litgpt.Config``; ``padded_vocab_size`` is the vocabulary, without padding."""
    attention, position, norm, block = config.attention, config.position, config.norm, config.block
    is_gemma = norm.kind == "rmsnorm" and norm.zero_centered
    is_olmo = norm.kind == "layernorm" and not norm.weight
    document: Document = {
        "name": _name(name or "model", is_gemma=is_gemma, is_olmo=is_olmo),
        "block_size": config.max_len,
        "n_layer": config.n_layers,
        "n_embd": config.d_model,
        "vocab_size": config.vocab_size,
        "padded_vocab_size": config.vocab_size,
        "norm_class_name": _NORM_CLASSES[norm.kind],
        "norm_eps": norm.eps,
        "norm_qk": attention.qk_norm != "none",
        "norm_qk_type": "olmo2" if attention.qk_norm == "full" else "default",
        "norm_1": norm.precedes_sublayers,
        "norm_2": norm.precedes_sublayers,
        "post_attention_norm": norm.placement in ("post", "sandwich"),
        "post_mlp_norm": norm.placement in ("post", "sandwich"),
        "parallel_residual": block.parallel,
        "shared_attention_norm": block.parallel and block.shared_norm,
        "n_head": config.n_heads,
        "head_size": config.d_head,
        "n_query_groups": config.n_kv_heads,
        "attn_bias": attention.bias,
        "rope_base": _integer(position.theta),
        "rotary_percentage": position.rotary_fraction,
        "rope_interleave": position.pairing == "adjacent",
        "bias": config.feed_forward.bias,
        "lm_head_bias": config.head.bias,
        "scale_embeddings": config.embedding.multiplier is None,
    }
    return document | _rope(config) | _attention_scores(config) | _windows(config) | _feed_forward(config)


def _name(name: str, *, is_gemma: bool, is_olmo: bool) -> str:
    """Return a name that has the parts that litgpt looks for, and no others."""
    for part, is_needed in ((GEMMA, is_gemma), (OLMO, is_olmo)):
        if is_needed and part not in name:
            name = f"{part}-{name}"
        elif not is_needed:
            name = name.replace(part, part.lower())
    return name


def _rope(config: ModelConfig) -> Document:
    position = config.position
    document: Document = {}
    if position.scaling == "linear":
        document["rope_adjustments"] = {"factor": position.stretch}
    elif position.scaling == "llama3":
        document["rope_adjustments"] = {
            "factor": position.stretch,
            "low_freq_factor": position.low_freq_factor,
            "high_freq_factor": position.high_freq_factor,
            "original_max_seq_len": position.original_max_len,
        }
    if position.local_theta is not None:
        document["rope_local_base_freq"] = position.local_theta
        document["rope_indices"] = _local_layers(config)
    return document


def _attention_scores(config: ModelConfig) -> Document:
    """Return the divisor under the root of the scale of the scores, which is an integer, and the soft-caps."""
    document: Document = {}
    if config.attention.scale is not None:
        document["attention_scores_scalar"] = round(config.attention.scale**-2)
    if config.attention.logit_softcap is not None:
        document["attention_logit_softcapping"] = config.attention.logit_softcap
    if config.head.logit_softcap is not None:
        document["final_logit_softcapping"] = config.head.logit_softcap
    return document


def _windows(config: ModelConfig) -> Document:
    if config.attention.window is None:
        return {}
    return {"sliding_window_size": config.attention.window, "sliding_window_indices": _local_layers(config)}


def _local_layers(config: ModelConfig) -> list[int]:
    """Return 1 for each layer with a sliding window, and 0 for the others."""
    letters = config.attention.window_pattern if config.attention.window is not None else GLOBAL
    return [int(letters[layer % len(letters)] == LOCAL) for layer in range(config.n_layers)]


def _feed_forward(config: ModelConfig) -> Document:
    feed_forward = config.feed_forward
    document: Document = {"intermediate_size": config.d_ff}
    if feed_forward.n_experts is not None:
        document |= {
            "mlp_class_name": "LLaMAMoE",
            "moe_intermediate_size": config.d_expert,
            "n_expert": feed_forward.n_experts,
            "n_expert_per_token": feed_forward.top_k,
            "routed_scaling_factor": feed_forward.routed_scale,
        }
        if feed_forward.n_shared_experts:
            document["n_shared_expert"] = feed_forward.n_shared_experts
        if feed_forward.n_dense_layers:
            document["first_k_dense_replace"] = feed_forward.n_dense_layers
    elif not feed_forward.gated:
        document["mlp_class_name"] = "GptNeoxMLP"
    else:
        document["mlp_class_name"] = "LLaMAMLP" if feed_forward.activation == "silu" else "GemmaMLP"
    if feed_forward.activation in _APPROXIMATIONS:
        document["gelu_approximate"] = _APPROXIMATIONS[feed_forward.activation]
    return document


def read(document: Document) -> dict[str, Any]:
    """Return the fields of the model that litgpt builds from a config of :func:`write`."""
    kind = "rmsnorm" if document["norm_class_name"] == "RMSNorm" else "layernorm"
    precedes, follows = document["norm_1"], document["post_attention_norm"]
    adjustments = document.get("rope_adjustments", {})
    has_llama3 = "low_freq_factor" in adjustments
    fields: dict[str, Any] = {
        "vocab_size": document["padded_vocab_size"],
        "d_model": document["n_embd"],
        "n_heads": document["n_head"],
        "n_layers": document["n_layer"],
        "d_ff": document["intermediate_size"],
        "max_len": document["block_size"],
        "dropout": 0.0,
        "tie_weights": False,
        "embedding": {"multiplier": None if document["scale_embeddings"] else 1.0},
        "position": {
            "kind": "rope",
            "theta": float(document["rope_base"]),
            "rotary_fraction": document["rotary_percentage"],
            "pairing": "adjacent" if document["rope_interleave"] else "half",
            "scaling": "llama3" if has_llama3 else "linear" if adjustments else "none",
            **({"scaling_factor": adjustments["factor"]} if adjustments else {}),
        },
        "norm": {
            "kind": kind,
            "eps": document["norm_eps"],
            "placement": "sandwich" if precedes and follows else "pre" if precedes else "post",
        },
        "attention": {
            "n_kv_heads": document["n_query_groups"],
            "d_head": document["head_size"],
            "bias": document["bias"] or document["attn_bias"],
            "out_bias": document["bias"],
            "qk_norm": _qk_norm(document),
            "logit_softcap": document.get("attention_logit_softcapping"),
        },
        "feed_forward": _read_feed_forward(document),
        "block": {"parallel": document["parallel_residual"]},
        "head": {"bias": document["lm_head_bias"], "logit_softcap": document.get("final_logit_softcapping")},
    }
    if has_llama3:
        fields["position"]["original_max_len"] = adjustments["original_max_seq_len"]
        fields["position"] |= {name: adjustments[name] for name in ("low_freq_factor", "high_freq_factor")}
    if "rope_local_base_freq" in document:
        fields["position"]["local_theta"] = document["rope_local_base_freq"]
    if kind == "rmsnorm":
        fields["norm"]["zero_centered"] = GEMMA in document["name"]
    elif OLMO in document["name"]:
        fields["norm"]["weight"] = False
    if document["parallel_residual"]:
        fields["block"]["shared_norm"] = document["shared_attention_norm"]
    if "attention_scores_scalar" in document:
        fields["attention"]["scale"] = 1 / math.sqrt(document["attention_scores_scalar"])
    if "sliding_window_size" in document:
        letters = [LOCAL if is_local else GLOBAL for is_local in document["sliding_window_indices"]]
        pattern = "".join(repeated_prefix(letters))
        fields["attention"] |= {"window": document["sliding_window_size"], "window_pattern": pattern}
    return fields


def _qk_norm(document: Document) -> str:
    if not document["norm_qk"]:
        return "none"
    return "full" if document["norm_qk_type"] == "olmo2" else "per_head"


def _read_feed_forward(document: Document) -> dict[str, Any]:
    name = document["mlp_class_name"]
    of_gelu = "gelu_tanh" if document.get("gelu_approximate") == "tanh" else "gelu"
    fields: dict[str, Any] = {
        "activation": "silu" if name in ("LLaMAMLP", "LLaMAMoE") else of_gelu,
        "gated": name != "GptNeoxMLP",
        "bias": document["bias"],
    }
    if name == "LLaMAMoE":
        fields |= {
            "n_experts": document["n_expert"],
            "top_k": document["n_expert_per_token"],
            "d_expert": document["moe_intermediate_size"],
            "n_shared_experts": document.get("n_shared_expert", 0),
            "n_dense_layers": document.get("first_k_dense_replace", 0),
            "routed_scale": document["routed_scaling_factor"],
        }
    return fields


def _integer(value: float) -> int | float:
    """Return a whole number as an integer, as the type of the field says."""
    return int(value) if value == int(value) else value


def to_yaml(document: Document) -> str:
    """Return a config as the YAML that ``litgpt.Config.from_file`` reads."""
    return "".join(f"{name}: {scalar(value)}\n" for name, value in document.items())


LITGPT = Framework("litgpt 0.5.13", "GPT", write, read, to_yaml, unties=True)
"""LitGPT has no tied weights: of a tied model, the LM head is a copy of the embedding."""
