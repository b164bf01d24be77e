"""The metadata of a GGUF file that stores a model: sizes, RoPE, windows and experts, as llama.cpp reads them.

References:
    ``load_hparams`` of src/llama-model.cpp and of the files in src/models, and ``set_gguf_parameters`` of the files in
    conversion, in llama.cpp 0c1e57098, https://github.com/ggml-org/llama.cpp
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

from gguf.constants import GGML_QUANT_VERSION, Keys, RopeScalingType

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.gguf.architectures import FIELDS, Architecture

Value = bool | int | float | str | list[bool] | list[int] | list[float] | list[str]
"""A metadata value: an integer is stored in 32 bits, outside of lists without sign, another number in float32."""

WITH_WINDOW_PATTERN = ("gemma2", "gemma3")
"""Architectures that read which layers have a window."""

WITH_PARALLEL_CHOICE = ("gptneox", "stablelm")
"""Architectures that read whether a block is parallel."""

_DERIVED = {
    "attention.n_kv_heads": "n_kv_heads",
    "attention.d_head": "d_head",
    "feed_forward.d_expert": "d_expert",
}
"""Properties of a config that hold the values of fields with a default that depends on others."""

_OF_EXPERTS = "feed_forward."
_EXPERT_WIDTH = "moe_intermediate_size"


def model_metadata(
    config: ModelConfig, architecture: Architecture, document: Mapping[str, Any], name: str
) -> dict[str, Value]:
    """Return the metadata of a model, without its tokenizer and the type of the file.

    Args:
        config: The config that the family expresses.
        architecture: The architecture of the family.
        document: The config.json of the model.
        name: The model's name.
    """
    general: dict[str, Value] = {
        Keys.General.ARCHITECTURE: architecture.name,
        Keys.General.TYPE: "model",
        Keys.General.NAME: name,
        Keys.General.QUANTIZATION_VERSION: GGML_QUANT_VERSION,
    }
    values = {
        Keys.LLM.VOCAB_SIZE: config.embedding_rows,
        **dict(_fields(config)),
        **dict(_rope(config)),
        **(dict(_windows(config)) if architecture.name in WITH_WINDOW_PATTERN else {}),
        **{key: _at(document, path) for key, path in architecture.keys.items()},
    }
    if not any(kind.attention.window for kind in layer_pattern(config).kinds):
        values.pop(Keys.Attention.SLIDING_WINDOW, None)
    if architecture.name not in WITH_PARALLEL_CHOICE:
        values.pop(Keys.LLM.USE_PARALLEL_RESIDUAL, None)
    if _EXPERT_WIDTH not in document:  # then experts are as wide as ``feed_forward_length``
        values.pop(Keys.LLM.EXPERT_FEED_FORWARD_LENGTH, None)
    stored = {key: value for key, value in values.items() if value is not None}
    return general | {key.format(arch=architecture.name): value for key, value in stored.items()}


def _fields(config: ModelConfig) -> Iterator[tuple[str, Value | None]]:
    """Yield the metadata keys that state a field of the config."""
    is_rms, has_experts = config.norm.kind == "rmsnorm", config.feed_forward.n_experts is not None
    other_norm = Keys.Attention.LAYERNORM_EPS if is_rms else Keys.Attention.LAYERNORM_RMS_EPS
    for key, field in FIELDS.items():
        if key == other_norm or key.startswith("{arch}.ssm.") or (field.startswith(_OF_EXPERTS) and not has_experts):
            continue
        yield key, attrgetter(_DERIVED.get(field, field))(config)
    yield Keys.Attention.VALUE_LENGTH, config.d_head


def _rope(config: ModelConfig) -> Iterator[tuple[str, Value | None]]:
    """Yield the base of RoPE, the rotated dimensions, and linear and YaRN scaling; other scalings are tensors."""
    position = config.position
    if position.kind != "rope":
        return
    yield Keys.Rope.FREQ_BASE, position.theta
    yield Keys.Rope.FREQ_BASE_SWA, position.local_theta
    yield Keys.Rope.DIMENSION_COUNT, int(config.d_head * position.rotary_fraction)
    if position.scaling in ("linear", "yarn"):
        yield Keys.Rope.SCALING_TYPE, RopeScalingType[position.scaling.upper()].value
        yield Keys.Rope.SCALING_FACTOR, position.stretch
    if position.scaling == "yarn":
        yield Keys.Rope.SCALING_ORIG_CTX_LEN, position.original_max_len
        yield Keys.Rope.SCALING_YARN_BETA_FAST, position.beta_fast
        yield Keys.Rope.SCALING_YARN_BETA_SLOW, position.beta_slow


def _windows(config: ModelConfig) -> Iterator[tuple[str, Value | None]]:
    """Yield the layers with a sliding window."""
    windows = [kind.attention.window for kind in layer_pattern(config)]
    if any(windows):
        yield Keys.Attention.SLIDING_WINDOW_PATTERN, [window is not None for window in windows]


def _at(document: Mapping[str, Any], path: str) -> Any:
    """Return the value under a dotted key; None if it is absent."""
    value: Any = document
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
