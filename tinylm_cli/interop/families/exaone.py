"""LG's EXAONE 3 (Llama with other names), and EXAONE 4.0: norms after each sub-layer, and on queries and keys."""

from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.llama import LlamaKeys
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.sliding_windows import LayerWindowKeys
from tinylm_cli.interop.tensor_names import EMBEDDING, POST_NORM_NAMES, TensorNames
from tinylm_cli.interop.translation import Translation


class ExaoneKeys(LlamaKeys):
    """``ExaoneConfig``."""

    tensor_names = TensorNames(
        top_level={EMBEDDING: "transformer.wte", "ln_f": "transformer.ln_f", "lm_head": "lm_head"},
        prefix="transformer.h.{i}.",
        layer={
            "ln_1": "ln_1",
            **{f"attention.{part}_proj": f"attn.attention.{part}_proj" for part in "qkv"},
            "attention.o_proj": "attn.attention.out_proj",
            "ln_2": "ln_2",
            "feed_forward.gate_proj": "mlp.c_fc_0",
            "feed_forward.up_proj": "mlp.c_fc_1",
            "feed_forward.down_proj": "mlp.c_proj",
        },
        recomputed_suffixes=("rotary.inv_freq",),
    )
    aliases = {
        "num_layers": "num_hidden_layers",
        "layer_norm_epsilon": "rms_norm_eps",
        "activation_function": "hidden_act",
    }
    ignored = ("embed_dropout",)  # training

    vocab_size: key.VocabSize = 102400
    intermediate_size: key.DFF = 14336
    num_key_value_heads: key.NKVHeads = 8
    max_position_embeddings: key.MaxLen = 4096
    rms_norm_eps: key.NormEps = 1e-5
    rope_theta: Theta = 500_000.0


class Exaone4Keys(LayerWindowKeys, RopeKeys):
    """``Exaone4Config``, without sliding windows: with them, the global layers have no RoPE."""

    constants = {**key.LLAMA_LIKE, "norm.placement": "post", "attention.qk_norm": "per_head"}
    tensor_names = POST_NORM_NAMES
    ignored = ("sliding_window_pattern",)  # without windows

    vocab_size: key.VocabSize = 102400
    intermediate_size: key.DFF = 16384
    num_key_value_heads: key.NKVHeads = 32
    head_dim: key.DHead = None
    rms_norm_eps: key.NormEps = 1e-5

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        if self.sliding_window is not None:
            why = "layers without a window would have no RoPE"
            to.unsupported("sliding_window", why, "tinylm supports only sliding_window: null")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"sliding_window": config.attention.window}
