"""OLMo by Ai2: the first without norm weights, the second normed after each part, and a mixture of experts."""

from __future__ import annotations

from tinylm_cli.interop.family import LLAMA_LIKE, Family, Must, usual
from tinylm_cli.interop.key_writers import rope_keys
from tinylm_cli.interop.rope import rope
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, LLAMA_NAMES, POST_NORM_NAMES

_CLIPPED = Must((), "clipping queries, keys and values at a bound has no field")

OLMO = Family(
    model_type="olmo",
    architecture="OlmoForCausalLM",
    title="OLMo",
    always={**LLAMA_LIKE, "norm.kind": "layernorm", "norm.weight": False},
    fields=usual(
        vocab_size=50304, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=None, hidden_act="silu", max_position_embeddings=2048, tie_word_embeddings=False,
        attention_bias=False,
    ),
    musts={"clip_qkv": _CLIPPED},
    compute=(rope(),),
    names=LLAMA_NAMES,
    write=(rope_keys,),
)  # fmt: skip

OLMO2 = Family(
    model_type="olmo2",
    architecture="Olmo2ForCausalLM",
    title="OLMo 2",
    always={**LLAMA_LIKE, "norm.placement": "post", "attention.qk_norm": "full"},
    fields=usual(
        vocab_size=50304, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=None, head_dim=None, hidden_act="silu", max_position_embeddings=2048, rms_norm_eps=1e-5,
        tie_word_embeddings=False, attention_bias=False,
    ),
    compute=(rope(),),
    names=POST_NORM_NAMES,
    write=(rope_keys,),
)  # fmt: skip

OLMOE = Family(
    model_type="olmoe",
    architecture="OlmoeForCausalLM",
    title="OLMoE",
    always={**LLAMA_LIKE, "attention.qk_norm": "full", "feed_forward.router": "softmax"},
    fields={
        **usual(
            vocab_size=50304, hidden_size=2048, intermediate_size=2048, num_hidden_layers=16, num_attention_heads=16,
            num_key_value_heads=None, hidden_act="silu", max_position_embeddings=4096, rms_norm_eps=1e-5,
            tie_word_embeddings=False, attention_bias=False, num_experts_per_tok=8,
        ),
        "num_experts": ("feed_forward.n_experts", 64),
        "norm_topk_prob": ("feed_forward.renormalize", False),
    },
    musts={"clip_qkv": _CLIPPED},
    compute=(rope(),),
    aliases={"num_local_experts": "num_experts"},
    names=EXPERT_NAMES,
    write=(rope_keys,),
)  # fmt: skip
