"""Compare a checkpoint with a model, and report mismatches by cause instead of by tensor."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import WeightsError
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.safetensors_writer import DTYPES
from tinylm_cli.model.state_dict import Shape, buffer_dtypes, unique_state_dict

MAX_LISTED = 3

_SIZES = (
    ("embedding.token_embedding.embedding.weight", ("vocab_size", "d_model")),
    ("embedding.positional_encoding.weight", ("max_len", "d_model")),
    ("blocks.0.feed_forward.up_proj.weight", ("d_ff", "d_model")),
)
"""Tensors whose dimensions are config fields."""


class TensorInfo(NamedTuple):
    """Header entry of a tensor in a safetensors file.

    Attributes:
        dtype: Its dtype as the file format names it.
        shape: Its shape.
        offset: Byte offset of its values in the file.
    """

    dtype: str
    shape: Shape
    offset: int


def matching_dtype(
    stored: Mapping[str, TensorInfo], model: TinyTransformerLM, *, path: Path, dtype: torch.dtype | None
) -> torch.dtype:
    """Return the dtype of a checkpoint's parameters, if all names, shapes and dtypes match the model.

    Args:
        stored: The header of the file, by tensor name.
        model: The model, on any device.
        path: The file, for error messages.
        dtype: Required dtype of the parameters; None for any common floating dtype.

    Raises:
        WeightsError: If anything differs; lists every kind of mismatch.
    """
    usual, _ = Counter(tensor.dtype for tensor in stored.values()).most_common(1)[0] if stored else ("F32", 0)
    wanted = dtype or DTYPES.get(usual, torch.float32)
    expected = {name: tuple(tensor.shape) for name, tensor in unique_state_dict(model).items()}
    own = buffer_dtypes(model)
    types = {name: own.get(name, wanted) for name in expected}
    other_tensors = [*_names(stored, expected, model.config), *_shapes(stored, expected, model.config)]
    other_dtypes = list(_dtypes({name: stored[name].dtype for name in expected if name in stored}, types))
    if other_tensors or other_dtypes:
        what = "config" if not other_dtypes else "config and the dtype" if other_tensors else "dtype"
        raise WeightsError(
            f"{path} does not match this model: {'; '.join((*other_tensors, *other_dtypes))}",
            help=f"use the {what} the weights were saved with",
        )
    return wanted


def _names(stored: Mapping[str, TensorInfo], expected: Mapping[str, Shape], config: ModelConfig) -> Iterator[str]:
    missing = [name for name in expected if name not in stored]
    unexpected = [name for name in stored if name not in expected]
    layers = _layers(stored)
    cause = f", because n_layers is {layers} instead of {config.n_layers}" if 0 < layers != config.n_layers else ""
    if missing:
        yield f"{_count(missing, expected)} missing{cause}{_listed(missing)}"
    if "lm_head.weight" in unexpected and config.tie_weights:
        unexpected.remove("lm_head.weight")
        yield "lm_head.weight is unexpected, because the config sets tie_weights"
    if unexpected:
        yield f"{_count(unexpected, stored)} unexpected{cause}{_listed(unexpected)}"


def _shapes(stored: Mapping[str, TensorInfo], expected: Mapping[str, Shape], config: ModelConfig) -> Iterator[str]:
    other = [name for name in expected if name in stored and stored[name].shape != expected[name]]
    if not other:
        return
    first = f"shape {stored[other[0]].shape}, not {expected[other[0]]}"
    if len(other) == 1:
        yield f"{other[0]} has {first}"
        return
    sizes = {
        field: (size, getattr(config, field))
        for name, fields in _SIZES
        if name in other and len(stored[name].shape) == len(fields)
        for field, size in zip(fields, stored[name].shape, strict=True)
    }
    causes = [f"{field} is {found} instead of {wanted}" for field, (found, wanted) in sizes.items() if found != wanted]
    cause = f", because {' and '.join(causes)}" if causes else ""
    every = "all " if len(other) == len(expected) else ""
    yield f"{every}{len(other)} tensors have other shapes{cause}: first {other[0]} has {first}"


def _dtypes(dtypes: Mapping[str, str], wanted: Mapping[str, torch.dtype]) -> Iterator[str]:
    others: dict[tuple[str, torch.dtype], list[str]] = {}
    for name, dtype in dtypes.items():
        if DTYPES.get(dtype) != wanted[name]:
            others.setdefault((dtype, wanted[name]), []).append(name)
    for (dtype, fits), names in others.items():
        found, expected = (str(one).removeprefix("torch.") for one in (DTYPES.get(dtype, dtype), fits))
        listed = "" if len(names) == len(dtypes) else _listed(names)
        yield f"{_count(names, dtypes)} {found}, not {expected}{listed}"


def _layers(stored: Mapping[str, TensorInfo]) -> int:
    """Return the number of blocks implied by the tensor names."""
    indices = (re.match(r"blocks\.([0-9]{1,9})\.", name) for name in stored)
    return max((int(index[1]) + 1 for index in indices if index), default=0)


def _count(names: list[str], among: Mapping[str, object]) -> str:
    """Return subject and verb of a message: a single name, or the number of tensors."""
    if len(names) == 1:
        return f"{names[0]} is"
    return f"{'all ' if len(names) == len(among) else ''}{len(names)} tensors are"


def _listed(names: list[str]) -> str:
    """Return the first of several names, as the end of a message."""
    more = ", …" if len(names) > MAX_LISTED else ""
    return f": {', '.join(names[:MAX_LISTED])}{more}" if len(names) > 1 else ""
