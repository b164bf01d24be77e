"""Translate the header of a GGUF file into the config.json of the same model, which is then read as any other.

A header states less than a config.json: what llama.cpp has in its code is added, and biases, tied heads and the
vocabulary follow from the tensors.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Collection, Mapping
from typing import Any

from gguf.constants import MODEL_ARCH_NAMES, MODEL_TENSOR, ExpertGatingFuncType, Keys

from tinylm_cli.config.diagnostic_codes import clip, config_error, diagnostic, quote
from tinylm_cli.config.source import Source
from tinylm_cli.errors import ConfigError
from tinylm_cli.gguf_header import Skipped
from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.gguf import family_keys
from tinylm_cli.interop.gguf.architectures import (
    FIELDS,
    READ_ONLY,
    ROPE_SCALING,
    Architecture,
    architectures_named,
    tensor_name,
)
from tinylm_cli.interop.gguf.model_file import GgufModel, read_model, require_complete
from tinylm_cli.interop.gguf.rope_factors import read_rope_factors
from tinylm_cli.interop.gguf.stored_types import storage_keys
from tinylm_cli.interop.shared_keys import filled_fields

TOKEN_EMBEDDING = f"{tensor_name(MODEL_TENSOR.TOKEN_EMBD)}.weight"
LM_HEAD = f"{tensor_name(MODEL_TENSOR.OUTPUT)}.weight"

DEFAULT_THETA = 10_000.0
"""llama.cpp's base of RoPE without ``rope.freq_base``."""

_WITHOUT_EFFECT = ("general.", "tokenizer.", "split.", "quantize.", "adapter.", "imatrix.")
"""Prefixes of metadata keys that say nothing about the model."""

_READ_FROM_TENSORS = (Keys.LLM.VOCAB_SIZE, Keys.LLM.TENSOR_DATA_LAYOUT, Keys.Rope.SCALING_FINETUNED)
"""Metadata keys of an architecture without effect: the rows of the embedding are the vocabulary."""

_USUAL: Mapping[str, Any] = {Keys.Attention.CAUSAL: True, Keys.LLM.EXPERT_GATING_FUNC: ExpertGatingFuncType.SOFTMAX}
"""Values of metadata keys that every supported family has."""

_ZERO_IS_NONE = (
    Keys.LLM.ATTN_LOGIT_SOFTCAPPING,
    Keys.LLM.FINAL_LOGIT_SOFTCAPPING,
    Keys.Attention.CLAMP_KQV,
    Keys.Attention.SLIDING_WINDOW,
)
"""Metadata keys whose value 0 turns something off."""

_REQUIRED = (Keys.LLM.BLOCK_COUNT, Keys.LLM.EMBEDDING_LENGTH, Keys.LLM.CONTEXT_LENGTH)

_REQUIRED_BY_FIELD = {Keys.Attention.HEAD_COUNT: "n_heads", Keys.LLM.FEED_FORWARD_LENGTH: "d_ff"}
"""Metadata keys without which a size of the family would be its default."""

_BIASES = {
    "attention.bias": (MODEL_TENSOR.ATTN_Q, MODEL_TENSOR.ATTN_QKV),
    "attention.out_bias": (MODEL_TENSOR.ATTN_OUT,),
    "feed_forward.bias": (MODEL_TENSOR.FFN_UP, MODEL_TENSOR.FFN_UP_SHEXP),
    "mamba.bias": (MODEL_TENSOR.SSM_IN,),
    "mamba.conv_bias": (MODEL_TENSOR.SSM_CONV1D,),
    "mamba2.bias": (MODEL_TENSOR.SSM_IN,),
    "mamba2.conv_bias": (MODEL_TENSOR.SSM_CONV1D,),
}
"""The tensors whose biases a field states."""

_LAYER = re.compile(r"blk\.[0-9]+\.")


def read_gguf_source(reference: str) -> Source:
    """Return the config.json that the header of a GGUF file amounts to, as text under the name of the file.

    Raises:
        ConfigError: If the header names no architecture that tinylm knows, or lacks a size.
        InputError: If a file cannot be read, or a shard is missing.
    """
    model = read_model(reference)
    require_complete(model)
    return Source(reference, json.dumps(config_json(model), indent=2))


def config_json(model: GgufModel) -> dict[str, Any]:
    """Return the keys of the config.json that the header of a model amounts to.

    Raises:
        ConfigError: If the header names no architecture that tinylm knows, or lacks a size.
    """
    architecture = architecture_of(model)
    return _Translator(model, architecture).keys()


