"""Keys of single families that no metadata key states: they follow from llama.cpp's code, or from several keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping
from typing import Any, NamedTuple

from gguf.constants import MODEL_TENSOR, ExpertGatingFuncType, Keys

from tinylm_cli.gguf_header import GgufTensor
from tinylm_cli.interop.gguf.architectures import LAYER_PREFIX, READ_ONLY, Architecture, tensor_name


class _Header(NamedTuple):
    keys: MutableMapping[str, Any]  # The keys of config.json so far.
    left: MutableMapping[str, Any]  # The metadata keys that are not understood yet.
    name: str  # The architecture.
    tensors: Mapping[str, GgufTensor]
    roles: Collection[str]  # The names of the tensors within their layers.

    def take(self, key: str, default: Any = None) -> Any:
        """Return a metadata value, which is then understood."""
        value = self.left.pop(key.format(arch=self.name), None)
        return default if value is None else value

    def has(self, tensor: MODEL_TENSOR) -> bool:
        """Return whether a layer stores the weight of a tensor."""
        return f"{tensor_name(tensor)}.weight" in self.roles


def complete(
    keys: MutableMapping[str, Any],
    left: MutableMapping[str, Any],
    architecture: Architecture,
    tensors: Mapping[str, GgufTensor],
    roles: Collection[str],
) -> None:
    """Add the keys of config.json that only this family has, and drop metadata keys that its code implies."""
    header = _Header(keys, left, architecture.name, tensors, roles)
    extra = _OF_FAMILY.get(architecture.model_type)
    if extra is not None:
        extra(header)


def _window_pattern(header: _Header) -> None:
    """Set the layers that have a window, if the header lists them."""
    pattern = header.take(Keys.Attention.SLIDING_WINDOW_PATTERN)
    if isinstance(pattern, list):
        header.keys["layer_types"] = ["sliding_attention" if each else "full_attention" for each in pattern]
    elif isinstance(pattern, bool):
        n_layers = header.keys.get("num_hidden_layers")
        kind = "sliding_attention" if pattern else "full_attention"
        header.keys["layer_types"] = [kind] * n_layers if type(n_layers) is int and n_layers <= MAX_LAYERS else None
    elif pattern is not None:
        header.keys["sliding_window_pattern"] = pattern


MAX_LAYERS = 10_000
"""Layers up to which the kinds of layers are listed."""

_GEMMA_27B = {"gemma2": 46, "gemma3": 62}
"""The layers of the models that divide scores by the root of d_model / n_heads, not of the head dimension."""


def _gemma(header: _Header) -> None:
    """Set the scale of scores, which depends on the number of layers in llama.cpp."""
    keys = header.keys
    d_model, n_heads = keys.get("hidden_size"), keys.get("num_attention_heads")
    scalar = keys.get("head_dim")
    is_27b = keys.get("num_hidden_layers") == _GEMMA_27B[header.name]
    if is_27b and type(d_model) is int and type(n_heads) is int and n_heads > 0:
        scalar = d_model // n_heads
    keys["query_pre_attn_scalar"] = scalar
    n_layers = keys.get("num_hidden_layers")
    if header.name == "gemma3" and not keys.get("sliding_window") and type(n_layers) is int and n_layers <= MAX_LAYERS:
        keys["layer_types"] = ["full_attention"] * n_layers  # without the key, no layer has a window
    _window_pattern(header)


def _falcon(header: _Header) -> None:
    """Set the decoder architecture, which follows from the norms and the KV heads."""
    keys = header.keys
    n_kv_heads = keys.get("num_kv_heads") or keys.get("num_attention_heads")
    two_norms = header.has(MODEL_TENSOR.ATTN_NORM_2)
    new = two_norms or n_kv_heads not in (1, keys.get("num_attention_heads"))
    keys["num_kv_heads"] = n_kv_heads
    keys["multi_query"] = n_kv_heads == 1 and not new
    keys["new_decoder_architecture"] = new
    if new:
        keys["num_ln_in_parallel_attn"] = 2 if two_norms else 1


def _mpt(header: _Header) -> None:
    """Set the bias of ALiBi."""
    most = header.take(Keys.Attention.MAX_ALIBI_BIAS, 0)
    attention = header.keys.setdefault("attn_config", {})
    if isinstance(most, float) and most.is_integer():
        most = int(most)
    attention |= {"alibi": bool(most), "alibi_bias_max": most or 8}


def _olmo(header: _Header) -> None:
    """Drop epsilon, which this family's code has as a constant."""
    if header.left.get(Keys.Attention.LAYERNORM_EPS.format(arch=header.name)) == 1e-5:
        header.take(Keys.Attention.LAYERNORM_EPS)


