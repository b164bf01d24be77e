"""Match the tensors of a Hugging Face checkpoint with the tensors of a tinylm model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import isclose
from pathlib import Path

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import WeightsError
from tinylm_cli.interop.checkpoint_tensors import match_tensors
from tinylm_cli.interop.heads import tensor_names_of
from tinylm_cli.interop.tensor_pairs import Pair, Shape
from tinylm_cli.interop.weights.fused_tensors import LAYOUTS
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
        stored = {name: info.shape for name, info in self._stored.tensors.items()}
        self._match = match_tensors(config, names, self.shapes, stored)
        self._pairs = self._match.pairs
        self.skipped = self._match.skipped
        self._require_match()
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
        """Read a tensor of the model: a part of a stored tensor, or several stacked over experts or concatenated."""
        parts = [self._split(pair)[index] for pair, index in self._sources[name]]
        (pair, _), *_ = self._sources[name]
        if pair.parts[0].selection is None:
            return parts[0]
        return torch.stack(parts) if isinstance(pair.parts[0].selection, int) else torch.cat(parts)

    def _split(self, pair: Pair) -> Sequence[Tensor]:
        """Read the model tensors that a stored one holds."""
        shapes = [part.shape for part in pair.parts]
        return LAYOUTS[pair.layout].split(self._stored.read(pair.stored), shapes, self._config)

    def _require_match(self) -> None:
        problems = list(self._problems())
        if problems:
            rest = len(problems) - MAX_PROBLEMS
            listed = "; ".join(problems[:MAX_PROBLEMS]) + (f"; and {rest} more" if rest > 0 else "")
            message = f"{self._stored.folder} does not match this model: {listed}"
            raise WeightsError(message, help="check that config.json belongs to these weights")

    def _problems(self) -> Iterator[str]:
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
        for name, value in self._match.constants.items():
            yield from _other_constant(name, value, stored)
        for name in self._match.tied_heads:
            yield from _other_head(name, self._pairs[0].stored, stored)
        for name in self._match.unexpected:
            yield f"{name} is not a tensor of this model"


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