def architecture_of(model: GgufModel) -> Architecture:
    """Return the architecture of a model.

    Raises:
        ConfigError: If tinylm does not know it, or the file holds something else than a model.
    """
    metadata = model.metadata
    kind, name = metadata.get(Keys.General.TYPE, "model"), metadata.get(Keys.General.ARCHITECTURE)
    field = Keys.General.ARCHITECTURE
    if kind != "model":
        message = f"{Keys.General.TYPE} is {quote(str(kind))}: the file does not hold a model"
        raise _error("unknown-family", message, model, Keys.General.TYPE)
    if not isinstance(name, str):
        raise _error(
            "missing-key", f"{field} is missing", model, field, "a GGUF file of a model names its architecture"
        )
    candidates = architectures_named(name)
    if not candidates:
        known = sorted({each.name for each in _known()})
        is_named = name in MODEL_ARCH_NAMES.values()
        what = f"the architecture {clip(name)} is not supported" if is_named else f"unknown architecture {clip(name)}"
        raise _error("unknown-family", what, model, field, f"the supported architectures are {', '.join(known)}")
    if candidates[0].model_type in READ_ONLY:
        return family_keys.latent_family(model.tensors, metadata)
    for each in candidates:
        if all(metadata.get(key.format(arch=name)) for key in each.requires):
            return each
    raise AssertionError("the last family of an architecture requires no key")


def _known() -> Collection[Architecture]:
    from tinylm_cli.interop.gguf.architectures import ARCHITECTURES

    return (*ARCHITECTURES.values(), *READ_ONLY.values())


def _error(code: str, message: str, model: GgufModel, field: str, remedy: str = "") -> ConfigError:
    return config_error([diagnostic(code, message, model.path, field=field, help=remedy)])


