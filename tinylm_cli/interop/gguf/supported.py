"""The models that llama.cpp computes as the family does: which fields may have other values than the family's defaults.

References:
    src/models/*.cpp of llama.cpp 0c1e57098, https://github.com/ggml-org/llama.cpp
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.dependencies import defaults
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.yaml_scalar import short_scalar
from tinylm_cli.errors import Span, UnableError
from tinylm_cli.interop import CONFIG_FILE
from tinylm_cli.interop.config_json import data_to_node
from tinylm_cli.interop.export_config import brief
from tinylm_cli.interop.gguf.architectures import ARCHITECTURES, Architecture
from tinylm_cli.interop.to_tinylm import map_config
from tinylm_cli.wording import Setting, Text

_SIZES = frozenset(
    [
        *("vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "max_len", "dropout", "embedding.multiplier"),
        *("norm.eps", "position.theta", "attention.n_kv_heads", "attention.d_value"),
    ]
)
_SCALING = frozenset(
    f"position.{name}"
    for name in ("scaling_factor", "original_max_len", "beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor")
)
_TIED = frozenset(["tie_weights"])
_BIASES = frozenset(["attention.bias", "attention.out_bias", "feed_forward.bias"])
_EXPERTS = frozenset(f"feed_forward.{name}" for name in ("n_experts", "top_k", "d_expert"))
_SHARED = frozenset(f"feed_forward.{name}" for name in ("n_shared_experts", "d_shared_expert"))
_WINDOWS = frozenset(["attention.window", "attention.window_pattern"])
_SOFTCAPS = frozenset(["attention.logit_softcap", "head.logit_softcap"])
_MULTIPLIERS = frozenset(["attention.scale", "block.residual_multiplier", "head.logit_scale"])
_D_HEAD = frozenset(["attention.d_head"])
_ROTATED = frozenset(["position.rotary_fraction"])

_LLAMA_SCALINGS = ("none", "linear", "yarn", "llama3")
_SCALINGS = ("none", "linear", "yarn")

_MAX_LISTED = 3
_UNKNOWN = object()
"""No single value of a field is the supported one."""

_GEMMA_27B_LAYERS = {"gemma2": 46, "gemma3": 62}
"""Layers of the models in which llama.cpp scales scores by ``(d_model / n_heads)^-1/2``, not by ``d_head^-1/2``."""


class _Supported(NamedTuple):
    """What a model of one family may have."""

    fields: Collection[str]  # Fields that may have any value, besides sizes.
    scalings: Collection[str] = _SCALINGS  # Kinds of RoPE scaling.
    needed: Collection[str] = ()  # Fields that may have any value but none.
    ignores_windows: bool = False  # Whether llama.cpp reads no sliding window.


_SUPPORTED: Mapping[str, _Supported] = {
    "llama": _Supported(_BIASES | _TIED | _D_HEAD, _LLAMA_SCALINGS),
    "mistral": _Supported(_TIED | _D_HEAD, _LLAMA_SCALINGS, ignores_windows=True),
    "mixtral": _Supported(_EXPERTS | _TIED | _D_HEAD, _LLAMA_SCALINGS, ignores_windows=True),
    "qwen2": _Supported(_TIED),
    "qwen2_moe": _Supported(_EXPERTS | _SHARED),
    "qwen3": _Supported(_TIED | _D_HEAD),
    "qwen3_moe": _Supported(_EXPERTS | _TIED | _D_HEAD),
    "gemma": _Supported(_D_HEAD),
    "gemma2": _Supported(_D_HEAD | _WINDOWS | _SOFTCAPS, ("none",), _SOFTCAPS | {"attention.window"}),
    "gemma3_text": _Supported(
        _D_HEAD | _WINDOWS | _TIED | {"position.local_theta", "head.logit_softcap"}, ("none", "linear")
    ),
    "gpt2": _Supported(_TIED),
    "gpt_neox": _Supported(_ROTATED | {"block.parallel"}, ("none",)),
    "bloom": _Supported(()),
    "phi": _Supported(_ROTATED, ("none",)),
    "phi3": _Supported(_TIED | _ROTATED, ("none",)),
    "starcoder2": _Supported(_TIED, ("none",)),
    "stablelm": _Supported(_ROTATED | {"attention.bias", "block.parallel", "block.shared_norm"}, ("none",)),
    "olmo": _Supported(_TIED | {"attention.clip_qkv"}, ("none",)),
    "olmo2": _Supported((), ("none",)),
    "granite": _Supported(_TIED | _MULTIPLIERS, ("none",)),
    "granitemoe": _Supported(_TIED | _MULTIPLIERS | _EXPERTS, ("none",)),
    "cohere": _Supported({"head.logit_scale"}, ("none",)),
    "arcee": _Supported(_TIED, ("none",)),
    "glm4": _Supported(_TIED | _D_HEAD | _ROTATED | {"attention.bias"}, ("none",)),
}
"""Each family whose logits llama.cpp computes from an exported file, as the tests compare them."""


def architecture_for(config: ModelConfig, family: str) -> Architecture:
    """Return the architecture of llama.cpp that computes a model.

    Args:
        config: A config that the family expresses.
        family: The Hugging Face family.

    Raises:
        UnableError: If tinylm writes no GGUF file of this family, or llama.cpp would compute something else.
    """
    supported = _SUPPORTED.get(family)
    if supported is None:
        *others, last = _SUPPORTED
        message = f"models of the family {family} are not written as GGUF files"
        raise UnableError(message, help=f"the families that are: {', '.join(others)} and {last}")
    architecture = ARCHITECTURES[family]
    values = canonical_fields(config)
    differing = dict(_unsupported(values, architecture, supported))
    if differing:
        listed = ", ".join(_described(field, values) for field in list(differing)[:_MAX_LISTED])
        more = ", …" if len(differing) > _MAX_LISTED else ""
        known = {field: value for field, value in differing.items() if value is not _UNKNOWN}
        changes = tuple(f"{field}={short_scalar(value)}" for field, value in known.items())
        raise UnableError(
            f"llama.cpp's architecture {architecture.name} does not support {listed}{more}",
            help=Text("if the model may change, ", Setting("set", changes or None)),
        )
    return architecture


def _unsupported(
    values: Mapping[str, Any], architecture: Architecture, supported: _Supported
) -> Iterator[tuple[str, Any]]:
    """Yield the fields whose values llama.cpp does not support, with a value that it does, or ``_UNKNOWN``."""
    usual = defaults() | _usual_fields(architecture)
    free = _SIZES | _SCALING | set(supported.fields)
    for field, value in values.items():
        is_supported, expected = value == usual.get(field), usual.get(field, _UNKNOWN)
        if field in free:
            is_supported = value is not None or field not in supported.needed
        elif field == "position.scaling":
            is_supported, expected = value in supported.scalings, "none"
        elif field == "attention.d_head":
            is_supported, expected = value * values["n_heads"] == values["d_model"], None
        elif field == "attention.scale":
            scale = _scale(values, architecture)
            is_supported, expected = math.isclose(value, scale, rel_tol=1e-6), scale
        elif field == "attention.window" and supported.ignores_windows:
            is_supported, expected = value is None or value >= values["max_len"], None
        elif field == "attention.window_pattern":
            is_supported = True  # the window is there, or not
        elif field == "position.local_theta":
            is_supported, expected = value in (None, values["position.theta"]), None
        if not is_supported:
            yield field, _UNKNOWN if field.startswith("layers.") else expected


def _described(field: str, values: Mapping[str, Any]) -> str:
    return "several kinds of layers" if field.startswith("layers.") else f"{field} {brief(values[field])}"


def _scale(values: Mapping[str, Any], architecture: Architecture) -> float:
    """Return the factor of the scores of attention in llama.cpp."""
    if _GEMMA_27B_LAYERS.get(architecture.name) == values["n_layers"]:
        return float((values["d_model"] / values["n_heads"]) ** -0.5)
    return float(values["attention.d_head"] ** -0.5)


def _usual_fields(architecture: Architecture) -> dict[str, Any]:
    """Return the canonical fields of a config.json that states only its family, and what llama.cpp has in its code."""
    document = {"model_type": architecture.model_type, **architecture.implied}
    mapped = map_config(data_to_node(document, Span(CONFIG_FILE, 1, 1, 2, "")), CONFIG_FILE)
    return canonical_fields(ModelConfig.model_validate(mapped.root.plain()))
