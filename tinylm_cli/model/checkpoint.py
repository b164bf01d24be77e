"""Save and load a model as a folder with ``model.safetensors`` and ``config.yaml``.

A tied tensor is stored once, under the embedding's name. Nothing is unpickled. Mismatches of a file and a model are
reported by cause instead of by tensor.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from tinylm_cli.atomic_write import write_folder
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import WeightsError
from tinylm_cli.model.initialization import fill_buffers, materialize
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.safetensors_file import DTYPES, LazyTensor, SafetensorsFile, write_safetensors
from tinylm_cli.model.state_dict import Shape, buffer_dtypes, unique_state_dict
from tinylm_cli.safetensors_header import TensorInfo

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.yaml"
FILES = (WEIGHTS_FILE, CONFIG_FILE)

SAVED_FOLDER = "choose a folder to which tinylm saved a model"

MAX_LISTED = 3

_SIZES = (
    ("embedding.token_embedding.embedding.weight", ("vocab_size", "d_model")),
    ("embedding.positional_encoding.weight", ("max_len", "d_model")),
    ("blocks.0.feed_forward.up_proj.weight", ("d_ff", "d_model")),
)
"""Tensors whose dimensions are config fields."""


def save_model(model: TinyTransformerLM, directory: Path, *, config_text: str, overwrite: bool = False) -> None:
    """Write the weights of ``model`` and its config to a folder.

    The folder is written atomically; a replaced folder stays intact until the new one is complete.

    Args:
        model: The model, with storage.
        directory: The folder; its parent exists.
        config_text: The config as YAML, stored verbatim.
        overwrite: Whether to replace a folder that holds only a saved model.

    Raises:
        ValueError: If the model is on meta.
        OutputError: If the folder may not be replaced, or cannot be written.
    """
    tensors = unique_state_dict(model)
    if any(tensor.is_meta for tensor in tensors.values()):
        raise ValueError("a model on meta has no weights to save")
    lazy = [LazyTensor(name, tuple(tensor.shape), tensor.dtype, tensor.cpu) for name, tensor in tensors.items()]
    save_tensors(lazy, directory, config_text=config_text, overwrite=overwrite)


def save_tensors(tensors: Sequence[LazyTensor], directory: Path, *, config_text: str, overwrite: bool) -> None:
    """Save every tensor of a model's :func:`unique_state_dict`, as :func:`save_model` does, loading one at a time.

    Raises:
        OutputError: If the folder may not be replaced, or cannot be written.
    """

    def write(folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(config_text, encoding="utf-8", newline="\n")
        write_safetensors(folder / WEIGHTS_FILE, tensors)

    needed_bytes = sum(tensor.nbytes for tensor in tensors)
    write_folder(directory, FILES, write, overwrite=overwrite, needed_bytes=needed_bytes)


def load_model(
    config: ModelConfig,
    directory: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> TinyTransformerLM:
    """Build the model of ``config`` with the weights in a folder.

    The file is compared with the config first. Then each tensor is read directly into the memory of the model,
    without a second copy.

    Args:
        config: The config of the weights.
        directory: A folder with ``model.safetensors``.
        device: Device of the weights.
        dtype: Required dtype of the stored weights; None for any common floating dtype.

    Raises:
        WeightsError: If the file cannot be read, or a name, shape or dtype differs from the model's; gives the number
            of tensors of each kind of mismatch, and the first names.
        CapacityError: If the weights exceed this machine's memory.
    """
    path = Path(directory) / WEIGHTS_FILE
    device = torch.device(device)
    model = TinyTransformerLM.from_config(config, device="meta")
    try:
        file = SafetensorsFile(path)
        dtype = _matching_dtype(file.tensors, model, path=path, dtype=dtype)
        materialize(model, device=device, dtype=dtype)
        if device.type != "meta":
            fill_buffers(model)
            _read_into(model, file)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist", help=SAVED_FOLDER) from error
    except NotADirectoryError as error:
        raise WeightsError(f"{directory} is not a folder", help=SAVED_FOLDER) from error
    except IsADirectoryError as error:
        raise WeightsError(f"{path} is a folder, not a file", help=SAVED_FOLDER) from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    return model


def _read_into(model: TinyTransformerLM, file: SafetensorsFile) -> None:
    """Read each tensor of the model from an open file, whose header matches."""
    for name, values in unique_state_dict(model).items():
        if values.device.type == "cpu":
            file.read_into(name, values)
        else:
            values.copy_(file.read(name))


def _matching_dtype(
    stored: Mapping[str, TensorInfo], model: TinyTransformerLM, *, path: Path, dtype: torch.dtype | None
) -> torch.dtype:
    """Return the dtype of a checkpoint's parameters, if all names, shapes and dtypes match the model.

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
            help=f"use the {what} with which the weights were saved",
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
        yield "the file has lm_head.weight, but the config sets tie_weights"
    if unexpected:
        yield f"{_count(unexpected, stored)} unknown{cause}{_listed(unexpected)}"


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
        if field != "vocab_size" or config.embedding.n_codebooks == 1  # rows of one codebook
    }
    causes = [f"{field} is {found} instead of {wanted}" for field, (found, wanted) in sizes.items() if found != wanted]
    cause = f", because {' and '.join(causes)}" if causes else ""
    every = "all " if len(other) == len(expected) else ""
    yield f"{every}{len(other)} tensors have different shapes{cause}: the first, {other[0]}, has {first}"


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
