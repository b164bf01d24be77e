"""Phi by Microsoft: 1, 1.5 and 2 in parallel with one norm; 3 and 4 in the shape of Llama."""

from __future__ import annotations

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.family import LLAMA_LIKE, Family, Must, usual
from tinylm_cli.interop.key_reader import Reader
from tinylm_cli.interop.key_writers import Keys, partial_rope_keys, window_keys
from tinylm_cli.interop.rope import rope
from tinylm_cli.interop.sliding_windows import window
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, QKV, Fused, TensorLayout


def _query_key_norms(read: Reader) -> None:
    """Queries and keys have norms of the width of a head where ``qk_layernorm`` is true."""
    if read.flag("qk_layernorm") is True:
        read.put("attention.qk_norm", "per_head", "qk_layernorm")


_PHI_NAMES = LLAMA_NAMES.but(
    outside={"ln_f": "model.final_layernorm"},
    layer={
        "attention.o_proj": "self_attn.dense",
        "attention.q_norm": "self_attn.q_layernorm",
        "attention.k_norm": "self_attn.k_layernorm",
        "feed_forward.up_proj": "mlp.fc1",
        "feed_forward.down_proj": "mlp.fc2",
    },
)


def _query_key_norm_keys(config: ModelConfig) -> Keys:
    return {"qk_layernorm": config.attention.qk_norm == "per_head"}


PHI = Family(
    model_type="phi",
    architecture="PhiForCausalLM",
    title="Phi, up to 2",
    always={
        "embedding.multiplier": 1.0,
        "position.kind": "rope",
        "block.parallel": True,
        "block.shared_norm": True,
        "head.bias": True,
    },
    fields=usual(
        vocab_size=51200, hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_attention_heads=32,
        num_key_value_heads=None, head_dim=None, hidden_act="gelu_new", max_position_embeddings=2048, resid_pdrop=0.0,
        layer_norm_eps=1e-5, tie_word_embeddings=False,
    ),
    compute=(rope(fraction=0.5), _query_key_norms),
    names=_PHI_NAMES,
    write=(partial_rope_keys, _query_key_norm_keys),
)  # fmt: skip

_PHI3_NAMES = LLAMA_NAMES._replace(
    layer={ours: stored for ours, stored in LLAMA_NAMES.layer.items() if "_norm" not in ours},
    fused=(
        Fused(QKV, "self_attn.qkv_proj", TensorLayout.concatenated, TensorLayout.concatenated),
        Fused(
            ("feed_forward.gate_proj", "feed_forward.up_proj"),
            "mlp.gate_up_proj",
            TensorLayout.concatenated,
            TensorLayout.concatenated,
        ),
    ),
)


def _original_length(config: ModelConfig) -> Keys:
    original = config.position.original_max_len
    return {} if original is None else {"original_max_position_embeddings": original}


PHI3 = Family(
    model_type="phi3",
    architecture="Phi3ForCausalLM",
    title="Phi 3 and 4",
    always=LLAMA_LIKE,
    fields=usual(
        vocab_size=32064, hidden_size=3072, intermediate_size=8192, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=None, head_dim=None, hidden_act="silu", max_position_embeddings=4096, resid_pdrop=0.0,
        rms_norm_eps=1e-5, tie_word_embeddings=False,
    ),
    musts={
        "attention_bias": Must((False,), "this family's code has no biases"),
        "mlp_bias": Must((False,), "this family's code has no biases"),
        "lm_head_bias": Must((False,), "this family's code has no biases"),
        "full_attn_mod": Must((1,), "this family's code has no layers of another kind"),
        "interpolate_factor": Must((1,), "this family's code does not interpolate"),
    },
    ignored=frozenset(["original_max_position_embeddings"]),  # read only where positions are stretched
    defaults={"original_max_position_embeddings": 4096, "sliding_window": None},
    compute=(rope(fraction=1.0, renamed={"su": "longrope", "yarn": "longrope"}), window),
    names=_PHI3_NAMES,
    write=(partial_rope_keys, window_keys, _original_length),
)  # fmt: skip