class _Translator:
    """Translates one header; every metadata key that is understood is taken out of ``left``."""

    def __init__(self, model: GgufModel, architecture: Architecture) -> None:
        self._model, self._architecture = model, architecture
        self._family = FAMILIES[architecture.model_type].keys
        self._tensors = model.tensors
        self._roles = {_LAYER.sub("", name) for name in self._tensors}
        self._left = {
            key: _plain(value) for key, value in model.metadata.items() if not key.startswith(_WITHOUT_EFFECT)
        }
        self._key_of = {field: key for key in self._family.model_fields for field in filled_fields(self._family, key)}
        self._keys: dict[str, Any] = {"model_type": architecture.model_type}

    def keys(self) -> dict[str, Any]:
        """Return the keys of config.json; metadata keys that are not understood keep their names."""
        self._require_sizes()
        for key in _READ_FROM_TENSORS:
            self._take(key)
        for key, value in _USUAL.items():
            if self._peek(key) == value:
                self._take(key)
        self._put("vocab_size", self._vocab_size())
        for key, name in self._architecture.keys.items():
            self._copy(key, name)
        for key, field in FIELDS.items():
            if field in self._key_of:
                self._copy(key, self._key_of[field])
        self._head_sizes()
        self._rope()
        self._from_tensors()
        self._keys |= self._architecture.implied
        family_keys.complete(self._keys, self._left, self._architecture, self._tensors, self._roles)
        self._keys |= storage_keys(self._architecture, self._tensors, self._size("n_layers"))
        others = {key: value for key, value in self._left.items() if key not in self._family.model_fields}
        return others | self._keys

    def _require_sizes(self) -> None:
        name = self._architecture.name
        required = [*_REQUIRED, *(key for key, field in _REQUIRED_BY_FIELD.items() if field in self._key_of)]
        missing = [key.format(arch=name) for key in required if key.format(arch=name) not in self._left]
        if missing:
            errors = [
                diagnostic("missing-key", f"the header has no {key}", self._model.path, field=key) for key in missing
            ]
            raise config_error(errors)

    def _vocab_size(self) -> int:
        """Return the rows of the token embedding, which may be padded beyond the tokens."""
        table = self._tensors.get(TOKEN_EMBEDDING)
        if table is None or len(table.shape) != 2:
            message = f"the file has no tensor {TOKEN_EMBEDDING} with 2 dimensions"
            raise _error("missing-tensor", message, self._model, "vocab_size", "only files of whole models are read")
        return table.shape[0]

    def _take(self, key: str) -> Any:
        """Return a metadata value and mark it as understood; None if it is absent."""
        return self._left.pop(key.format(arch=self._architecture.name), None)

    def _peek(self, key: str) -> Any:
        return self._left.get(key.format(arch=self._architecture.name))

    def _copy(self, key: str, name: str) -> None:
        value = self._take(key)
        if value is not None:
            self._put(name, None if key in _ZERO_IS_NONE and value == 0 else value)

    def _put(self, name: str, value: Any) -> None:
        *blocks, last = name.split(".")
        inside = self._keys
        for block in blocks:
            inside = inside.setdefault(block, {})
        inside[last] = value

    def _size(self, field: str) -> int | None:
        """Return a size that is set, under the family's key of a field; None if it is no positive integer."""
        value = self._keys.get(self._key_of.get(field, ""))
        return value if type(value) is int and value > 0 else None

    def _head_sizes(self) -> None:
        """Set the width of heads, and drop sizes that follow from others in this family."""
        d_model, n_heads = self._size("d_model"), self._size("n_heads")
        usual = d_model // n_heads if d_model and n_heads else None
        d_head = self._size("attention.d_head")
        if d_head is None and usual is not None:
            d_head = self._peek(Keys.Attention.KEY_LENGTH) or usual
            if "attention.d_head" in self._key_of:
                self._put(self._key_of["attention.d_head"], d_head)
        self._d_head = d_head if type(d_head) is int and d_head > 0 else None
        implied = {
            Keys.Attention.KEY_LENGTH: usual,
            Keys.Attention.VALUE_LENGTH: d_head,
            Keys.Attention.HEAD_COUNT_KV: n_heads,
            Keys.LLM.FEED_FORWARD_LENGTH: 4 * d_model if d_model else None,
        }
        for key, value in implied.items():
            if value is not None and self._peek(key) == value:
                self._take(key)

    def _rope(self) -> None:
        """Set theta, the rotated share of each head, and the scaling."""
        fields = self._family.model_fields
        theta_key = getattr(self._family, "theta_key", "rope_theta")
        theta = self._take(Keys.Rope.FREQ_BASE)
        if theta_key in fields:
            self._put(theta_key, DEFAULT_THETA if theta is None else theta)
        rotated, fraction_key = self._peek(Keys.Rope.DIMENSION_COUNT), getattr(self._family, "fraction_key", "")
        if type(rotated) is int and self._d_head is not None:
            has_share = fraction_key in fields and fields[fraction_key].default is not None
            if has_share or rotated == self._d_head:
                self._take(Keys.Rope.DIMENSION_COUNT)
            if has_share:
                share = rotated / self._d_head
                exact = int(self._d_head * share) == rotated
                self._put(fraction_key, share if exact else math.nextafter(share, 1))
        if "rope_scaling" in fields:
            self._rope_scaling()

    def _rope_scaling(self) -> None:
        block = {name: self._peek(key) for key, name in ROPE_SCALING.items()}
        block = {name: value for name, value in block.items() if value is not None}
        kind = block.pop("rope_type", "linear" if "factor" in block else None)
        if kind in ("linear", "yarn", "none"):
            for key in ROPE_SCALING:
                self._take(key)
        if kind in ("linear", "yarn"):
            self._put("rope_scaling", {"rope_type": kind, **block})
        factors = read_rope_factors(self._model, self._keys, self._left, self._architecture)
        if factors:
            self._put("rope_scaling", factors)
        elif "rope_scaling" not in self._keys and self._family.model_fields["rope_parameters"].default is not None:
            self._put("rope_scaling", {"rope_type": "default"})  # the family's default is a scaling

    def _from_tensors(self) -> None:
        """Set what the tensors of the file state: a tied head, and biases."""
        if "tie_weights" in self._key_of:
            self._put(self._key_of["tie_weights"], LM_HEAD not in self._tensors)
        for field, tensors in _BIASES.items():
            if field in self._key_of:
                has_bias = any(f"{tensor_name(tensor)}.bias" in self._roles for tensor in tensors)
                self._put(self._key_of[field], has_bias)


def _plain(value: Any) -> Any:
    """Return a metadata value as JSON data; a list of equal values, one for each layer, is that value."""
    if isinstance(value, Skipped):
        return f"{value.length:,} values"
    if isinstance(value, tuple):
        found = [_plain(each) for each in value]
        return found[0] if found and all(each == found[0] for each in found) else found
    return _shortest(value) if isinstance(value, float) else value


def _shortest(value: float) -> float:
    """Return the shortest decimal number that is the same float32: 1e-06, not 9.999999974752427e-07."""
    if not math.isfinite(value):
        return value
    for digits in range(1, 9):
        short = float(f"{value:.{digits}g}")
        if math.isfinite(short) and _as_float32(short) == value:
            return short
    return value


def _as_float32(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.inf
