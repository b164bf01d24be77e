"""The type that ``llama-quantize`` of llama.cpp gives each tensor of a GGUF file, from its name, shape and layer.

References:
    ``tensor_allows_quantization``, ``llama_tensor_get_type_impl``, ``llama_tensor_get_type`` and
    ``init_quantize_state_counters`` of src/llama-quant.cpp, and ``ModelBase.prepare_tensors`` of conversion/base.py, in
    llama.cpp 0c1e57098, https://github.com/ggml-org/llama.cpp
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import Literal, NamedTuple

from tinylm_cli.interop.gguf.file_types import BLOCKS, FILE_TYPES, FLOATS, WITH_IMPORTANCE_MATRIX, fitting_type
from tinylm_cli.reports.choices import GgufType

Category = Literal["embedding", "output", "q", "k", "v", "attention_output", "up", "gate", "down", "other"]
"""The kinds of tensors that the rules distinguish; ``v`` includes fused projections that hold the values."""


class StoredTensor(NamedTuple):
    """A tensor of a GGUF file."""

    name: str  # ``blk.0.attn_q.weight``.
    shape: tuple[int, ...]  # In torch's order, the columns last; a GGUF file lists them first.


class QuantizedModel(NamedTuple):
    """The sizes of a model that the rules read."""

    architecture: str  # ``general.architecture``.
    n_layers: int  # ``block_count``, with multi-token prediction modules.
    n_heads: int  # Heads of the first layer; 0 if it has none.
    n_kv_heads: int  # KV heads of the first layer; 0 if it has none.
    n_experts: int = 0  # ``expert_count``; 0 without experts.

    @property
    def n_gqa(self) -> int:
        """Query heads of each KV head in the first layer; 0 if it has none."""
        return self.n_heads // self.n_kv_heads if self.n_kv_heads else 0

    @property
    def is_70b(self) -> bool:
        """Whether llama.cpp counts the model among those of 70B parameters, which it knows by the number of layers."""
        if self.architecture == "llama":
            return self.n_layers == 80 and self.n_heads != self.n_kv_heads
        return self.n_layers == {"qwen2": 80, "deci": 80, "olmo": 80, "jais2": 68}.get(self.architecture)


_PARTS: tuple[tuple[str, Category], ...] = (
    ("attn_qkv.weight", "v"),
    ("attn_kv_b.weight", "v"),
    ("attn_v.weight", "v"),
    ("attn_k.weight", "k"),
    ("attn_q.weight", "q"),
    ("attn_output.weight", "attention_output"),
    ("ffn_up", "up"),
    ("ffn_gate", "gate"),
    ("ffn_down", "down"),
)
"""The category of a tensor by a part of its name; the first that it contains counts."""

_KEPT = re.compile(
    r"_norm\.weight|ffn_gate_inp\.weight|ffn_gate_tid2eid\.weight|altup|laurel|per_layer_model_proj|ssm_conv1d"
    r"|shortconv\.conv\.weight|indexer\.[kq]_proj\.weight|attn_rel_b\.weight|\.position_embd|^position_embd\.weight$"
    r"|^token_types\.weight$|time_mix_(?:first|w[012]|v[012]|a[012]|g[12]|decay_w[12]|lerp_fused)\.weight"
)
"""Matrices that are not quantized."""

_KEPT_IN_FLOAT32 = re.compile(
    r"_norm\.weight$|ffn_gate_inp(?:_shexp)?\.weight|^position_embd\.weight$|^token_types\.weight$|ssm_conv1d"
    r"|shortconv\.conv\.weight|altup_(?:correct|predict)_coef|indexer\.proj"
    r"|time_mix_(?:first|w[12]|decay_w[12]|lerp_fused)\.weight"
)
"""Matrices that the conversion from a checkpoint stores in float32, in every type of file."""

_LOW_BITS = frozenset(["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"])

_EMBEDDINGS = {
    **dict.fromkeys(("IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"), "Q2_K"),
    **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), "IQ3_S"),
    **dict.fromkeys(("TQ1_0", "TQ2_0"), "Q4_K"),
}
"""The type of an untied token embedding, in the types of files that do not give it the type of most tensors."""

_EIGHT_EXPERTS_OUTPUT = frozenset(
    ["Q2_K", "IQ3_XS", "IQ3_XXS", "Q3_K_S", "Q3_K_M", "IQ4_NL", "Q4_K_S", "Q4_K_M", "IQ3_S", "IQ3_M", "IQ4_XS"]
)
"""Types of files in which the output projections of attention are Q5_K if there are eight experts."""

_ATTENTION_OUTPUTS = {"Q2_K": "Q3_K", "IQ3_XXS": "IQ3_S", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K", "IQ3_M": "Q4_K"}


def tensor_types(
    tensors: Iterable[StoredTensor], model: QuantizedModel, file_type: GgufType, *, has_importance_matrix: bool = False
) -> dict[str, str]:
    """Return the type of each tensor in a file of ``file_type``, by name.

    A matrix that is not quantized has the type of the file that is quantized: float32 for those that the conversion
    from a checkpoint stores so, else float16, or the file type itself if that is a float type.

    Args:
        tensors: All tensors of the file, in any order.
        model: The sizes that the rules read.
        file_type: A key of ``FILE_TYPES``.
        has_importance_matrix: Whether the file is quantized with an importance matrix; types that need one always are.
    """
    ordered = sorted(tensors, key=_order)
    has_matrix = has_importance_matrix or file_type in WITH_IMPORTANCE_MATRIX
    rules = _Rules(model, file_type, has_matrix, _category_counts(ordered))
    unquantized = file_type if file_type in FLOATS else "F16"
    types: dict[str, str] = {}
    for name, shape in ordered:
        if len(shape) < 2 or not name.endswith("weight") or _KEPT_IN_FLOAT32.search(name):
            types[name] = "F32"
        elif file_type in FLOATS or _KEPT.search(name) or prod(shape) == shape[-1]:  # a row counts as a vector
            types[name] = unquantized
        else:
            types[name] = fitting_type(rules.type_of(name, len(shape), shape[-1]), shape[-1])
    return types


def _order(tensor: StoredTensor) -> tuple[int, str]:
    """Return the key by which llama.cpp orders tensors: by layer, those outside the layers first, then by name."""
    return _layer(tensor.name), tensor.name


def _layer(name: str) -> int:
    parts = name.split(".", 2)
    return int(parts[1]) if parts[0] == "blk" else -1


@lru_cache(maxsize=65536)
def _category(name: str) -> Category:
    if name == "output.weight":
        return "output"
    if name in ("token_embd.weight", "per_layer_token_embd.weight"):
        return "embedding"
    return next((category for part, category in _PARTS if part in name), "other")


class _Counts(NamedTuple):
    """What the rules count over all tensors."""

    n_values: int  # Tensors of category ``v``.
    is_tied: bool  # Whether there is no LM head, so that the token embedding is the head, too.


def _category_counts(tensors: Iterable[StoredTensor]) -> _Counts:
    categories = [_category(tensor.name) for tensor in tensors]
    return _Counts(categories.count("v"), "output" not in categories)


def _uses_more_bits(index: int, count: int) -> bool:
    """Return whether a layer is among the first or last eighth, or every third of the others."""
    return index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2


@dataclass
class _Rules:
    """The rules for one file; tensors are asked for in order, since some rules count them."""

    model: QuantizedModel
    file_type: GgufType
    has_matrix: bool
    counts: _Counts
    seen: Counter[Category] = field(default_factory=Counter)

    def type_of(self, name: str, n_dims: int, n_columns: int) -> str:
        """Return the type of a tensor that is quantized, before a type that fits its columns replaces it."""
        category, base = _category(name), FILE_TYPES[self.file_type].tensor_type
        if category == "output" or (category == "embedding" and self.counts.is_tied):
            return self._output(base, n_columns)
        if self.file_type == "MXFP4_MOE":
            return base if n_dims > 2 else "Q8_0"
        if category == "embedding":
            return _EMBEDDINGS.get(self.file_type, base)
        number, n_experts = self.seen[category], self.model.n_experts
        self.seen[category] += 1
        if self.file_type in _LOW_BITS:
            return self._low_bits(category, number, base)
        layer = _layer(name) if n_experts > 1 else number
        if category == "v":
            return "Q8_0" if n_experts == 8 else self._values(number, base)
        if category == "k" and n_experts == 8:
            return "Q8_0"
        if category in ("q", "k"):
            return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(self.file_type, base)
        if category == "down":
            return self._falcon_down(layer, base) if self.model.architecture == "falcon" else self._down(layer, base)
        if category == "attention_output":
            return self._attention_output(base)
        if category in ("up", "gate") and self.file_type == "IQ3_XS":
            n_layers = self.model.n_layers
            return "IQ3_XXS" if n_layers // 8 <= layer < 7 * n_layers // 8 else base
        return base

    def _output(self, base: str, n_columns: int) -> str:
        """Return the type of the LM head, or of the token embedding that is tied to it."""
        if self.file_type == "MXFP4_MOE" or self.model.architecture == "falcon":
            return "Q8_0"
        if n_columns % BLOCKS[base].n_values or base == "Q8_0":
            return "Q8_0"
        return "Q5_K" if self.file_type in _LOW_BITS or self.file_type == "IQ3_XXS" else "Q6_K"

    def _low_bits(self, category: Category, number: int, base: str) -> str:
        """Return the type of a tensor in a file of 1 or 2 bits."""
        n_experts = self.model.n_experts
        wider = "IQ3_S" if self.file_type in ("IQ2_S", "IQ2_M") else "Q2_K"
        if category == "v":
            return "Q4_K" if self.model.n_gqa >= 4 or n_experts >= 4 else wider
        if category == "k" and n_experts == 8:
            return "Q4_K"
        if category == "down":
            return wider if number < self.model.n_layers // 8 else base
        if category == "attention_output":
            if n_experts == 8:
                return "Q5_K"
            return {"IQ1_S": "IQ2_XXS", "IQ1_M": "IQ2_XXS", "IQ2_S": "IQ3_S", "IQ2_M": "IQ3_S"}.get(
                self.file_type, base
            )
        return base

    def _values(self, number: int, base: str) -> str:
        """Return the type of the value projection, or of one that is fused with it."""
        chosen, is_grouped = base, self.model.n_gqa >= 4
        match self.file_type:
            case "Q2_K":
                chosen = "Q4_K" if is_grouped else "Q3_K"
            case "Q2_K_S" | "IQ3_XS" | "IQ3_S" if is_grouped:
                chosen = "Q4_K"
            case "IQ3_XXS":
                chosen = "Q4_K" if is_grouped else base
            case "IQ3_M":
                chosen = "Q4_K"
            case "Q3_K_M":
                chosen = "Q5_K" if number < 2 else "Q4_K"
            case "Q3_K_L":
                chosen = "Q5_K"
            case "IQ4_NL" | "IQ4_XS" if is_grouped:
                chosen = "Q5_K"
            case "Q4_K_M" | "Q5_K_M" if _uses_more_bits(number, self.counts.n_values):
                chosen = "Q6_K"
            case "Q4_K_S" if number < 4:
                chosen = "Q5_K"
        return "Q5_K" if self.model.is_70b and chosen in ("Q3_K", "Q4_K") else chosen

    def _down(self, layer: int, base: str) -> str:
        """Return the type of the down projection of a feed-forward network, or of its experts."""
        n_layers = self.model.n_layers
        is_first, uses_more = layer < n_layers // 8, _uses_more_bits(layer, n_layers)
        match self.file_type:
            case "Q2_K":
                return "Q3_K"
            case "Q2_K_S" if is_first:
                return "Q4_K"
            case "Q3_K_M":
                return "Q5_K" if layer < n_layers // 16 else "Q4_K"
            case "IQ3_M" if is_first or (self.model.n_experts == 8 and uses_more):
                return "Q4_K"
            case "Q3_K_L":
                return "Q5_K"
            case "Q4_K_M" | "Q5_K_M" if uses_more:
                return "Q6_K"
            case "IQ4_NL" | "IQ4_XS" if is_first and not self.has_matrix:
                return "Q5_K"
            case "Q4_K_S" if is_first:
                return "Q5_K"
            case "Q4_0" | "Q5_0" if is_first and self.has_matrix:
                return {"Q4_0": "Q4_1", "Q5_0": "Q5_1"}[self.file_type]
        return base

    def _falcon_down(self, layer: int, base: str) -> str:
        """Return the type of the down projection of Falcon, where it differs from other models."""
        n_layers = self.model.n_layers
        uses_more = _uses_more_bits(layer, n_layers)
        match self.file_type:
            case "Q3_K_M":
                return "Q5_K" if layer < n_layers // 16 else "Q4_K" if uses_more else "Q3_K"
            case "Q3_K_L":
                return "Q4_K"
            case "Q4_K_M":
                return "Q6_K" if layer < n_layers // 16 else "Q5_K" if uses_more else "Q4_K"
            case "Q4_K_S":
                return base
        return self._down(layer, base)

    def _attention_output(self, base: str) -> str:
        """Return the type of the output projection of attention."""
        if self.model.architecture == "falcon":
            return "Q4_K" if self.file_type == "Q3_K_L" else base
        if self.model.n_experts == 8:
            return "Q5_K" if self.file_type in _EIGHT_EXPERTS_OUTPUT else base
        return _ATTENTION_OUTPUTS.get(self.file_type, base)
