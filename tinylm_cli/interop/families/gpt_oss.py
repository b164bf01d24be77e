"""gpt-oss: experts with biases and a bounded activation, sinks beside the scores, windows in every second layer."""

from __future__ import annotations

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.family import LLAMA_LIKE, Family, Must, usual
from tinylm_cli.interop.key_writers import Keys, rope_keys, windows_keys
from tinylm_cli.interop.rope import rope
from tinylm_cli.interop.sliding_windows import alternate, window_by_layer
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, TensorLayout


def _rotation(config: ModelConfig) -> Keys:
    """Return rotary positions; this family takes the absence of a stretch for its own."""
    keys = rope_keys(config)
    return {**keys, "rope_scaling": keys["rope_scaling"] or {"rope_type": "default"}}


_NAMES = LLAMA_NAMES.but(layer={"feed_forward.router": "mlp.router"})._replace(
    exact={"attention.sinks": "self_attn.sinks"},
    stacked=tuple(
        (tuple(f"feed_forward.experts.{part}.{kind}" for part in parts), f"mlp.experts.{stored}{suffix}", layout)
        for parts, stored, of_weight in (
            (("gate_proj", "up_proj"), "gate_up_proj", TensorLayout.alternating),
            (("down_proj",), "down_proj", TensorLayout.transposed),
        )
        for kind, suffix, layout in (
            ("weight", "", of_weight),
            ("bias", "_bias", TensorLayout.same if of_weight is TensorLayout.transposed else of_weight),
        )
    ),
)


GPT_OSS = Family(
    model_type="gpt_oss",
    architecture="GptOssForCausalLM",
    title="gpt-oss",
    always={
        **LLAMA_LIKE,
        "attention.sinks": True,
        "feed_forward.activation": "quick_gelu",
        "feed_forward.bias": True,
        "feed_forward.router": "topk_softmax",
        "feed_forward.router_bias": True,
    },
    fields={
        **usual(
            vocab_size=201088, hidden_size=2880, intermediate_size=2880, num_hidden_layers=36, num_attention_heads=64,
            num_key_value_heads=8, head_dim=64, max_position_embeddings=131072, rms_norm_eps=1e-5,
            tie_word_embeddings=False, attention_bias=True, num_experts_per_tok=4,
        ),
        "num_local_experts": ("feed_forward.n_experts", 128),
        "swiglu_limit": ("feed_forward.clamp", 7.0),
    },
    musts={
        "swiglu_alpha": Must((1.702,), "quick_gelu's slope is 1.702"),
        "hidden_act": Must(("silu",), "this family's code has its own activation"),
    },
    ignored=frozenset(["experts_per_token", "initial_context_length"]),  # others' names for what stands beside them
    defaults={"sliding_window": 128},
    compute=(
        rope(
            theta=150_000.0,
            default={
                "position.scaling": "yarn",
                "position.scaling_factor": 32.0,
                "position.original_max_len": 4096,
                "position.truncate": False,
            },
        ),
        window_by_layer(alternate),
    ),
    aliases={"num_experts": "num_local_experts"},
    names=_NAMES,
    write=(_rotation, windows_keys),
)  # fmt: skip