def _granite(header: _Header) -> None:
    """Set the scale of scores if the header does not: llama.cpp's default is 1/√d_head, the family's is 1."""
    keys = header.keys
    d_head = keys.get("head_dim")
    if "attention_multiplier" not in keys and type(d_head) is int and d_head > 0:
        keys["attention_multiplier"] = d_head**-0.5


def _cohere(header: _Header) -> None:
    """Set whether q and k have norms."""
    header.keys["use_qk_norm"] = header.has(MODEL_TENSOR.ATTN_Q_NORM)


def _gpt_oss(header: _Header) -> None:
    """Set how YaRN rounds its range, which llama.cpp has in its code."""
    scaling = header.keys.get("rope_scaling")
    if isinstance(scaling, dict):
        scaling["truncate"] = False


def _mamba(header: _Header) -> None:
    """Set the inner width as a multiple of the hidden size, and the rank of the step size."""
    inner, d_model = header.take(Keys.SSM.INNER_SIZE), header.keys.get("hidden_size")
    if type(inner) is int and type(d_model) is int and d_model > 0 and not inner % d_model:
        header.keys["expand"] = inner // d_model
    elif inner is not None:
        header.left[Keys.SSM.INNER_SIZE.format(arch=header.name)] = inner
    rank = header.take(Keys.SSM.TIME_STEP_RANK)
    if rank is not None:
        header.keys["time_step_rank"] = rank
    header.take(Keys.SSM.DT_B_C_RMS)


def _mamba2(header: _Header) -> None:
    """Set the width of heads, and the inner width as a multiple of the hidden size."""
    inner, d_model = header.take(Keys.SSM.INNER_SIZE), header.keys.get("hidden_size")
    n_heads = header.keys.get("num_heads")
    if type(inner) is int and type(n_heads) is int and n_heads > 0 and not inner % n_heads:
        header.keys["head_dim"] = inner // n_heads
    if type(inner) is int and type(d_model) is int and d_model > 0:
        header.keys["expand"] = inner // d_model


def _gpt_bigcode(header: _Header) -> None:
    """Set whether all heads share a key and a value."""
    n_kv_heads = header.take(Keys.Attention.HEAD_COUNT_KV)
    header.keys["multi_query"] = n_kv_heads == 1
    if n_kv_heads not in (None, 1, header.keys.get("n_head")):
        header.left[Keys.Attention.HEAD_COUNT_KV.format(arch=header.name)] = n_kv_heads


def _exaone4(header: _Header) -> None:
    """Set the windows; without a window, all layers are global."""
    header.keys.setdefault("sliding_window", None)
    _window_pattern(header)


def _glm4_moe(header: _Header) -> None:
    """Set whether q and k have norms, and leave out the layers of multi-token prediction."""
    keys = header.keys
    _sigmoid(header)
    keys["use_qk_norm"] = header.has(MODEL_TENSOR.ATTN_Q_NORM)
    _without_mtp(header)


def _without_mtp(header: _Header) -> None:
    """Leave the layers of multi-token prediction, which ``block_count`` contains, out of the model's."""
    n_layers, n_mtp = header.keys.get("num_hidden_layers"), header.keys.get("num_nextn_predict_layers")
    if type(n_layers) is int and type(n_mtp) is int and 0 < n_mtp < n_layers:
        header.keys["num_hidden_layers"] = n_layers - n_mtp


def _sigmoid(header: _Header) -> None:
    """Drop the function of the router if it is the one that the family's code has."""
    if header.left.get(Keys.LLM.EXPERT_GATING_FUNC.format(arch=header.name)) == ExpertGatingFuncType.SIGMOID:
        header.take(Keys.LLM.EXPERT_GATING_FUNC)


def _lfm2_moe(header: _Header) -> None:
    """Set the kinds of layers, and whether routers have a bias."""
    _lfm2(header)
    _sigmoid(header)
    header.keys["use_expert_bias"] = f"{tensor_name(MODEL_TENSOR.FFN_EXP_PROBS_B)}.bias" in header.roles


def _jamba(header: _Header) -> None:
    """Set the layers with attention, which have KV heads, and those with experts, which follow from the tensors."""
    keys = header.keys
    inner, d_model = header.take(Keys.SSM.INNER_SIZE), keys.get("hidden_size")
    if type(inner) is int and type(d_model) is int and d_model > 0:
        keys["mamba_expand"] = inner // d_model
    keys["mamba_dt_rank"] = header.take(Keys.SSM.TIME_STEP_RANK, "auto")
    keys["mamba_conv_bias"] = f"{tensor_name(MODEL_TENSOR.SSM_CONV1D)}.bias" in header.roles
    keys["mamba_proj_bias"] = f"{tensor_name(MODEL_TENSOR.SSM_IN)}.bias" in header.roles
    n_layers, kv_heads = keys.get("num_hidden_layers"), keys.get("num_key_value_heads")
    if not isinstance(kv_heads, list) or not kv_heads or type(n_layers) is not int or not 0 < n_layers <= MAX_LAYERS:
        return
    keys["num_key_value_heads"] = max(kv_heads)
    router = f"{tensor_name(MODEL_TENSOR.FFN_GATE_INP)}.weight"
    has_experts = [f"{LAYER_PREFIX.format(bid=layer)}{router}" in header.tensors for layer in range(n_layers)]
    keys["num_experts"] = keys.get("num_experts") or 1
    for name, chosen in (("attn_layer", [bool(each) for each in kv_heads]), ("expert_layer", has_experts)):
        first = [*chosen, True].index(True)
        keys[f"{name}_offset"] = first
        keys[f"{name}_period"] = max([*chosen[first + 1 :], True].index(True) + 1, first + 1)


