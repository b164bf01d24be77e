"""Llama, the shape that most others start from; Mistral adds a window to it, and Mixtral experts."""

from __future__ import annotations

from tinylm_cli.interop.family import LLAMA_LIKE, Family, usual
from tinylm_cli.interop.key_writers import rope_keys, window_keys
from tinylm_cli.interop.rope import rope
from tinylm_cli.interop.sliding_windows import window
from tinylm_cli.interop.tensor_names import LLAMA_NAMES

LLAMA = Family(
    model_type="llama",
    architecture="LlamaForCausalLM",
    title="Llama",
    always=LLAMA_LIKE,
    fields=usual(
        vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=None, head_dim=None, hidden_act="silu", max_position_embeddings=2048, rms_norm_eps=1e-6,
        tie_word_embeddings=False, attention_bias=False, mlp_bias=False,
    ),
    compute=(rope(),),
    names=LLAMA_NAMES,
    write=(rope_keys,),
)  # fmt: skip

MISTRAL = Family(
    model_type="mistral",
    architecture="MistralForCausalLM",
    title="Mistral",
    always=LLAMA_LIKE,
    fields=usual(
        vocab_size=32000, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, head_dim=None, hidden_act="silu", max_position_embeddings=131072, rms_norm_eps=1e-6,
        tie_word_embeddings=False,
    ),
    defaults={"sliding_window": 4096},
    compute=(rope(), window),
    names=LLAMA_NAMES,
    write=(rope_keys, window_keys),
)  # fmt: skip

_MIXTRAL_NAMES = LLAMA_NAMES.but(layer={"feed_forward.router": "block_sparse_moe.gate"})._replace(
    experts={
        "feed_forward.experts.gate_proj": "block_sparse_moe.experts.{e}.w1",
        "feed_forward.experts.up_proj": "block_sparse_moe.experts.{e}.w3",
        "feed_forward.experts.down_proj": "block_sparse_moe.experts.{e}.w2",
    }
)


MIXTRAL = Family(
    model_type="mixtral",
    architecture="MixtralForCausalLM",
    title="Mixtral",
    always={**LLAMA_LIKE, "feed_forward.router": "topk_softmax"},
    fields={
        **usual(
            vocab_size=32000, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
            num_key_value_heads=8, head_dim=None, hidden_act="silu", max_position_embeddings=131072, rms_norm_eps=1e-5,
            tie_word_embeddings=False, num_experts_per_tok=2,
        ),
        "num_local_experts": ("feed_forward.n_experts", 8),
    },
    ignored=frozenset(["router_jitter_noise"]),  # while training
    compute=(rope(theta=1e6), window),
    aliases={"num_experts": "num_local_experts"},
    names=_MIXTRAL_NAMES,
    write=(rope_keys, window_keys),
)  # fmt: skip
