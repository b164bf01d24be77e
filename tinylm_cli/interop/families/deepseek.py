"""DeepSeek V2 and V3: keys and values from one small vector a token, many small experts, a few of them for everyone."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.family import LLAMA_LIKE, Family, Must, usual
from tinylm_cli.interop.key_reader import Reader
from tinylm_cli.interop.key_writers import Keys, rope_keys
from tinylm_cli.interop.rope import mscale, rope
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, mlp

_LATENT: dict[str, Any] = {**LLAMA_LIKE, "attention.kind": "latent", "position.pairing": "adjacent"}

_ATTENTION = {
    "kv_lora_rank": ("attention.kv_rank", 512),
    "q_lora_rank": ("attention.q_rank", 1536),
    "qk_nope_head_dim": ("attention.d_nope", 128),
    "qk_rope_head_dim": ("attention.d_rope", 64),
    "v_head_dim": ("attention.d_value", 128),
}

_MUSTS = {
    # the norms inside latent attention: a config has one eps for all norms
    "rms_norm_eps": Must(
        (1e-6,), "this family's code keeps 1e-6 in the norms inside attention, whatever the others have"
    ),
    "mlp_bias": Must((False,), "biases beside the experts and not in them have no field"),
    "moe_layer_freq": Must((1,), "only leading layers can be without experts"),
}
_IGNORED = frozenset(
    [
        "head_dim", "qk_head_dim",  # worked out from others
        "ep_size", "aux_loss_alpha", "seq_aux",  # training
        "num_nextn_predict_layers", "num_mtp_layers",  # layers that guess a second token, which are not loaded
    ]
)  # fmt: skip
_DIGITS = 17
_STEPS = 16


def _score_scale(read: Reader) -> None:
    """Stretched positions also sharpen the scores: ``yarn_apply_mscale`` squares its factor onto 1/√d_head."""
    block = read.block("rope_scaling") or read.block("rope_parameters")
    if block is None or read.value("position.scaling") is None:
        return
    weight, factor = block.number("mscale_all_dim"), read.value("position.scaling_factor")
    if not weight or not isinstance(factor, float):
        return
    widths = [read.value("attention.d_nope"), read.value("attention.d_rope")]
    if mscale(factor, weight) != 1 and all(isinstance(width, int) and width > 0 for width in widths):
        read.put("attention.scale", _scale(sum(widths), factor, weight), "rope_scaling", "rope_parameters")


def _scale(d_head: int, factor: float, weight: float) -> float:
    sharper = mscale(factor, weight)
    return float(d_head**-0.5 * sharper * sharper)


def _heads(read: Reader) -> None:
    """Every head has keys and values of its own, made from the small vector."""
    n_kv_heads = read.integer("num_key_value_heads")
    if n_kv_heads is not None and n_kv_heads != read.value("n_heads"):
        read.unsupported("num_key_value_heads", "latent attention makes keys and values for every head")


def _experts(*methods: str) -> Callable[[Reader], None]:
    """Return what reads which layers have experts, and groups to choose from where the method goes by groups."""

    def compute(read: Reader) -> None:
        n_layers, dense = read.value("n_layers"), read.integer("first_k_dense_replace", least=0) or 0
        n_groups, top_k_groups = read.integer("n_group"), read.integer("topk_group")
        method = read.word("topk_method") if read.has("topk_method") else methods[0]
        if method not in methods:
            read.unsupported("topk_method", "this family's code has no such choice", f"it has {' and '.join(methods)}")
        if isinstance(n_layers, int) and dense >= n_layers:
            for field in [name for name in read.fields if name.startswith("feed_forward.")]:
                if field not in ("feed_forward.activation", "feed_forward.gated", "feed_forward.bias"):
                    read.put(field, None)
            return
        read.put("feed_forward.n_dense_layers", dense, "first_k_dense_replace")
        if method == "greedy":
            return
        if n_groups is None or top_k_groups is None:
            key = "n_group" if n_groups is None else "topk_group"
            read.missing(key, f"topk_method {method} chooses by groups", f'for example "{key}": 8')
        elif n_groups > 1:
            read.put("feed_forward.n_groups", n_groups, "n_group")
            read.put("feed_forward.top_k_groups", top_k_groups, "topk_group")

    return compute


def _top_k(read: Reader) -> None:
    """The family has no usual number of experts a token."""
    if not read.has("num_experts_per_tok"):
        read.missing("num_experts_per_tok", "it has no default in this family", 'for example "num_experts_per_tok": 6')


_NAMES = EXPERT_NAMES.but(
    layer={
        **{f"attention.{part}_proj": f"self_attn.{part}_proj" for part in ("q_a", "q_b", "kv_b")},
        "attention.kv_a_proj": "self_attn.kv_a_proj_with_mqa",
        "attention.q_a_norm": "self_attn.q_a_layernorm",
        "attention.kv_a_norm": "self_attn.kv_a_layernorm",
        **mlp("feed_forward.shared_experts", "mlp.shared_experts"),
    }
)._replace(exact={"feed_forward.router.score_correction": "mlp.gate.e_score_correction_bias"})


def _stretched(config: ModelConfig) -> Keys:
    """Return rotary positions, and by ``mscale_all_dim`` a scale of the scores that is not 1/√d_head.

    ``mscale`` then says what factor the rotation itself has; one that it cannot say to the bit is written as it is.
    """
    keys, factor, scale = rope_keys(config), config.position.stretch, config.attention.scale
    if scale is None or config.position.scaling != "yarn" or factor <= 1:
        return keys
    per_weight = mscale(factor) - 1.0
    sharper = math.sqrt(scale / config.d_head**-0.5)
    whole = _weight((sharper - 1.0) / per_weight, scale, lambda weight: _scale(config.d_head, factor, weight))
    scaling: Keys = {**keys["rope_scaling"], "mscale_all_dim": whole}
    on_rotation = config.position.attention_factor
    if on_rotation is not None and (all_dim := mscale(factor, whole)) > 0:
        own = _weight((on_rotation * all_dim - 1.0) / per_weight, on_rotation, lambda w: mscale(factor, w) / all_dim)
        if own != 0 and mscale(factor, own) / all_dim == on_rotation:
            scaling["mscale"] = own
            del scaling["attention_factor"]
    return {**keys, "rope_scaling": scaling}


def _weight(estimate: float, wanted: float, read: Callable[[float], float]) -> float:
    """Return the number near ``estimate`` that is read as ``wanted``, or as near to it as can be; the shortest such."""
    rounded = [round(estimate, digits) for digits in range(1, _DIGITS)]
    beside = [estimate * (1.0 + steps * sys.float_info.epsilon) for steps in range(-_STEPS, _STEPS + 1)]
    return min([*rounded, *beside], key=lambda weight: abs(read(weight) - wanted))


_IDLE: Keys = {
    "first_k_dense_replace": 0,
    "n_routed_experts": 1,
    "n_shared_experts": 1,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 1,
    "routed_scaling_factor": 1.0,
    "norm_topk_prob": False,
}
"""What must be said of experts where no layer has any; the first is the number of layers."""


def _keys(config: ModelConfig) -> Keys:
    feed_forward = config.feed_forward
    idle = {} if feed_forward.n_experts is not None else {**_IDLE, "first_k_dense_replace": config.n_layers}
    return {
        **_stretched(config),
        "num_key_value_heads": config.n_heads,
        "first_k_dense_replace": feed_forward.n_dense_layers,
        "n_group": feed_forward.n_groups,
        "topk_group": feed_forward.top_k_groups,
        "moe_layer_freq": 1,
        **idle,
    }


def _method(config: ModelConfig) -> Keys:
    method = "greedy" if config.feed_forward.n_groups == 1 else "group_limited_greedy"
    return {"topk_method": method}


DEEPSEEK_V2 = Family(
    model_type="deepseek_v2",
    architecture="DeepseekV2ForCausalLM",
    title="DeepSeek V2",
    always={**_LATENT, "feed_forward.router": "softmax"},
    fields={
        **usual(
            vocab_size=102400, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
            hidden_act="silu", max_position_embeddings=2048, rms_norm_eps=1e-6, tie_word_embeddings=False,
            attention_bias=False, moe_intermediate_size=1407, num_experts_per_tok=2,
        ),
        **_ATTENTION,
        "n_routed_experts": ("feed_forward.n_experts", 64),
        "n_shared_experts": ("feed_forward.n_shared_experts", 2),
        "routed_scaling_factor": ("feed_forward.routed_scale", 1.0),
    },
    musts={
        **_MUSTS,
        "scoring_func": Must(("softmax",), "this family's code weighs experts by a softmax"),
        "norm_topk_prob": Must((False,), "this family's code in transformers does not renormalize"),
    },
    ignored=_IGNORED,
    compute=(_top_k, _heads, rope(), _score_scale, _experts("greedy", "group_limited_greedy")),
    aliases={"num_experts": "n_routed_experts"},
    names=_NAMES,
    write=(_keys, _method),
)  # fmt: skip


def _pairing(read: Reader) -> None:
    """Dimensions that turn together lie side by side, unless ``rope_interleave`` is false."""
    if read.flag("rope_interleave") is False:
        read.put("position.pairing", "half", "rope_interleave")


def _interleave(config: ModelConfig) -> Keys:
    return {"rope_interleave": config.position.pairing == "adjacent"}


DEEPSEEK_V3 = Family(
    model_type="deepseek_v3",
    architecture="DeepseekV3ForCausalLM",
    title="DeepSeek V3",
    always={**_LATENT, "feed_forward.router": "sigmoid", "feed_forward.score_correction": True},
    fields={
        **usual(
            vocab_size=129280, hidden_size=7168, intermediate_size=18432, num_hidden_layers=61, num_attention_heads=128,
            hidden_act="silu", max_position_embeddings=4096, rms_norm_eps=1e-6, tie_word_embeddings=False,
            attention_bias=False, moe_intermediate_size=2048, num_experts_per_tok=8,
        ),
        **_ATTENTION,
        "n_routed_experts": ("feed_forward.n_experts", 256),
        "n_shared_experts": ("feed_forward.n_shared_experts", 1),
        "routed_scaling_factor": ("feed_forward.routed_scale", 2.5),
        "norm_topk_prob": ("feed_forward.renormalize", True),
    },
    musts={**_MUSTS, "scoring_func": Must(("sigmoid",), "this family's code weighs experts by a sigmoid")},
    ignored=_IGNORED,
    defaults={"first_k_dense_replace": 3, "n_group": 8, "topk_group": 4},
    compute=(_heads, rope(), _score_scale, _pairing, _experts("noaux_tc")),
    aliases={"num_local_experts": "n_routed_experts"},
    names=_NAMES,
    write=(_keys, _interleave),
)  # fmt: skip
