"""Tencent's HunYuan, dense or with experts: Llama with norms on queries and keys, after RoPE up to Hunyuan 1."""

from typing import Annotated, Any

from pydantic import Field

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import MlpLayerTypeKeys, expert_kind, put_expert_bias
from tinylm_cli.interop.families.llama import LlamaKeys
from tinylm_cli.interop.layer_order import of_each_layer, put_layers
from tinylm_cli.interop.rope_scaling import RopeKeys, RopeParameters, Theta
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, LLAMA_NAMES, Fused, mlp
from tinylm_cli.interop.translation import Translation


class HunYuanRopeParameters(RopeParameters):
    """RoPE, with the key of its own scaling."""

    alpha: Annotated[float | None, Field(gt=0, le=key.MAX_NUMBER, examples=[1000.0])] = None


class HunYuanDenseV1Keys(LlamaKeys):
    """``HunYuanDenseV1Config``."""

    constants = {**key.LLAMA_LIKE, "attention.qk_norm": "per_head", "attention.qk_norm_after_rope": True}
    tensor_names = LLAMA_NAMES.override(
        layer={"attention.q_norm": "self_attn.query_layernorm", "attention.k_norm": "self_attn.key_layernorm"}
    )

    ignored = ("eod_token_id",)

    vocab_size: key.VocabSize = 290943
    rms_norm_eps: key.NormEps = 1e-5
    mlp_bias: bool = key.only(False, why="this family's code has no such biases")
    rope_scaling: HunYuanRopeParameters | None = None
    rope_parameters: HunYuanRopeParameters | None = None

    def rope_block(self) -> tuple[str, RopeParameters | None]:
        """Return the block; with ``alpha``, dynamic scaling changes only theta, independent of the length."""
        block_key, block = super().rope_block()
        if block is not None and self._alpha(block) is not None:
            return block_key, block.model_copy(update={"rope_type": "default"})
        return block_key, block

    def to_tinylm(self, to: Translation) -> None:
        """Map RoPE; ``alpha`` multiplies theta by ``alpha ^ (d_head / (d_head - 2))``."""
        super().to_tinylm(to)
        block_key, block = super().rope_block()
        alpha = None if block is None else self._alpha(block)
        d_head, theta = self.head_dim or self.hidden_size // self.num_attention_heads, to.get("position.theta")
        if alpha is None:
            to.ignore(f"{block_key}.alpha")
        elif d_head > 2 and isinstance(theta, float):
            to.put("position.theta", theta * alpha ** (d_head / (d_head - 2)), f"{block_key}.alpha")

    @staticmethod
    def _alpha(block: RopeParameters) -> float | None:
        is_dynamic = (block.rope_type or block.type) == "dynamic"
        return block.alpha if is_dynamic and isinstance(block, HunYuanRopeParameters) else None


class HunYuanMoEV1Keys(HunYuanDenseV1Keys):
    """``HunYuanMoEV1Config``: every layer has experts, and a shared one of the same size."""

    constants = {
        **HunYuanDenseV1Keys.constants,
        "feed_forward.router": "softmax",
        "feed_forward.renormalize": True,
        "feed_forward.n_shared_experts": 1,
    }
    tensor_names = HunYuanDenseV1Keys.tensor_names.override(
        layer={"feed_forward.router": "mlp.gate.wg", **mlp("feed_forward.shared_experts", "mlp.shared_mlp")},
        experts=EXPERT_NAMES.experts,
    )
    aliases = {
        "num_local_experts": "num_experts",
        "num_experts_per_tok": "moe_topk",
        "attention_head_dim": "head_dim",  # in Tencent's own code
    }

    num_experts: key.NExperts = 1
    moe_topk: key.LayerSizes = 1
    moe_intermediate_size: key.LayerSizes | None = None
    num_shared_expert: key.LayerSizes | None = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the experts per token, which may differ by layer; the code of this family does not read their widths."""
        super().to_tinylm(to)
        widths = self.moe_intermediate_size
        if widths is not None and set(_listed(widths)) != {self.intermediate_size}:
            why = "the code of this family gives experts the width intermediate_size"
            to.unsupported("moe_intermediate_size", why, f"tinylm supports only the width {self.intermediate_size}")
        if self.num_shared_expert is not None and set(_listed(self.num_shared_expert)) != {1}:
            to.unsupported("num_shared_expert", "the code of this family has one shared expert in each layer")
        to.ignore(*(name for name in ("moe_intermediate_size", "num_shared_expert") if not to.has_error(name)))
        if to.has_error("moe_topk", "num_hidden_layers"):
            return
        counts = of_each_layer(to, "moe_topk", self.moe_topk, self.num_hidden_layers)
        kinds: dict[str, Any] = {f"top_{count}": {"feed_forward.top_k": count} for count in counts}
        put_layers(to, [f"top_{count}" for count in counts], kinds, "moe_topk")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; the experts per token as a list if layers differ."""
        counts = [kind.feed_forward.top_k for kind in layer_pattern(config)]
        return super().from_tinylm(config) | {"moe_topk": counts[0] if len(set(counts)) == 1 else counts}


def _listed(sizes: int | list[int]) -> list[int]:
    """Return the sizes of all layers, or of each, as a list."""
    return sizes if isinstance(sizes, list) else [sizes]


class HYV3Keys(MlpLayerTypeKeys, key.LlamaLikeKeys, RopeKeys):
    """``HYV3Config``: by default, the first layer has no experts."""

    constants = {
        **key.LLAMA_LIKE,
        "attention.qk_norm": "per_head",
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
        "feed_forward.renormalize": True,
    }
    tensor_names = LLAMA_NAMES.override(
        layer={"feed_forward.router": "mlp.router.gate", **mlp("feed_forward.shared_experts", "mlp.shared_mlp")},
        experts=EXPERT_NAMES.experts,
        tensors=(Fused(("feed_forward.router.score_correction",), "mlp.expert_bias"),),
        other_spellings={
            "mlp.router.gate": "mlp.gate",
            "mlp.shared_mlp": "mlp.shared_experts",
            "mlp.expert_bias": "mlp.e_score_correction_bias",
        },
    )
    aliases = {"num_local_experts": "num_experts"}
    ignored = (
        "enable_moe_fp32_combine",  # the dtype of a sum
        *("num_nextn_predict_layers", "num_mtp_layers"),  # multi-token prediction layers, which are not loaded
    )

    vocab_size: key.VocabSize = 120832
    intermediate_size: key.DFF = 13312
    num_hidden_layers: key.NLayers = 80
    num_attention_heads: key.NHeads = 64
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 131072
    rms_norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = False
    mlp_bias: key.FeedForwardBias = False  # not of routed experts
    rope_theta: Theta = 11_158_840.0
    num_experts: key.NExperts = 192
    num_experts_per_tok: key.TopK = 8
    num_shared_experts: Annotated[int, Field(ge=1), *key.fills("feed_forward.n_shared_experts")] = 1
    moe_intermediate_size: key.DExpert = 1536
    router_scaling_factor: key.RoutedScale = 2.826

    def to_tinylm(self, to: Translation) -> None:
        """Map RoPE, and the layers that have experts."""
        super().to_tinylm(to)
        put_expert_bias(to, mlp_bias=self.mlp_bias)
        self.put_sparse_layers(to, self.num_experts, "num_experts", 1)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"num_experts": expert_kind(config).feed_forward.n_experts}
