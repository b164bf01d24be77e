"""DeepSeek V2 and V3: latent attention (MLA), fine-grained routed experts and shared experts; and Youtu, without."""

import math
import sys
from collections.abc import Callable, Collection
from typing import Annotated, Any, ClassVar

from pydantic import Field

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import put_expert_bias
from tinylm_cli.interop.rope_scaling import RopeKeys, mscale
from tinylm_cli.interop.tensor_names import ROUTED_EXPERT_NAMES
from tinylm_cli.interop.translation import Translation

LATENT: dict[str, Any] = {**key.LLAMA_LIKE, "attention.kind": "latent", "position.pairing": "adjacent"}
IGNORED = (
    "head_dim",  # derived from qk_rope_head_dim and qk_nope_head_dim
    "qk_head_dim",
    "ep_size",  # training
    "aux_loss_alpha",
    "seq_aux",
    "num_nextn_predict_layers",  # multi-token prediction layers, which are not loaded
    "num_mtp_layers",
)
LATENT_NAMES = ROUTED_EXPERT_NAMES.override(
    layer={
        **{f"attention.{part}_proj": f"self_attn.{part}_proj" for part in ("q_a", "q_b", "kv_b")},
        "attention.kv_a_proj": "self_attn.kv_a_proj_with_mqa",
        "attention.q_a_norm": "self_attn.q_a_layernorm",
        "attention.kv_a_norm": "self_attn.kv_a_layernorm",
    },
)
_DIGITS = 17  # decimal places of a rounded candidate
_STEPS = 16  # candidates on each side of an estimate

_NO_EXPERTS: dict[str, Any] = {
    "n_routed_experts": 1,
    "n_shared_experts": 1,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 1,
    "routed_scaling_factor": 1.0,
    "norm_topk_prob": False,
}
"""The expert keys of a model without experts."""


class LatentAttentionKeys(key.LlamaLikeKeys):
    """The keys of latent attention, with or without RoPE."""

    tensor_names = LATENT_NAMES
    ignored: ClassVar[Collection[str]] = IGNORED

    num_key_value_heads: key.OptionalSize = None
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: key.AttentionBias = False
    kv_lora_rank: Annotated[int, *key.fills("attention.kv_rank")] = 512
    q_lora_rank: Annotated[int | None, *key.fills("attention.q_rank")] = 1536
    qk_nope_head_dim: Annotated[int, *key.fills("attention.d_nope")] = 128
    qk_rope_head_dim: Annotated[int, *key.fills("attention.d_rope")] = 64
    v_head_dim: Annotated[int, *key.fills("attention.d_value")] = 128

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        if self.rms_norm_eps != 1e-6:  # the norms inside attention always use 1e-6
            to.put("attention.latent_norm_eps", 1e-6)
        if self.num_key_value_heads not in (None, self.num_attention_heads) and not to.has_error("num_attention_heads"):
            to.unsupported("num_key_value_heads", "latent attention expands keys and values for every head")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"num_key_value_heads": config.n_heads}


class LatentKeys(LatentAttentionKeys, RopeKeys):
    """The keys of latent attention that DeepSeek and its descendants share."""

    constants = LATENT

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        self._score_scale(to)

    def _score_scale(self, to: Translation) -> None:
        """Map YaRN's factor on the attention scores: transformers multiplies 1/√d_head by mscale squared."""
        block_key, block = self.rope_block()
        factor = to.get("position.scaling_factor")
        if block is None or not block.mscale_all_dim or not isinstance(factor, float):
            return
        if mscale(factor, block.mscale_all_dim) != 1:
            scale = _scale(self.qk_nope_head_dim + self.qk_rope_head_dim, factor, block.mscale_all_dim)
            to.put("attention.scale", scale, block_key, "qk_nope_head_dim", "qk_rope_head_dim")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return _with_mscale(super().from_tinylm(config), config)


class InterleavedKeys(LatentKeys):
    """The keys of latent attention in which ``rope_interleave`` selects the pairs of RoPE."""

    rope_interleave: bool | None = True

    def to_tinylm(self, to: Translation) -> None:
        """Map as in V2; RoPE pairs adjacent dimensions, unless ``rope_interleave`` is false."""
        super().to_tinylm(to)
        if self.rope_interleave is False:
            to.put("position.pairing", "half", "rope_interleave")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"rope_interleave": config.position.pairing == "adjacent"}


class YoutuKeys(InterleavedKeys):
    """``YoutuConfig``."""

    ignored = (*IGNORED, "embedding_initializer_range")

    vocab_size: key.VocabSize = 128256
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 6144
    num_attention_heads: key.NHeads = 16
    max_position_embeddings: key.MaxLen = 131072
    tie_word_embeddings: key.TieWeights = True


