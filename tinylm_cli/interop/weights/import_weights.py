"""Weights of a Hugging Face folder as those of a tinylm model, tensor by tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import WeightsError
from tinylm_cli.interop.families import family_of
from tinylm_cli.interop.tensor_names import TensorNames, under
from tinylm_cli.interop.weights.fused_tensors import Pair, pairs
from tinylm_cli.interop.weights.hub_folder import HubFolder
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.safetensors_writer import DTYPES, LazyTensor
from tinylm_cli.model.state_dict import buffer_dtypes, unique_state_dict
from tinylm_cli.model.weights import save_tensors

MAX_PROBLEMS = 5


class Source(NamedTuple):
    """Where a tensor of ours comes from.

    Attributes:
        pair: The stored tensor that holds it, under the name the folder has for it.
        position: Which of the tensors in it.
    """

    pair: Pair
    position: int


class Converted(NamedTuple):
    """What became of a folder's tensors.

    Attributes:
        tensors: How many the model has.
        left_out: Names of those of other parts, which are not the language model's.
    """

    tensors: int
    left_out: tuple[str, ...]


class _Fitting(NamedTuple):
    """How the tensors of a folder are those of a model.

    Attributes:
        shapes: The model's, by name.
        pairs: Which stored tensor holds which of them, under the names that the folder has.
        own: Types of those that do not follow the model's.
        left_out: Names of stored tensors of other parts.
    """

    shapes: Mapping[str, tuple[int, ...]]
    pairs: list[Pair]
    own: Mapping[str, torch.dtype]
    left_out: tuple[str, ...]


def import_weights(
    config: ModelConfig, family: str, folder: Path, target: Path, *, config_text: str, overwrite: bool = False
) -> Converted:
    """Convert the weights in ``folder`` and save them with their config, as ``tinylm build --save`` does.

    Every name, shape and dtype is checked before anything is written, and one tensor at a time is held in memory.

    Args:
        config: What the model is.
        family: What kind of folder it is, e.g. ``llama``.
        folder: Holds safetensors files.
        target: The folder to write, new.
        config_text: The config as YAML, stored as it is.
        overwrite: Whether a target that holds a saved model, and nothing else, is replaced.

    Raises:
        WeightsError: If the folder does not hold the weights of this model.
        OutputError: If the target exists or cannot be written.
    """
    stored = HubFolder(folder)
    fits = _fitting(config, family, stored)
    dtype = _dtype(fits.pairs, stored, fits.own)
    sources: dict[str, list[Source]] = {}
    for pair in fits.pairs:
        for position, slot in enumerate(pair.ours):
            sources.setdefault(slot.name, []).append(Source(pair, position))
    planned = [
        LazyTensor(name, shape, fits.own.get(name, dtype), partial(_made, sources[name], stored, config))
        for name, shape in fits.shapes.items()
    ]
    save_tensors(planned, target, config_text=config_text, overwrite=overwrite)
    return Converted(len(planned), fits.left_out)


def require_weights(config: ModelConfig, family: str, folder: Path) -> None:
    """Refuse a folder that does not hold the weights of a model; arguments are those of :func:`import_weights`.

    Raises:
        WeightsError: If a name, a shape or a type is not the model's.
    """
    _fitting(config, family, HubFolder(folder))


def _fitting(config: ModelConfig, family: str, stored: HubFolder) -> _Fitting:
    """Match a folder with a model, by names, shapes and types alone."""
    model = TinyTransformerLM.from_config(config, device="meta")
    shapes = {name: tuple(tensor.shape) for name, tensor in unique_state_dict(model).items()}
    names = family_of(family).tensor_names_for(config)
    found = _renamed(list(pairs(config, names, shapes)), names, stored)
    own = buffer_dtypes(model)
    left_out = tuple(name for name in stored.tensors if names.skipped and name.startswith(names.skipped))
    _check(found, stored, own, left_out, names=names, tied=config.tie_weights)
    return _Fitting(shapes, found, own, left_out)


def _made(sources: list[Source], stored: HubFolder, config: ModelConfig) -> Tensor:
    """Return a tensor of ours out of the stored ones that hold it, several for a stack of experts."""
    parts = [_part(source, stored, config) for source in sources]
    return parts[0] if sources[0].pair.ours[0].expert is None else torch.stack(parts)


def _part(source: Source, stored: HubFolder, config: ModelConfig) -> Tensor:
    pair = source.pair
    shapes = [slot.shape for slot in pair.ours]
    return pair.layout.split(stored.read(pair.stored), shapes, config)[source.position]


def _renamed(expected: list[Pair], names: TensorNames, stored: HubFolder) -> list[Pair]:
    """Return the pairs under the folder's names.

    Files of something larger have another beginning in the place of the first part of each; those of a bare decoder
    leave it out.
    """
    for root in names.roots:
        renamed = [pair._replace(stored=under(root, pair.stored)) for pair in expected]
        if renamed[0].stored in stored.tensors:
            return renamed
    first = expected[0].stored.partition(".")[0] + "."
    if any(name.startswith(first) for name in stored.tensors):
        return expected
    return [pair._replace(stored=pair.stored.removeprefix(first)) for pair in expected]


def _check(
    expected: list[Pair],
    stored: HubFolder,
    own: Mapping[str, torch.dtype],
    left_out: Sequence[str],
    *,
    names: TensorNames,
    tied: bool,
) -> None:
    """Refuse a folder whose tensors are not those expected, before any is read."""
    problems = list(_problems(expected, stored, own, left_out, names=names, tied=tied))
    if problems:
        rest = len(problems) - MAX_PROBLEMS
        listed = "; ".join(problems[:MAX_PROBLEMS]) + (f"; and {rest} more" if rest > 0 else "")
        raise WeightsError(
            f"{stored.folder} does not hold this model: {listed}", help="is config.json the model's own?"
        )


def _problems(
    expected: list[Pair],
    stored: HubFolder,
    own: Mapping[str, torch.dtype],
    left_out: Sequence[str],
    *,
    names: TensorNames,
    tied: bool,
) -> Iterator[str]:
    for pair in expected:
        tensor = stored.tensors.get(pair.stored)
        if tensor is None:
            yield f"{pair.stored} is missing"
        elif tensor.shape != pair.stored_shape:
            yield f"{pair.stored} has shape {tensor.shape}, not {pair.stored_shape}"
        elif tensor.dtype not in DTYPES:
            yield f"{pair.stored} is {tensor.dtype}, and weights are {', '.join(DTYPES)}"
        elif pair.ours[0].name in own and tensor.dtype == "F64":
            yield f"{pair.stored} is F64, and what a router adds to its scores is kept in F32"
    known = {pair.stored for pair in expected} | set(left_out)
    for name in stored.tensors:
        if name in known or names.is_derived(name):
            continue
        if tied and name in names.heads:
            yield from _other_head(name, expected[0].stored, stored)
            continue
        yield f"{name} is unexpected"


def _other_head(name: str, embedding: str, stored: HubFolder) -> Iterator[str]:
    """Yield how a head that is stored beside the table it is tied to differs from it, bit by bit."""
    head, table = stored.tensors[name], stored.tensors.get(embedding)
    if table is None or table.dtype not in DTYPES:
        return  # told of the table
    if head.dtype != table.dtype:
        yield f"{name} is {head.dtype} and {embedding} {table.dtype}, and the config ties them"
    elif head.shape != table.shape or not torch.equal(_bits(stored.read(name)), _bits(stored.read(embedding))):
        yield f"{name} differs from {embedding}, and the config ties them"


def _bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.uint8)


def _dtype(found: list[Pair], stored: HubFolder, own: Mapping[str, torch.dtype]) -> torch.dtype:
    """Return the dtype of the weights; what a router keeps beside them may have another."""
    counts = Counter(stored.tensors[pair.stored].dtype for pair in found if pair.ours[0].name not in own)
    if len(counts) > 1:
        kinds = ", ".join(f"{count:,} {dtype}" for dtype, count in counts.most_common())
        raise WeightsError(f"{stored.folder} mixes types: {kinds}", help="convert them all to one")
    return DTYPES[next(iter(counts))]
