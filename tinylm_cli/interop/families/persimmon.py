"""Adept's Persimmon: GPT-NeoX with a feed-forward network activated by ReLU², and norms on queries and keys."""

from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, RotaryFraction
from tinylm_cli.interop.tensor_names import BLOOM_LAYER, EMBEDDING, QKV, Fused, TensorLayout, TensorNames
from tinylm_cli.interop.translation import Translation


class PersimmonKeys(RopeKeys):
    """``PersimmonConfig``."""

    constants = {"embedding.multiplier": 1.0, "position.kind": "rope"}
    tensor_names = TensorNames(
        top_level={EMBEDDING: "model.embed_tokens", "ln_f": "model.final_layernorm", "lm_head": "lm_head"},
        prefix="model.layers.{i}.",
        layer={
            **BLOOM_LAYER,
            "attention.o_proj": "self_attn.dense",
            "attention.q_norm": "self_attn.q_layernorm",
            "attention.k_norm": "self_attn.k_layernorm",
        },
        fused=(Fused(QKV, "self_attn.query_key_value", TensorLayout.by_group),),
    )

    vocab_size: key.VocabSize = 262144
    hidden_size: key.DModel = 4096
    intermediate_size: key.DFF = 16384
    num_hidden_layers: key.NLayers = 36
    num_attention_heads: key.NHeads = 64
    hidden_act: key.Activation = "relu2"
    max_position_embeddings: key.MaxLen = 16384
    hidden_dropout: key.Dropout = 0.0
    layer_norm_eps: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = False
    partial_rotary_factor: RotaryFraction = 0.5
    qk_layernorm: bool | None = True

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        to.put("attention.qk_norm", "none" if self.qk_layernorm is False else "per_head", "qk_layernorm")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"qk_layernorm": config.attention.qk_norm == "per_head"}
