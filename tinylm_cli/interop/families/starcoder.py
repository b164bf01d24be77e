"""StarCoder 2: Llama's attention with biases, GPT-2's feed-forward part and norms."""

from __future__ import annotations

from tinylm_cli.interop.family import Family, Must, usual
from tinylm_cli.interop.key_writers import rope_keys, window_keys
from tinylm_cli.interop.rope import rope
from tinylm_cli.interop.sliding_windows import window
from tinylm_cli.interop.tensor_names import LLAMA_NAMES

_NAMES = LLAMA_NAMES.but(layer={"feed_forward.up_proj": "mlp.c_fc", "feed_forward.down_proj": "mlp.c_proj"})


STARCODER2 = Family(
    model_type="starcoder2",
    architecture="Starcoder2ForCausalLM",
    title="StarCoder 2",
    always={"embedding.multiplier": 1.0, "position.kind": "rope"},
    fields={
        **usual(
            vocab_size=49152, hidden_size=3072, intermediate_size=12288, num_hidden_layers=30, num_attention_heads=24,
            num_key_value_heads=2, head_dim=None, hidden_act="gelu_pytorch_tanh", max_position_embeddings=4096,
            residual_dropout=0.0, norm_epsilon=1e-5, tie_word_embeddings=True,
        ),
        "use_bias": ("attention.bias", "feed_forward.bias", True),
    },
    musts={
        "mlp_type": Must(("default",), "this family's code knows no other"),
        "norm_type": Must(("layer_norm",), "this family's code knows no other"),
        "scale_attn_weights": Must((True,), "this family's code always divides scores by √d_head"),
    },
    ignored=frozenset(
        [
            "activation_function", "layer_norm_epsilon",  # hidden_act and norm_epsilon are what counts
            "attention_softmax_in_fp32", "scale_attention_softmax_in_fp32",
        ]
    ),
    defaults={"sliding_window": None},
    compute=(rope(), window),
    names=_NAMES,
    write=(rope_keys, window_keys),
)  # fmt: skip
