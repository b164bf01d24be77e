"""Llama, the shape that most others start from; Mistral adds a window to it, and Mixtral experts."""

from __future__ import annotations

from tinylm_cli.interop.family import LLAMA_LIKE, Family, usual
from tinylm_cli.interop.parts import rope, window

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
)  # fmt: skip

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
)  # fmt: skip
