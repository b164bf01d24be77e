"""A tinylm model as a folder that Hugging Face's library loads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from tinylm_cli.atomic_write import write_folder
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import OutputError
from tinylm_cli.interop.config_json import CONFIG_FILE
from tinylm_cli.interop.export_config import Choice
from tinylm_cli.interop.families import family_of
from tinylm_cli.interop.weights.fused_tensors import Pair, Slot, pairs
from tinylm_cli.interop.weights.hub_folder import WEIGHTS_FILE
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.position import LearnedPosition, SinusoidalPosition
from tinylm_cli.model.safetensors_writer import LazyTensor, write_safetensors
from tinylm_cli.model.state_dict import buffer_dtypes, unique_state_dict

EMBEDDING = "embedding.token_embedding.embedding.weight"
POSITIONS = "embedding.positional_encoding.weight"

MARK = {"_exported_by": "tinylm"}
"""What tells a folder that was exported from a model of somebody's own, which is never replaced."""

Make = Callable[[], Tensor]
"""Gives the values of a tensor when their turn has come."""

FILES = (CONFIG_FILE, WEIGHTS_FILE)


def require_own(directory: Path) -> None:
    """Refuse to replace a folder whose config.json says nothing of having been exported.

    Raises:
        OutputError: If there is such a file.
    """
    try:
        document = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):  # whoever is to write there says what is wrong with that
        return
    except (OSError, ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not MARK.items() <= document.items():
        raise OutputError(f"{directory} holds a model that was not exported by tinylm", help="name another folder")


def export_model(model: TinyTransformerLM, choice: Choice, directory: Path, *, overwrite: bool = False) -> int:
    """Write ``config.json`` and ``model.safetensors`` for a model.

    Args:
        model: The model, with storage.
        choice: What :func:`tinylm_cli.interop.export_config.choose` returns for its config.
        directory: The folder to write; its parent exists.
        overwrite: Whether a folder that holds such files, and nothing else, is replaced.

    Returns:
        How many tensors the file holds.

    Raises:
        ValueError: If the model is on meta.
        OutputError: If the folder may not be replaced or cannot be written.
    """
    if model.lm_head.weight.is_meta:
        raise ValueError("a model on meta has no weights to export")
    config = choice.config
    values: dict[str, Make] = {name: partial(_as_is, tensor) for name, tensor in unique_state_dict(model).items()}
    if config != model.config:
        values |= _rewritten(model, config)
    dtype = model.lm_head.weight.dtype
    document = MARK | choice.expressed.document | {"torch_dtype": str(dtype).removeprefix("torch.")}
    shapes = {name: tuple(tensor.shape) for name, tensor in _described(config).items()}
    found = pairs(config, family_of(choice.expressed.family).tensor_names_for(config), shapes)
    own = buffer_dtypes(model)
    planned = [
        LazyTensor(p.stored, p.stored_shape, own.get(p.ours[0].name, dtype), partial(_joined, p, values, config))
        for p in found
    ]

    def write(folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8", newline="\n")
        write_safetensors(folder / WEIGHTS_FILE, planned)

    needed_bytes = sum(tensor.nbytes for tensor in planned)
    write_folder(directory, FILES, write, overwrite=overwrite, needed_bytes=needed_bytes)
    return len(planned)


def _rewritten(model: TinyTransformerLM, equal: ModelConfig) -> dict[str, Make]:
    """Return what gives the tensors of the equal model that are not the model's own."""
    table = model.embedding.token_embedding
    found: dict[str, Make] = {}
    if table.scale != 1:
        found[EMBEDDING] = lambda: _as_is(table.embedding.weight) * table.scale
    if model.config.tie_weights and not equal.tie_weights:
        found["lm_head.weight"] = partial(_as_is, model.lm_head.weight)
    position = model.embedding.positional_encoding
    dtype = model.lm_head.weight.dtype
    own = unique_state_dict(model)
    for name, described in _described(equal).items():
        if name == POSITIONS and isinstance(position, SinusoidalPosition):
            found[name] = partial(_as_is, position.table)
        elif name == POSITIONS and isinstance(position, LearnedPosition):
            found[name] = partial(_as_is, position.weight[position.offset - equal.position.offset :])
        elif name not in own and name not in found:  # a bias, or positions that say nothing
            found[name] = partial(torch.zeros, tuple(described.shape), dtype=dtype, device="cpu")
    return found


def _described(config: ModelConfig) -> dict[str, Tensor]:
    return unique_state_dict(TinyTransformerLM.from_config(config, device="meta"))


def _as_is(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu()


def _joined(pair: Pair, values: Mapping[str, Make], config: ModelConfig) -> Tensor:
    return pair.layout.join([_slot(slot, values) for slot in pair.ours], config)


def _slot(slot: Slot, values: Mapping[str, Make]) -> Tensor:
    whole: Tensor = values[slot.name]()
    return whole if slot.expert is None else whole[slot.expert]
