"""Zhipu's GLM: RoPE on half of each head, biases on q, k and v; then sandwich norms, or experts; and Solar Open."""

from collections.abc import Collection
from typing import Any, ClassVar

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import RoutedExpertKeys
from tinylm_cli.interop.rope_scaling import RopeKeys, RotaryFraction, Theta
from tinylm_cli.interop.tensor_names import GATE_UP, LLAMA_NAMES
from tinylm_cli.interop.translation import Translation


class GlmKeys(key.LlamaLikeKeys, RopeKeys):
    """``GlmConfig``."""

    constants = {**key.LLAMA_LIKE, "position.pairing": "adjacent", "attention.out_bias": False}
    tensor_names = LLAMA_NAMES.override(fused=(GATE_UP,))

    vocab_size: key.VocabSize = 151552
    intermediate_size: key.DFF = 13696
    num_hidden_layers: key.NLayers = 40
    num_key_value_heads: key.NKVHeads = 2
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 131072
    partial_rotary_factor: RotaryFraction = 0.5
    rms_norm_eps: key.NormEps = 1.5625e-7
    attention_bias: key.AttentionBias = True


class Glm4Keys(GlmKeys):
    """``Glm4Config``."""

    constants = {**GlmKeys.constants, "norm.placement": "sandwich"}
    tensor_names = GlmKeys.tensor_names.override(
        layer={"post_ln_1": "post_self_attn_layernorm", "post_ln_2": "post_mlp_layernorm"}
    )


class _GlmExpertKeys(RoutedExpertKeys, RopeKeys):
    constants = {
        **key.LLAMA_LIKE,
        "attention.out_bias": False,
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
    }

    hidden_size: key.DModel = 4096
    num_key_value_heads: key.NKVHeads = 8
    max_position_embeddings: key.MaxLen = 131072
    rms_norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = False
    n_routed_experts: key.Count = 128


class Glm4MoeKeys(_GlmExpertKeys):
    """``Glm4MoeConfig``."""

    # multi-token prediction layers, which are not loaded
    ignored: ClassVar[Collection[str]] = ("num_nextn_predict_layers", "num_mtp_layers")

    vocab_size: key.VocabSize = 151552
    intermediate_size: key.DFF = 10944
    num_hidden_layers: key.NLayers = 46
    num_attention_heads: key.NHeads = 96
    head_dim: key.DHead = None
    partial_rotary_factor: RotaryFraction = 0.5
    moe_intermediate_size: key.DExpert = 1408
    first_k_dense_replace: key.OptionalCount = 1
    use_qk_norm: bool = False

    def to_tinylm(self, to: Translation) -> None:
        """Map experts, norms, and the head dimension, which is rounded down by default."""
        super().to_tinylm(to)
        if self.head_dim is None and not to.has_error("hidden_size", "num_attention_heads"):
            to.put("attention.d_head", self.hidden_size // self.num_attention_heads, "hidden_size")
        if self.use_qk_norm:
            to.put("attention.qk_norm", "per_head", "use_qk_norm")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"use_qk_norm": config.attention.qk_norm == "per_head"}


class SolarOpenKeys(_GlmExpertKeys):
    """``SolarOpenConfig``: every layer has experts."""

    vocab_size: key.VocabSize = 196608
    num_hidden_layers: key.NLayers = 48
    num_attention_heads: key.NHeads = 64
    head_dim: key.DHead = 128
    rope_theta: Theta = 1e6
    partial_rotary_factor: RotaryFraction = 1.0
    moe_intermediate_size: key.DExpert = 1280
    first_k_dense_replace: int = key.only(0, why="every layer of this family has experts")

    def to_tinylm(self, to: Translation) -> None:
        """Map experts, whose size is the only one of a feed-forward network."""
        super().to_tinylm(to)
        to.ignore("intermediate_size")
        to.put("d_ff", self.moe_intermediate_size, "moe_intermediate_size")
        to.put("feed_forward.d_expert", None)
