"""DeepSeek V2 and V3: latent attention (MLA), fine-grained routed experts and shared experts."""

# no deferred annotations, as in config.blocks

import math
import sys
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.rope_scaling import RopeKeys, mscale, rope, rope_block, rope_keys
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, mlp
from tinylm_cli.interop.translation import Translation

_LATENT: dict[str, Any] = {**key.LLAMA_LIKE, "attention.kind": "latent", "position.pairing": "adjacent"}
_IGNORED = frozenset(
    [
        "head_dim",  # derived from qk_rope_head_dim and qk_nope_head_dim
        "qk_head_dim",
        "ep_size",  # training
        "aux_loss_alpha",
        "seq_aux",
        "num_nextn_predict_layers",  # multi-token prediction layers, which are not loaded
        "num_mtp_layers",
    ]
)
_DIGITS = 17
_STEPS = 16


class DeepseekKeys(RopeKeys):
    """Keys that V2 and V3 share."""

    hidden_act: key.Activation = "silu"
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = False
    attention_bias: key.AttentionBias = False
    mlp_bias: Annotated[bool, *key.only(False, why="tinylm cannot add biases to the shared experts only")] = False
    moe_layer_freq: Annotated[int, *key.only(1, why="only leading layers can be dense")] = 1
    num_key_value_heads: key.OptionalSize = None
    kv_lora_rank: Annotated[int, *key.fills("attention.kv_rank")] = 512
    q_lora_rank: Annotated[int | None, *key.fills("attention.q_rank")] = 1536
    qk_nope_head_dim: Annotated[int, *key.fills("attention.d_nope")] = 128
    qk_rope_head_dim: Annotated[int, *key.fills("attention.d_rope")] = 64
    v_head_dim: Annotated[int, *key.fills("attention.d_value")] = 128


class DeepseekV2Keys(DeepseekKeys):
    """``DeepseekV2Config``."""

    vocab_size: key.VocabSize = 102400
    hidden_size: key.DModel = 4096
    intermediate_size: key.DFF = 11008
    num_hidden_layers: key.NLayers = 32
    num_attention_heads: key.NHeads = 32
    max_position_embeddings: key.MaxLen = 2048
    n_routed_experts: key.NExperts = 64
    n_shared_experts: key.NSharedExperts = 2
    num_experts_per_tok: Annotated[key.TopK, Field(examples=[6])]
    moe_intermediate_size: key.DExpert = 1407
    routed_scaling_factor: key.RoutedScale = 1.0
    first_k_dense_replace: key.OptionalCount = None
    n_group: key.OptionalSize = None
    topk_group: key.OptionalSize = None
    topk_method: key.Text = None
    scoring_func: Annotated[str, *key.only("softmax", why="this family's code weights experts with a softmax")] = (
        "softmax"
    )
    norm_topk_prob: Annotated[bool, *key.only(False, why="this family's code in transformers does not renormalize")] = (
        False
    )


class DeepseekV3Keys(DeepseekKeys):
    """``DeepseekV3Config``."""

    vocab_size: key.VocabSize = 129280
    hidden_size: key.DModel = 7168
    intermediate_size: key.DFF = 18432
    num_hidden_layers: key.NLayers = 61
    num_attention_heads: key.NHeads = 128
    max_position_embeddings: key.MaxLen = 4096
    n_routed_experts: key.NExperts = 256
    n_shared_experts: key.NSharedExperts = 1
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 2048
    routed_scaling_factor: key.RoutedScale = 2.5
    norm_topk_prob: key.Renormalize = True
    first_k_dense_replace: key.OptionalCount = 3
    n_group: key.OptionalSize = 8
    topk_group: key.OptionalSize = 4
    topk_method: key.Text = None
    scoring_func: Annotated[str, *key.only("sigmoid", why="this family's code weights experts with a sigmoid")] = (
        "sigmoid"
    )
    rope_interleave: bool | None = True


