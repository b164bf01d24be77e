"""torchtitan: a Python file with a model config of its llama3 or qwen3 model, for the table of their flavors.

References:
    torchtitan 0.3.0, torchtitan/models/llama3/__init__.py, torchtitan/models/qwen3/__init__.py and
    torchtitan/models/common/
"""

from __future__ import annotations

from typing import Any

from tinylm_cli.config.lint_codes import TORCHTITAN as TITLE
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.frameworks.framework import Document, Framework

LLAMA3, QWEN3 = "llama3", "qwen3"

_EPS = {LLAMA3: 1e-5, QWEN3: 1e-6}
"""The epsilon of all norms of a model."""
_LLAMA_SCALING = ("scaling_factor", "low_freq_factor", "high_freq_factor")


def write(config: ModelConfig, name: str) -> Document:
    """Return the sizes that the functions of a model take; per-head norms of queries and keys select qwen3."""
    position = config.position
    is_qwen3 = config.attention.qk_norm == "per_head"
    document: Document = {
        "name": name,
        "model": QWEN3 if is_qwen3 else LLAMA3,
        "dim": config.d_model,
        "vocab_size": config.vocab_size,
        "enable_weight_tying": config.tie_weights,
        "n_layers": config.n_layers,
        "n_heads": config.n_heads,
        "n_kv_heads": config.n_kv_heads,
        "hidden_dim": config.d_ff,
        "head_dim": config.d_head if is_qwen3 else config.d_model // config.n_heads,
        "max_seq_len": config.max_len,
        "theta": position.theta,
    }
    if position.scaling == "llama3" and not is_qwen3:  # CosSinRoPE has no such scaling
        document |= {name: getattr(position, name) for name in _LLAMA_SCALING}
        document["original_max_position_embeddings"] = position.original_max_len
    return document


def read(document: Document) -> dict[str, Any]:
    """Return the fields of the model that torchtitan builds from a config of :func:`write`."""
    is_qwen3 = document["model"] == QWEN3
    position: dict[str, Any] = {
        "kind": "rope",
        "theta": document["theta"],
        "pairing": "half" if is_qwen3 else "adjacent",
    }
    if "scaling_factor" in document:
        position |= {"scaling": "llama3", **{name: document[name] for name in _LLAMA_SCALING}}
        position["original_max_len"] = document["original_max_position_embeddings"]
    return {
        "vocab_size": document["vocab_size"],
        "d_model": document["dim"],
        "n_heads": document["n_heads"],
        "n_layers": document["n_layers"],
        "d_ff": document["hidden_dim"],
        "max_len": document["max_seq_len"],
        "dropout": 0.0,
        "tie_weights": document["enable_weight_tying"],
        "embedding": {"multiplier": 1.0},
        "position": position,
        "norm": {"kind": "rmsnorm", "eps": _EPS[document["model"]]},
        "attention": {
            "n_kv_heads": document["n_kv_heads"],
            "d_head": document["head_dim"],
            "bias": False,
            "qk_norm": "per_head" if is_qwen3 else "none",
        },
        "feed_forward": {"activation": "silu", "gated": True, "bias": False},
    }


def to_python(document: Document) -> str:
    """Return a module with a function ``model_config``, like those of the flavors of the model."""
    return _HEAD.format(title=TITLE, **document) + (_qwen3 if document["model"] == QWEN3 else _llama3)(document)


def _llama3(document: Document) -> str:
    scaling = ""
    if "scaling_factor" in document:
        names = (*_LLAMA_SCALING, "original_max_position_embeddings")
        scaling = ', scaling="llama", ' + ", ".join(f"{name}={document[name]}" for name in names)
    return _LLAMA3_BODY.format(**document, embedding_init=_embedding_init(document), scaling=scaling)


def _qwen3(document: Document) -> str:
    return _QWEN3_BODY.format(**document, embedding_init=_embedding_init(document))


def _embedding_init(document: Document) -> str:
    """Return the initialization of the embedding, which a tied LM head initializes."""
    return "_EMBEDDING_SKIP_INIT" if document["enable_weight_tying"] else "_EMBEDDING_INIT"


_HEAD = '''\
"""A flavor of {model} for {title}: add it to {model}_configs of torchtitan/models/{model}/__init__.py."""

FLAVOR = {name!r}

'''

_LLAMA3_BODY = """\
from torchtitan.models.common import ComplexRoPE, Embedding, Linear, RMSNorm
from torchtitan.models.llama3 import (
    _NORM_INIT,
    {embedding_init},
    Llama3Model,
    _build_llama3_layers,
    _output_linear_init,
)


def model_config(attn_backend: str, tp_gemm_backend: str = "default") -> Llama3Model.Config:
    return Llama3Model.Config(
        dim={dim},
        vocab_size={vocab_size},
        enable_weight_tying={enable_weight_tying},
        tok_embeddings=Embedding.Config(
            num_embeddings={vocab_size}, embedding_dim={dim}, param_init={embedding_init}
        ),
        norm=RMSNorm.Config(normalized_shape={dim}, param_init=_NORM_INIT),
        lm_head=Linear.Config(in_features={dim}, out_features={vocab_size}, param_init=_output_linear_init({dim})),
        layers=_build_llama3_layers(
            n_layers={n_layers},
            dim={dim},
            n_heads={n_heads},
            n_kv_heads={n_kv_heads},
            hidden_dim={hidden_dim},
            rope=ComplexRoPE.Config(dim={head_dim}, max_seq_len={max_seq_len}, theta={theta}{scaling}),
            attn_backend=attn_backend,
            tp_gemm_backend=tp_gemm_backend,
        ),
    )
"""

_QWEN3_BODY = """\
from torchtitan.models.common import CosSinRoPE, Embedding, Linear
from torchtitan.models.qwen3 import _LINEAR_INIT, {embedding_init}, Qwen3Model, _build_qwen3_layers, _qwen3_norm


def model_config(attn_backend: str) -> Qwen3Model.Config:
    return Qwen3Model.Config(
        dim={dim},
        vocab_size={vocab_size},
        enable_weight_tying={enable_weight_tying},
        tok_embeddings=Embedding.Config(
            num_embeddings={vocab_size}, embedding_dim={dim}, param_init={embedding_init}
        ),
        norm=_qwen3_norm({dim}),
        lm_head=Linear.Config(in_features={dim}, out_features={vocab_size}, param_init=_LINEAR_INIT),
        layers=_build_qwen3_layers(
            n_layers={n_layers},
            dim={dim},
            n_heads={n_heads},
            n_kv_heads={n_kv_heads},
            head_dim={head_dim},
            hidden_dim={hidden_dim},
            rope=CosSinRoPE.Config(dim={head_dim}, max_seq_len={max_seq_len}, theta={theta}),
            attn_backend=attn_backend,
        ),
    )
"""


def _rotates_adjacent(config: ModelConfig) -> bool:
    return config.attention.qk_norm != "per_head"


TORCHTITAN = Framework(TITLE, "Decoder", write, read, to_python, reorders_pairs=_rotates_adjacent)
"""Its llama3 rotates adjacent dimensions: its state-dict adapter reorders the rows of Q and K of other checkpoints."""
