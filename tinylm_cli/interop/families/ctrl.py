"""Salesforce's CTRL: sinusoidal positions with all sines before all cosines, and an LM head with a bias."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.gpt import GPT2_ALIASES
from tinylm_cli.interop.tensor_names import EMBEDDING, TensorNames


class CTRLKeys(key.Keys):
    """``CTRLConfig``."""

    constants = {
        "embedding.multiplier": None,
        "position.kind": "sinusoidal",
        "position.sinusoids": "concatenated",
        "norm.eps": 1e-6,
        "feed_forward.activation": "relu",
        "head.bias": True,
    }
    tensor_names = TensorNames(
        top_level={EMBEDDING: "transformer.w", "ln_f": "transformer.layernorm", "lm_head": "lm_head"},
        prefix="transformer.h.{i}.",
        layer={
            "ln_1": "layernorm1",
            **{f"attention.{part}_proj": f"multi_head_attention.W{part}" for part in "qkv"},
            "attention.o_proj": "multi_head_attention.dense",
            "ln_2": "layernorm2",
            "feed_forward.up_proj": "ffn.0",
            "feed_forward.down_proj": "ffn.2",
        },
    )
    aliases = GPT2_ALIASES
    ignored = ("n_ctx",)

    vocab_size: key.VocabSize = 246534
    n_positions: key.MaxLen = 256
    n_embd: key.DModel = 1280
    dff: key.DFF = 8192
    n_layer: key.NLayers = 48
    n_head: key.NHeads = 16
    resid_pdrop: key.Dropout = 0.1
    layer_norm_epsilon: float = key.only(1e-6, why="this family's code always uses 1e-6 inside layers")
    tie_word_embeddings: key.TieWeights = True