def latent_family(stored: Collection[str], metadata: Mapping[str, Any]) -> Architecture:
    """Return the family of a model with latent attention: routers of DeepSeek V3 are sigmoids with a correction."""
    correction = f".{tensor_name(MODEL_TENSOR.FFN_EXP_PROBS_B)}.bias"
    family = READ_ONLY["deepseek_v3"]
    gating = metadata.get(Keys.LLM.EXPERT_GATING_FUNC.format(arch=family.name))
    is_v3 = gating == ExpertGatingFuncType.SIGMOID or any(name.endswith(correction) for name in stored)
    return family if is_v3 else READ_ONLY["deepseek_v2"]


def _latent(header: _Header) -> None:
    """Set the dimensions of heads, experts by groups, and the factor of YaRN on scores.

    In files with ``key_length_mla``, ``key_length`` is that of the latent vector.
    """
    keys = header.keys
    d_key, d_value = header.take(Keys.Attention.KEY_LENGTH), header.take(Keys.Attention.VALUE_LENGTH)
    d_key = header.take(Keys.Attention.KEY_LENGTH_MLA, d_key)
    d_rope = header.take(Keys.Rope.DIMENSION_COUNT)
    keys["v_head_dim"] = header.take(Keys.Attention.VALUE_LENGTH_MLA, d_value)
    keys["qk_rope_head_dim"] = d_rope
    keys["qk_nope_head_dim"] = d_key - d_rope if type(d_key) is int and type(d_rope) is int else d_key
    keys.setdefault("q_lora_rank", None)
    header.take(Keys.Attention.HEAD_COUNT_KV)
    if keys["model_type"] == "deepseek_v3":
        _sigmoid(header)
        keys["norm_topk_prob"] = bool(keys.get("norm_topk_prob"))
    elif (keys.get("n_group") or 1) != 1:
        keys["topk_method"] = "group_limited_greedy"
    scaling, logarithm = keys.get("rope_scaling"), header.take(Keys.Rope.SCALING_YARN_LOG_MUL)
    if isinstance(scaling, dict) and isinstance(logarithm, float):
        scaling |= dict.fromkeys(("mscale", "mscale_all_dim"), round(10 * logarithm, 6))
    keys["attention_bias"] = f"{tensor_name(MODEL_TENSOR.ATTN_KV_A_MQA)}.bias" in header.roles
    _without_mtp(header)


def _lfm2(header: _Header) -> None:
    """Set the kinds of layers: a layer without KV heads is a convolution."""
    kv_heads = header.keys.get("num_key_value_heads")
    header.keys["conv_bias"] = f"{tensor_name(MODEL_TENSOR.SHORTCONV_CONV)}.bias" in header.roles
    n_layers = header.keys.get("num_hidden_layers")
    if type(kv_heads) is int and type(n_layers) is int and 0 < n_layers <= MAX_LAYERS:
        kv_heads = [kv_heads] * n_layers
    if isinstance(kv_heads, list) and kv_heads:
        header.keys["layer_types"] = ["full_attention" if each else "conv" for each in kv_heads]
        header.keys["num_key_value_heads"] = max(kv_heads)


_OF_FAMILY: Mapping[str, Callable[[_Header], None]] = {
    "cohere": _cohere,
    "deepseek_v2": _latent,
    "deepseek_v3": _latent,
    "exaone4": _exaone4,
    "falcon": _falcon,
    "falcon_mamba": _mamba,
    "gemma2": _gemma,
    "gemma3_text": _gemma,
    "glm4_moe": _glm4_moe,
    "gpt_bigcode": _gpt_bigcode,
    "gpt_oss": _gpt_oss,
    "granite": _granite,
    "granitemoe": _granite,
    "granitemoeshared": _granite,
    "jamba": _jamba,
    "lfm2": _lfm2,
    "lfm2_moe": _lfm2_moe,
    "mamba": _mamba,
    "mamba2": _mamba2,
    "mpt": _mpt,
    "olmo": _olmo,
    "olmo3": _window_pattern,
}
