"""Megatron-LM: the arguments that describe a GPT model, one a line.

References:
    megatron-core 0.16.1, megatron/core/transformer/transformer_config.py and megatron/core/models/gpt/gpt_model.py;
    NVIDIA/Megatron-LM, megatron/training/arguments.py: ``_add_network_size_args`` and ``_add_moe_args``
"""

from __future__ import annotations

from typing import Any

from tinylm_cli.config.layer_kinds import GLOBAL, LOCAL, repeated_prefix
from tinylm_cli.config.lint_codes import MEGATRON_CORE
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.frameworks.framework import Document, Framework

_NORMALIZATIONS = {"layernorm": "LayerNorm", "rmsnorm": "RMSNorm"}
_POSITIONS = {"learned": "learned_absolute", "rope": "rope"}
_LLAMA3 = {"original_max_len": 8192, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
"""Constants of ``--use-rope-scaling`` in ``rotary_pos_embedding.py``."""
_LARGEST_MULTIPLE = 128
"""The default of ``make-vocab-size-divisible-by``."""


def write(config: ModelConfig, name: str) -> Document:  # noqa: ARG001 - a model has no name
    """Return the arguments by their names; a flag is true."""
    attention, norm, position = config.attention, config.norm, config.position
    has_bias = config.feed_forward.bias
    document: Document = {
        "num-layers": config.n_layers,
        "hidden-size": config.d_model,
        "ffn-hidden-size": config.d_ff,
        "num-attention-heads": config.n_heads,
        "kv-channels": config.d_head,
        "seq-length": config.max_len,
        "max-position-embeddings": config.max_len,
        "vocab-size": config.vocab_size,
        # the vocabulary is not padded without tensor parallelism
        "make-vocab-size-divisible-by": min(config.vocab_size & -config.vocab_size, _LARGEST_MULTIPLE),
        "position-embedding-type": _POSITIONS.get(position.kind, "none"),
        "normalization": _NORMALIZATIONS[norm.kind],
        "norm-epsilon": norm.eps,
        "hidden-dropout": config.dropout,
        "attention-dropout": config.dropout,
    }
    flags = {
        "apply-layernorm-1p": norm.zero_centered,
        "qk-layernorm": attention.qk_norm == "per_head",
        "disable-bias-linear": not has_bias,
        "add-qkv-bias": attention.bias and not has_bias,
        "untie-embeddings-and-output-weights": not config.tie_weights,
    }
    document |= {flag: True for flag, is_set in flags.items() if is_set}
    if config.n_kv_heads != config.n_heads:
        document |= {"group-query-attention": True, "num-query-groups": config.n_kv_heads}
    if attention.sinks:
        document["softmax-type"] = "learnable"
    return document | _rope(config) | _windows(config) | _feed_forward(config)


def _rope(config: ModelConfig) -> Document:
    position = config.position
    if position.kind != "rope":
        return {}
    document: Document = {"rotary-base": int(position.theta), "rotary-percent": position.rotary_fraction}
    if position.pairing == "adjacent":
        document["rotary-interleaved"] = True
    if position.scaling == "llama3":
        document |= {"use-rope-scaling": True, "rope-scaling-factor": position.stretch}
    elif position.scaling == "linear":
        document["rotary-seq-len-interpolation-factor"] = int(position.stretch)
    return document


def _windows(config: ModelConfig) -> Document:
    """Return the earlier and later positions that a token attends to, and 1 for each layer with a window."""
    window, letters = config.attention.window, config.attention.window_pattern
    if window is None:
        return {}
    document: Document = {"window-size": f"{window - 1},0"}
    if GLOBAL in letters:
        layers = (letters[layer % len(letters)] for layer in range(config.n_layers))
        document["window-attn-skip-freq"] = _list([int(letter == LOCAL) for letter in layers])
    return document


def _feed_forward(config: ModelConfig) -> Document:
    feed_forward = config.feed_forward
    document: Document = {}
    if feed_forward.gated:
        document["swiglu"] = True
    elif feed_forward.activation == "relu2":
        document["squared-relu"] = True
    elif feed_forward.activation == "gelu":  # the fusion computes the tanh approximation
        document["no-bias-gelu-fusion"] = True
    if feed_forward.n_experts is None:
        return document
    document |= {
        "num-experts": feed_forward.n_experts,
        "moe-ffn-hidden-size": config.d_expert,
        "moe-router-topk": feed_forward.top_k,
    }
    if feed_forward.n_dense_layers:
        n_dense = feed_forward.n_dense_layers
        document["moe-layer-freq"] = _list([0] * n_dense + [1] * (config.n_layers - n_dense))
    if feed_forward.n_shared_experts:
        document["moe-shared-expert-intermediate-size"] = config.d_shared_experts
    if feed_forward.router == "sigmoid":
        document["moe-router-score-function"] = "sigmoid"
        if feed_forward.score_correction:
            document["moe-router-enable-expert-bias"] = True
    elif feed_forward.router == "softmax":
        document["moe-router-pre-softmax"] = True
    if feed_forward.routed_scale != 1:
        document["moe-router-topk-scaling-factor"] = feed_forward.routed_scale
    return document


def read(document: Document) -> dict[str, Any]:
    """Return the fields of the model that Megatron-LM builds from the arguments of :func:`write`."""
    has_bias = "disable-bias-linear" not in document
    kind = "rmsnorm" if document["normalization"] == "RMSNorm" else "layernorm"
    return {
        "vocab_size": document["vocab-size"],
        "d_model": document["hidden-size"],
        "n_heads": document["num-attention-heads"],
        "n_layers": document["num-layers"],
        "d_ff": document["ffn-hidden-size"],
        "max_len": document["max-position-embeddings"],
        "dropout": document["hidden-dropout"],
        "tie_weights": "untie-embeddings-and-output-weights" not in document,
        "embedding": {"multiplier": 1.0},
        "position": _read_position(document),
        "norm": {"kind": kind, "eps": document["norm-epsilon"], "zero_centered": "apply-layernorm-1p" in document},
        "attention": {
            "n_kv_heads": document.get("num-query-groups", document["num-attention-heads"]),
            "d_head": document["kv-channels"],
            "bias": has_bias or "add-qkv-bias" in document,
            "out_bias": has_bias,
            "qk_norm": "per_head" if "qk-layernorm" in document else "none",
            "sinks": document.get("softmax-type") == "learnable",
            **_read_windows(document),
        },
        "feed_forward": {"bias": has_bias, **_read_feed_forward(document, has_bias=has_bias)},
    }


def _read_position(document: Document) -> dict[str, Any]:
    kind = document["position-embedding-type"]
    if kind != "rope":
        return {"kind": "learned" if kind == "learned_absolute" else "none"}
    fields: dict[str, Any] = {
        "kind": "rope",
        "theta": float(document["rotary-base"]),
        "rotary_fraction": document["rotary-percent"],
        "pairing": "adjacent" if "rotary-interleaved" in document else "half",
    }
    if "use-rope-scaling" in document:
        fields |= {"scaling": "llama3", "scaling_factor": document["rope-scaling-factor"], **_LLAMA3}
    elif "rotary-seq-len-interpolation-factor" in document:
        fields |= {"scaling": "linear", "scaling_factor": float(document["rotary-seq-len-interpolation-factor"])}
    return fields


def _read_windows(document: Document) -> dict[str, Any]:
    if "window-size" not in document:
        return {}
    fields: dict[str, Any] = {"window": int(document["window-size"].partition(",")[0]) + 1}
    layers = document.get("window-attn-skip-freq", "")
    letters = [LOCAL if digit == "1" else GLOBAL for digit in layers if digit.isdigit()]
    return fields | ({"window_pattern": "".join(repeated_prefix(letters))} if letters else {})


def _read_feed_forward(document: Document, *, has_bias: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {"gated": "swiglu" in document}
    if "swiglu" in document:
        fields["activation"] = "silu"
    elif "squared-relu" in document:
        fields["activation"] = "relu2"
    else:
        fields["activation"] = "gelu_tanh" if has_bias and "no-bias-gelu-fusion" not in document else "gelu"
    if "num-experts" not in document:
        return fields
    is_sigmoid = document.get("moe-router-score-function") == "sigmoid"
    router = "softmax" if "moe-router-pre-softmax" in document else "topk_softmax"
    fields |= {
        "n_experts": document["num-experts"],
        "d_expert": document["moe-ffn-hidden-size"],
        "top_k": document["moe-router-topk"],
        "n_dense_layers": document.get("moe-layer-freq", "").count("0"),
        "router": "sigmoid" if is_sigmoid else router,
        "routed_scale": document.get("moe-router-topk-scaling-factor", 1.0),
    }
    if is_sigmoid:  # the scores of several experts are normalized
        fields["renormalize"] = document["moe-router-topk"] > 1
        fields["score_correction"] = "moe-router-enable-expert-bias" in document
    if "moe-shared-expert-intermediate-size" in document:
        fields |= {"n_shared_experts": 1, "d_shared_expert": document["moe-shared-expert-intermediate-size"]}
    return fields


def _list(values: list[int]) -> str:
    """Return a list as an argument without spaces."""
    return f"[{','.join(map(str, values))}]"


def to_arguments(document: Document) -> str:
    """Return the arguments, one a line: ``torchrun … pretrain_gpt.py $(cat FILE)``."""
    lines = (f"--{name}" if value is True else f"--{name} {value}" for name, value in document.items())
    return "".join(f"{line}\n" for line in lines)


MEGATRON = Framework(MEGATRON_CORE, "GPTModel", write, read, to_arguments)