def _attention(keys: DeepseekV2Keys | DeepseekV3Keys, to: Translation) -> None:
    if keys.rms_norm_eps != 1e-6:
        why = "norms inside attention always use 1e-6 in this family"
        to.unsupported("rms_norm_eps", why, "tinylm supports only rms_norm_eps: 1e-06")
    if keys.num_key_value_heads not in (None, keys.num_attention_heads) and not to.is_wrong("num_attention_heads"):
        to.unsupported("num_key_value_heads", "latent attention expands keys and values for every head")
    rope(keys, to)
    _score_scale(keys, to)


def _score_scale(keys: DeepseekV2Keys | DeepseekV3Keys, to: Translation) -> None:
    """Map YaRN's factor on the attention scores: transformers multiplies 1/√d_head by mscale squared."""
    at, block = rope_block(keys)
    factor = to.get("position.scaling_factor")
    if block is None or not block.mscale_all_dim or not isinstance(factor, float):
        return
    if mscale(factor, block.mscale_all_dim) != 1:
        scale = _scale(keys.qk_nope_head_dim + keys.qk_rope_head_dim, factor, block.mscale_all_dim)
        to.put("attention.scale", scale, at, "qk_nope_head_dim", "qk_rope_head_dim")


def _scale(d_head: int, factor: float, weight: float) -> float:
    sharper = mscale(factor, weight)
    return float(d_head**-0.5 * sharper * sharper)


def _experts(keys: DeepseekV2Keys | DeepseekV3Keys, to: Translation, *methods: str) -> None:
    """Map which layers have experts, and the expert groups if the top-k method is group-limited.

    Args:
        keys: The family's keys.
        to: The translation.
        methods: The values of ``topk_method`` that the family's code supports, its default first.
    """
    method, dense = keys.topk_method or methods[0], keys.first_k_dense_replace or 0
    if method not in methods:
        to.unsupported(
            "topk_method", "this family's code does not support it", f"supported methods are {' and '.join(methods)}"
        )
    if dense >= keys.num_hidden_layers and not to.is_wrong("num_hidden_layers"):
        for field in [name for name in to.fields if name.startswith("feed_forward.")]:
            if field not in ("feed_forward.activation", "feed_forward.gated", "feed_forward.bias"):
                to.put(field, None)
        return
    to.put("feed_forward.n_dense_layers", dense, "first_k_dense_replace")
    if method == "greedy":
        return
    if keys.n_group is None or keys.topk_group is None:
        absent = "n_group" if keys.n_group is None else "topk_group"
        to.missing(absent, f"topk_method {method} selects experts by groups", f'for example "{absent}": 8')
    elif keys.n_group > 1:
        to.put("feed_forward.n_groups", keys.n_group, "n_group")
        to.put("feed_forward.top_k_groups", keys.topk_group, "topk_group")


_NO_EXPERTS: dict[str, Any] = {
    "n_routed_experts": 1,
    "n_shared_experts": 1,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 1,
    "routed_scaling_factor": 1.0,
    "norm_topk_prob": False,
}
"""The expert keys of a model without experts."""


def _shared_keys(config: ModelConfig) -> dict[str, Any]:
    experts = config.feed_forward
    dense = experts.n_dense_layers if experts.n_experts is not None else config.n_layers
    return {
        **_scaled_rope_keys(config),
        "num_key_value_heads": config.n_heads,
        "n_group": experts.n_groups,
        "topk_group": experts.top_k_groups,
        "moe_layer_freq": 1,
        **({} if experts.n_experts is not None else _NO_EXPERTS),
        "first_k_dense_replace": dense,
    }


