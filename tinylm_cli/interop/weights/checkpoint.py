"""The tensors of a Hugging Face folder matched with those of a tinylm model, name by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import WeightsError
from tinylm_cli.interop.families import family_of
from tinylm_cli.interop.tensor_names import TensorNames, with_root
from tinylm_cli.interop.weights.fused_tensors import Pair, Shape, tensor_pairs
from tinylm_cli.interop.weights.hub_folder import HubFolder
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.safetensors_writer import DTYPES
from tinylm_cli.model.state_dict import buffer_dtypes, unique_state_dict

MAX_PROBLEMS = 5


class Source(NamedTuple):
    """The stored tensor that holds a tensor of the model, or what the model holds for one expert.

    Attributes:
        pair: The stored tensor, under the folder's name for it.
        position: Which of the tensors in it.
    """

    pair: Pair
    position: int


class Checkpoint:
    """A folder that holds the weights of a model: every name, shape and dtype is checked, and no values are read.

    Args:
        config: The model's config.
        family: The folder's ``model_type``.
        folder: Holds safetensors files.

    Attributes:
        shapes: Shape of each of the model's tensors, by name.
        buffer_dtypes: Types of those that do not follow the dtype of the weights.
        left_out: Names of stored tensors that belong to other parts of a larger model.

    Raises:
        WeightsError: If the folder does not hold the weights of this model.
    """

    def __init__(self, config: ModelConfig, family: str, folder: Path) -> None:
        model = TinyTransformerLM.from_config(config, device="meta")
        names = family_of(family).tensor_names_for(config)
        self._config = config
        self._stored = HubFolder(folder)
        self.shapes: dict[str, Shape] = {name: tuple(t.shape) for name, t in unique_state_dict(model).items()}
        self.buffer_dtypes = buffer_dtypes(model)
        self._pairs = _renamed(list(tensor_pairs(config, names, self.shapes)), names, self._stored)
        skipped = names.skipped
        self.left_out = tuple(name for name in self._stored.tensors if skipped and name.startswith(skipped))
        self._require_match(names)
        self._sources: dict[str, list[Source]] = {}
        for pair in self._pairs:
            for position, part in enumerate(pair.parts):
                self._sources.setdefault(part.name, []).append(Source(pair, position))

    def dtype(self) -> torch.dtype:
        """Return the one dtype of the weights; buffers beside them may have another.

        Raises:
            WeightsError: If there are several.
        """
        stored = self._stored
        counts = Counter(
            stored.tensors[p.stored].dtype for p in self._pairs if p.parts[0].name not in self.buffer_dtypes
        )
        if len(counts) > 1:
            kinds = ", ".join(f"{count:,} {dtype}" for dtype, count in counts.most_common())
            raise WeightsError(f"{stored.folder} mixes types: {kinds}", help="convert them all to one")
        return DTYPES[next(iter(counts))]

    def tensor(self, name: str) -> Tensor:
        """Return a tensor of the model, read from the folder now: split from a fused one, or stacked over experts."""
        sources = self._sources[name]
        parts = [self._part(source) for source in sources]
        return parts[0] if sources[0].pair.parts[0].expert is None else torch.stack(parts)

    def _part(self, source: Source) -> Tensor:
        pair = source.pair
        shapes = [part.shape for part in pair.parts]
        return pair.layout.split(self._stored.read(pair.stored), shapes, self._config)[source.position]

    def _require_match(self, names: TensorNames) -> None:
        problems = list(self._problems(names))
        if problems:
            rest = len(problems) - MAX_PROBLEMS
            listed = "; ".join(problems[:MAX_PROBLEMS]) + (f"; and {rest} more" if rest > 0 else "")
            message = f"{self._stored.folder} does not hold this model: {listed}"
            raise WeightsError(message, help="is config.json the model's own?")

    def _problems(self, names: TensorNames) -> Iterator[str]:
        stored = self._stored
        for pair in self._pairs:
            tensor = stored.tensors.get(pair.stored)
            if tensor is None:
                yield f"{pair.stored} is missing"
            elif tensor.shape != pair.stored_shape:
                yield f"{pair.stored} has shape {tensor.shape}, not {pair.stored_shape}"
            elif tensor.dtype not in DTYPES:
                yield f"{pair.stored} is {tensor.dtype}, and weights are {', '.join(DTYPES)}"
            elif pair.parts[0].name in self.buffer_dtypes and tensor.dtype == "F64":
                yield f"{pair.stored} is F64, and a router's score correction is kept in F32"
        known = {pair.stored for pair in self._pairs} | set(self.left_out)
        for name in stored.tensors:
            if name in known or names.is_recomputed(name):
                continue
            if self._config.tie_weights and name in names.heads:
                yield from _other_head(name, self._pairs[0].stored, stored)
                continue
            yield f"{name} is unexpected"


def _renamed(expected: list[Pair], names: TensorNames, stored: HubFolder) -> list[Pair]:
    """Return the pairs under the folder's names.

    In the files of a larger model each name starts otherwise; those of a model without a head leave its start out.
    """
    for root in names.roots:
        renamed = [pair._replace(stored=with_root(root, pair.stored)) for pair in expected]
        if renamed[0].stored in stored.tensors:
            return renamed
    first = expected[0].stored.partition(".")[0] + "."
    if any(name.startswith(first) for name in stored.tensors):
        return expected
    return [pair._replace(stored=pair.stored.removeprefix(first)) for pair in expected]


def _other_head(name: str, embedding: str, stored: HubFolder) -> Iterator[str]:
    """Yield how a stored LM head differs, bit by bit, from the embedding it is tied to."""
    head, table = stored.tensors[name], stored.tensors.get(embedding)
    if table is None or table.dtype not in DTYPES:
        return  # the embedding's own problem is reported
    if head.dtype != table.dtype:
        yield f"{name} is {head.dtype} and {embedding} {table.dtype}, and the config ties them"
    elif head.shape != table.shape or not torch.equal(_bits(stored.read(name)), _bits(stored.read(embedding))):
        yield f"{name} differs from {embedding}, and the config ties them"


def _bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.uint8)
