"""Match the tensors of a Hugging Face checkpoint with the tensors of a tinylm model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import isclose
from pathlib import Path

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import WeightsError
from tinylm_cli.interop.heads import tensor_names_of
from tinylm_cli.interop.tensor_names import TensorNames, replace_prefix
from tinylm_cli.interop.weights.fused_tensors import (
    Pair,
    Shape,
    base_prefix,
    constant_tensors,
    tensor_pairs,
    without_base,
)
from tinylm_cli.interop.weights.safetensors_folder import SafetensorsFolder
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.safetensors_file import DTYPES
from tinylm_cli.model.state_dict import buffer_dtypes, unique_state_dict

MAX_PROBLEMS = 5

CONSTANT_TOLERANCE = 0.02
"""Relative difference of a stored constant that half precision explains."""


class Checkpoint:
    """A checkpoint folder whose names, shapes and dtypes match a model; values are read on demand.

    Args:
        config: The model's config.
        family: The checkpoint's ``model_type``.
        folder: A folder with safetensors files.

    Attributes:
        shapes: Shape of each model tensor, by name.
        buffer_dtypes: Dtype of each buffer whose dtype is fixed, by name.
        skipped: Names of stored tensors that belong to other parts of a larger (e.g. multimodal) model.

    Raises:
        WeightsError: If the checkpoint does not match the model, or the model has multi-token prediction modules, which
            are not read.
    """

    def __init__(self, config: ModelConfig, family: str, folder: Path) -> None:
        if config.head.n_mtp_layers:
            message = f"multi-token prediction modules are not read from the weights of {family}"
            raise WeightsError(message, help="write head.n_mtp_layers: 0")
        model = TinyTransformerLM.from_config(config, device="meta")
        names = tensor_names_of(family, config)
        self._config = config
        self._stored = SafetensorsFolder(folder)
        self.shapes: dict[str, Shape] = {name: tuple(t.shape) for name, t in unique_state_dict(model).items()}
        self.buffer_dtypes = buffer_dtypes(model)
        expected = _renamed(list(tensor_pairs(config, names, self.shapes)), names, self._stored)
        self._pairs = _with_stored_rows(expected, self._stored)
        prefixes = names.skipped_prefixes
        self.skipped = tuple(name for name in self._stored.tensors if prefixes and name.startswith(prefixes))
        self._require_match(names)
        self._sources: dict[str, list[tuple[Pair, int]]] = {}  # by model tensor; the number is its index in ``parts``
        for pair in self._pairs:
            for index, part in enumerate(pair.parts):
                self._sources.setdefault(part.name, []).append((pair, index))

    def dtype(self) -> torch.dtype:
        """Return the common dtype of all weights; buffers may have another.

        Raises:
            WeightsError: If the weights have mixed dtypes.
        """
        stored = self._stored
        counts = Counter(
            stored.tensors[p.stored].dtype for p in self._pairs if p.parts[0].name not in self.buffer_dtypes
        )
        if len(counts) > 1:
            kinds = ", ".join(f"{count:,} {dtype}" for dtype, count in counts.most_common())
            raise WeightsError(
                f"{stored.folder} contains mixed dtypes: {kinds}", help="convert all tensors to one dtype"
            )
        return DTYPES[next(iter(counts))]

    def tensor(self, name: str) -> Tensor:
        """Read a model tensor: split from a fused one, stacked over experts, or joined from its rows."""
        parts = [
            pair.layout.split(self._stored.read(pair.stored), [part.shape for part in pair.parts], self._config)[index]
            for pair, index in self._sources[name]
        ]
        (pair, _), *_ = self._sources[name]
        if pair.parts[0].selection is None:
            return parts[0]
        return torch.stack(parts) if isinstance(pair.parts[0].selection, int) else torch.cat(parts)

    def _require_match(self, names: TensorNames) -> None:
        problems = list(self._problems(names))
        if problems:
            rest = len(problems) - MAX_PROBLEMS
            listed = "; ".join(problems[:MAX_PROBLEMS]) + (f"; and {rest} more" if rest > 0 else "")
            message = f"{self._stored.folder} does not match this model: {listed}"
            raise WeightsError(message, help="check that config.json belongs to these weights")

    def _problems(self, names: TensorNames) -> Iterator[str]:
        stored = self._stored
        for pair in self._pairs:
            tensor = stored.tensors.get(pair.stored)
            if tensor is None:
                yield f"{pair.stored} is missing"
            elif tensor.shape != pair.stored_shape:
                yield f"{pair.stored} has shape {tensor.shape}, not {pair.stored_shape}"
            elif tensor.dtype not in DTYPES:
                yield f"{pair.stored} is {tensor.dtype}; supported dtypes are {', '.join(DTYPES)}"
            elif pair.parts[0].name in self.buffer_dtypes and tensor.dtype == "F64":
                yield f"{pair.stored} is F64, but {pair.parts[0].name} is stored in F32"
        constants = {
            stored_name: value
            for name, value in constant_tensors(self._config, names).items()
            for stored_name in _spellings(name, names)
            if stored_name in stored.tensors
        }
        for name, value in constants.items():
            yield from _other_constant(name, value, stored)
        known = {pair.stored for pair in self._pairs} | set(self.skipped) | constants.keys()
        known |= names.unused_tensors(self._config).keys()
        for name in stored.tensors:
            if name in known or names.is_recomputed(name):
                continue
            if self._config.tie_weights and name in names.lm_heads:
                yield from _other_head(name, self._pairs[0].stored, stored)
                continue
            yield f"{name} is not a tensor of this model"


def _renamed(expected: list[Pair], names: TensorNames, stored: SafetensorsFolder) -> list[Pair]:
    """Return the pairs under the names in the checkpoint.

    Checkpoints of a larger (e.g. multimodal) model use another name prefix; headless checkpoints omit the prefix. Some
    spell a part of a name in another way.
    """
    expected = [
        pair if pair.stored in stored.tensors else pair._replace(stored=_respelled(pair.stored, names))
        for pair in expected
    ]
    for prefix_map in names.prefix_maps:
        renamed = [pair._replace(stored=replace_prefix(prefix_map, pair.stored)) for pair in expected]
        if renamed[0].stored in stored.tensors:
            return renamed
    base = base_prefix(expected)
    return expected if any(name.startswith(base) for name in stored.tensors) else without_base(expected)


def _respelled(name: str, names: TensorNames) -> str:
    for part, other in names.other_spellings.items():
        name = name.replace(part, other)
    return name


def _with_stored_rows(expected: list[Pair], stored: SafetensorsFolder) -> list[Pair]:
    """Return the pairs with the rows of each tensor that is stored as several, if there are as many rows in all.

    transformers concatenates the rows when it reads them, and divides them equally when it writes them.
    """
    pieces: dict[str, list[Pair]] = {}
    for pair in expected:
        if isinstance(pair.parts[0].selection, slice):
            pieces.setdefault(pair.parts[0].name, []).append(pair)
    found: dict[str, Pair] = {}
    for pairs in pieces.values():
        shapes = [stored.tensors[pair.stored].shape for pair in pairs if pair.stored in stored.tensors]
        lengths = [shape[0] for shape in shapes if shape]
        if len(lengths) == len(pairs) and sum(lengths) == sum(pair.stored_shape[0] for pair in pairs):
            for pair, length in zip(pairs, lengths, strict=True):
                part = pair.parts[0]
                shape = (length, *part.shape[1:])
                found[pair.stored] = pair._replace(parts=(part._replace(shape=shape),))
    return [found.get(pair.stored, pair) for pair in expected]


def _spellings(name: str, names: TensorNames) -> Iterator[str]:
    """Yield the names that a stored tensor may have: with and without the base module, or in a larger model."""
    yield name
    yield name.partition(".")[2]
    yield from (replace_prefix(prefix_map, name) for prefix_map in names.prefix_maps)


def _other_constant(name: str, value: float, stored: SafetensorsFolder) -> Iterator[str]:
    """Yield the difference, if any, between a stored constant and the value in the code of the model."""
    tensor = stored.tensors[name]
    if tensor.shape != () or tensor.dtype not in DTYPES:
        yield f"{name} has shape {tensor.shape} and dtype {tensor.dtype}, but is one number"
    elif not isclose(found := stored.read(name).item(), value, rel_tol=CONSTANT_TOLERANCE):
        yield f"{name} is {found:g}, but tinylm has the constant {value:g}"


def _other_head(name: str, embedding: str, stored: SafetensorsFolder) -> Iterator[str]:
    """Yield the difference, if any, between a stored LM head and the embedding it is tied to (bitwise)."""
    head, table = stored.tensors[name], stored.tensors.get(embedding)
    if table is None or table.dtype not in DTYPES:
        return  # _problems reports the embedding
    if head.dtype != table.dtype:
        yield f"{name} is {head.dtype} and {embedding} is {table.dtype}, but the config sets tie_weights"
    elif head.shape != table.shape or not torch.equal(_bits(stored.read(name)), _bits(stored.read(embedding))):
        yield f"{name} differs from {embedding}, but the config sets tie_weights"


def _bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.uint8)