def _scaled_rope_keys(config: ModelConfig) -> dict[str, Any]:
    """Return the RoPE keys, with ``mscale_all_dim`` if the score scale is not 1/√d_head.

    ``mscale`` then encodes the factor on the rotation; if it cannot exactly, ``attention_factor`` is written instead.
    """
    keys, factor, scale = rope_keys(config), config.position.stretch, config.attention.scale
    if scale is None or config.position.scaling != "yarn" or factor <= 1:
        return keys
    per_weight = mscale(factor) - 1.0
    sharper = math.sqrt(scale / config.d_head**-0.5)
    whole = _weight((sharper - 1.0) / per_weight, scale, lambda weight: _scale(config.d_head, factor, weight))
    scaling: dict[str, Any] = {**keys["rope_scaling"], "mscale_all_dim": whole}
    on_rotation = config.position.attention_factor
    if on_rotation is not None and (all_dim := mscale(factor, whole)) > 0:
        own = _weight((on_rotation * all_dim - 1.0) / per_weight, on_rotation, lambda w: mscale(factor, w) / all_dim)
        if own != 0 and mscale(factor, own) / all_dim == on_rotation:
            scaling["mscale"] = own
            del scaling["attention_factor"]
    return {**keys, "rope_scaling": scaling}


def _weight(estimate: float, wanted: float, read: Callable[[float], float]) -> float:
    """Return the shortest number near ``estimate`` for which ``read`` returns ``wanted``, or the closest value."""
    rounded = [round(estimate, digits) for digits in range(1, _DIGITS)]
    beside = [estimate * (1.0 + steps * sys.float_info.epsilon) for steps in range(-_STEPS, _STEPS + 1)]
    return min([*rounded, *beside], key=lambda weight: abs(read(weight) - wanted))


_NAMES = EXPERT_NAMES.override(
    layer={
        **{f"attention.{part}_proj": f"self_attn.{part}_proj" for part in ("q_a", "q_b", "kv_b")},
        "attention.kv_a_proj": "self_attn.kv_a_proj_with_mqa",
        "attention.q_a_norm": "self_attn.q_a_layernorm",
        "attention.kv_a_norm": "self_attn.kv_a_layernorm",
        **mlp("feed_forward.shared_experts", "mlp.shared_experts"),
    },
    exact={"feed_forward.router.score_correction": "mlp.gate.e_score_correction_bias"},  # router correction bias
)


def _deepseek_v2(keys: DeepseekV2Keys, to: Translation) -> None:
    _attention(keys, to)
    _experts(keys, to, "greedy", "group_limited_greedy")


def _deepseek_v2_keys(config: ModelConfig) -> dict[str, Any]:
    method = "greedy" if config.feed_forward.n_groups == 1 else "group_limited_greedy"
    return {**_shared_keys(config), "topk_method": method}


DEEPSEEK_V2 = Family(
    model_type="deepseek_v2",
    architecture="DeepseekV2ForCausalLM",
    title="DeepSeek V2",
    keys=DeepseekV2Keys,
    constants={**_LATENT, "feed_forward.router": "softmax"},
    to_tinylm=_deepseek_v2,
    from_tinylm=_deepseek_v2_keys,
    tensor_names=_NAMES,
    ignored=_IGNORED,
    aliases={"num_experts": "n_routed_experts"},
)


def _deepseek_v3(keys: DeepseekV3Keys, to: Translation) -> None:
    """RoPE pairs adjacent dimensions, unless ``rope_interleave`` is false."""
    _attention(keys, to)
    if keys.rope_interleave is False:
        to.put("position.pairing", "half", "rope_interleave")
    _experts(keys, to, "noaux_tc")


def _deepseek_v3_keys(config: ModelConfig) -> dict[str, Any]:
    return {**_shared_keys(config), "rope_interleave": config.position.pairing == "adjacent"}


DEEPSEEK_V3 = Family(
    model_type="deepseek_v3",
    architecture="DeepseekV3ForCausalLM",
    title="DeepSeek V3",
    keys=DeepseekV3Keys,
    constants={**_LATENT, "feed_forward.router": "sigmoid", "feed_forward.score_correction": True},
    to_tinylm=_deepseek_v3,
    from_tinylm=_deepseek_v3_keys,
    tensor_names=_NAMES,
    ignored=_IGNORED,
    aliases={"num_local_experts": "n_routed_experts"},
)