class DeepseekV2Keys(LatentKeys):
    """``DeepseekV2Config``."""

    constants = {**LATENT, "feed_forward.router": "softmax"}
    aliases = {"num_experts": "n_routed_experts"}

    # The values of ``topk_method`` that the family's code supports, its default first.
    topk_methods: ClassVar[tuple[str, ...]] = ("greedy", "group_limited_greedy")

    vocab_size: key.VocabSize = 102400
    mlp_bias: key.FeedForwardBias = False  # not of routed experts
    n_routed_experts: key.NExperts = 64
    n_shared_experts: key.NSharedExperts = 2
    num_experts_per_tok: Annotated[key.TopK, Field(examples=[6])]
    moe_intermediate_size: key.DExpert = 1407
    moe_layer_freq: int = key.only(1, why="this family's code has only leading dense layers")
    first_k_dense_replace: key.OptionalCount = None
    routed_scaling_factor: key.RoutedScale = 1.0
    n_group: key.OptionalSize = None
    topk_group: key.OptionalSize = None
    topk_method: key.Text = None
    scoring_func: str = key.only("softmax", why="this family's code weights experts with a softmax")
    norm_topk_prob: bool = key.only(False, why="this family's code in transformers does not renormalize")

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        self._experts(to)

    def _experts(self, to: Translation) -> None:
        """Map which layers have experts, and the expert groups if the top-k method is group-limited."""
        method, dense = self.topk_method or self.topk_methods[0], self.first_k_dense_replace or 0
        if method not in self.topk_methods:
            supported = f"supported methods are {' and '.join(self.topk_methods)}"
            to.unsupported("topk_method", "this family's code does not support it", supported)
        if dense >= self.num_hidden_layers and not to.has_error("num_hidden_layers"):
            for field in [name for name in to.fields if name.startswith("feed_forward.")]:
                if field not in ("feed_forward.activation", "feed_forward.gated", "feed_forward.bias"):
                    to.put(field, None)
            return
        put_expert_bias(to, mlp_bias=self.mlp_bias)
        to.put("feed_forward.n_dense_layers", dense, "first_k_dense_replace")
        if method == "greedy":
            return
        if self.n_group is None or self.topk_group is None:
            absent = "n_group" if self.n_group is None else "topk_group"
            to.missing(absent, f"topk_method {method} selects experts by groups", f'for example "{absent}": 8')
        elif self.n_group > 1:
            to.put("feed_forward.n_groups", self.n_group, "n_group")
            to.put("feed_forward.top_k_groups", self.topk_group, "topk_group")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        experts = config.feed_forward
        has_experts = experts.n_experts is not None
        return super().from_tinylm(config) | {
            "n_group": experts.n_groups,
            "topk_group": experts.top_k_groups,
            "topk_method": cls.topk_methods[0 if experts.n_groups == 1 else -1],
            "moe_layer_freq": 1,
            **({} if has_experts else _NO_EXPERTS),
            "first_k_dense_replace": experts.n_dense_layers if has_experts else config.n_layers,
        }


class DeepseekV3Keys(DeepseekV2Keys, InterleavedKeys):
    """``DeepseekV3Config``."""

    constants = {**LATENT, "feed_forward.router": "sigmoid", "feed_forward.score_correction": True}
    aliases = {"num_local_experts": "n_routed_experts"}

    topk_methods: ClassVar[tuple[str, ...]] = ("noaux_tc",)

    vocab_size: key.VocabSize = 129280
    mlp_bias: bool = key.only(False, why="this family's code has no such biases")
    hidden_size: key.DModel = 7168
    intermediate_size: key.DFF = 18432
    num_hidden_layers: key.NLayers = 61
    num_attention_heads: key.NHeads = 128
    max_position_embeddings: key.MaxLen = 4096
    n_routed_experts: key.NExperts = 256
    n_shared_experts: key.NSharedExperts = 1
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 2048
    first_k_dense_replace: key.OptionalCount = 3
    routed_scaling_factor: key.RoutedScale = 2.5
    n_group: key.OptionalSize = 8
    topk_group: key.OptionalSize = 4
    scoring_func: str = key.only("sigmoid", why="this family's code weights experts with a sigmoid")
    norm_topk_prob: key.Renormalize = True


def _scale(d_head: int, factor: float, weight: float) -> float:
    score_mscale = mscale(factor, weight)
    return float(d_head**-0.5 * score_mscale * score_mscale)


def _with_mscale(keys: dict[str, Any], config: ModelConfig) -> dict[str, Any]:
    """Return the RoPE keys with ``mscale_all_dim`` if the score scale is not 1/√d_head.

    ``mscale`` then encodes the factor on the rotation, or ``attention_factor`` if ``mscale`` has no exact value.
    """
    factor, scale = config.position.stretch, config.attention.scale
    if scale is None or config.position.scaling != "yarn" or factor <= 1:
        return keys
    per_weight = mscale(factor) - 1.0
    score_mscale = math.sqrt(scale / config.d_head**-0.5)
    all_dim = shortest_float((score_mscale - 1.0) / per_weight, scale, lambda w: _scale(config.d_head, factor, w))
    scaling: dict[str, Any] = {**keys["rope_scaling"], "mscale_all_dim": all_dim}
    target = config.position.attention_factor
    if target is not None and (divisor := mscale(factor, all_dim)) > 0:
        weight = shortest_float((target * divisor - 1.0) / per_weight, target, lambda w: mscale(factor, w) / divisor)
        if weight != 0 and mscale(factor, weight) / divisor == target:
            scaling["mscale"] = weight
            del scaling["attention_factor"]
    return {**keys, "rope_scaling": scaling}


def shortest_float(estimate: float, target: float, read: Callable[[float], float]) -> float:
    """Return the shortest number near ``estimate`` for which ``read`` returns ``target``, or the closest value."""
    rounded = [round(estimate, digits) for digits in range(1, _DIGITS)]
    adjacent = [estimate * (1.0 + steps * sys.float_info.epsilon) for steps in range(-_STEPS, _STEPS + 1)]
    return min([*rounded, *adjacent], key=lambda weight: abs(read(weight) - target))
