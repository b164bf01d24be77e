"""Saving and loading weights: a folder of ``model.safetensors`` and the config that it belongs to.

A tied tensor is stored once, by the embedding's name. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import WeightsError
from tinylm_cli.model.folder_writer import write_folder
from tinylm_cli.model.initialization import fill_buffers
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.materialize import materialize
from tinylm_cli.model.safetensors_writer import Planned, write_tensors
from tinylm_cli.model.state_dict import stored_tensors
from tinylm_cli.model.weight_mismatch import Stored, matching_dtype

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.yaml"
FILES = (WEIGHTS_FILE, CONFIG_FILE)

SAVED_FOLDER = "name a folder that tinylm saved a model to"


def save_model(model: TinyTransformerLM, directory: Path, *, config_text: str, overwrite: bool = False) -> None:
    """Write the weights of ``model``, straight from where they are, and its config to a folder.

    The folder appears complete or not at all, and one that is replaced stays until then.

    Args:
        model: The model, with storage.
        directory: The folder; its parent exists.
        config_text: The config as YAML, stored as it is.
        overwrite: Whether a folder that holds a saved model, and nothing else, is replaced.

    Raises:
        ValueError: If the model is on meta.
        OutputError: If the folder may not be replaced, or the system refuses something on the way.
    """
    tensors = stored_tensors(model)
    if any(tensor.is_meta for tensor in tensors.values()):
        raise ValueError("a model on meta has no weights to save")
    planned = [Planned(name, tuple(tensor.shape), tensor.dtype, tensor.cpu) for name, tensor in tensors.items()]
    save_tensors(planned, directory, config_text=config_text, overwrite=overwrite)


def save_tensors(tensors: Sequence[Planned], directory: Path, *, config_text: str, overwrite: bool = False) -> None:
    """Write tensors, each made when its turn has come, as the weights of a model.

    Args:
        tensors: All that ``stored_tensors`` names of the model.
        directory: As for :func:`save_model`.
        config_text: Likewise.
        overwrite: Likewise.

    Raises:
        OutputError: If the folder may not be replaced, or the system refuses something on the way.
    """

    def write(folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(config_text, encoding="utf-8", newline="\n")
        write_tensors(folder / WEIGHTS_FILE, tensors)

    needed_bytes = sum(tensor.nbytes for tensor in tensors)
    write_folder(directory, FILES, write, overwrite=overwrite, needed_bytes=needed_bytes)


def load_model(
    config: ModelConfig,
    directory: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> TinyTransformerLM:
    """Build the model of ``config`` around the weights in a folder.

    The file is compared with the config first, then each tensor is read straight to where it stays: the model owns its
    memory, and holds it once.

    Args:
        config: The config that the weights belong to.
        directory: A folder with ``model.safetensors``.
        device: Where the weights go.
        dtype: What the file must hold; None for any one floating type.

    Raises:
        WeightsError: If the file cannot be read, or a name, shape or dtype is not the model's; says of each kind
            of mismatch how many tensors it is about, and names the first.
        CapacityError: If the weights do not fit in this machine.
    """
    path = Path(directory) / WEIGHTS_FILE
    device = torch.device(device)
    model = TinyTransformerLM.from_config(config, device="meta")
    try:
        with path.open("rb") as file:
            with safe_open(path, framework="pt", device="cpu"):
                pass  # the format's own reader refuses what is damaged
            stored = _header(file, path)
            dtype = matching_dtype(stored, model, path=path, dtype=dtype)
            materialize(model, device=device, dtype=dtype)
            if device.type != "meta":
                fill_buffers(model)
                _read_into(model, file, stored, path)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist", help=SAVED_FOLDER) from error
    except NotADirectoryError as error:
        raise WeightsError(f"{directory} is not a folder", help=SAVED_FOLDER) from error
    except IsADirectoryError as error:
        raise WeightsError(f"{path} is a folder, not a file", help=SAVED_FOLDER) from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise _damaged(path, str(error)) from error
    return model


def _header(file: BinaryIO, path: Path) -> dict[str, Stored]:
    """Return what the open file says it holds, read once: by the same words tensors are compared and then found.

    Raises:
        WeightsError: If it is not what it was a moment ago, when the format's own reader took it.
    """
    try:
        size = int.from_bytes(file.read(8), "little")
        if size > os.fstat(file.fileno()).st_size:
            raise ValueError("its header is longer than the file")
        header = json.loads(file.read(size))
        start = file.tell()
        return {
            name: Stored(str(entry["dtype"]), tuple(map(int, entry["shape"])), start + int(entry["data_offsets"][0]))
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"{path} is damaged or not a safetensors file: {why}", help="save the model again, or copy the file once more"
    )


def _read_into(model: TinyTransformerLM, file: BinaryIO, stored: Mapping[str, Stored], path: Path) -> None:
    """Fill each stored tensor from an open file that is known to hold it.

    Not from the file's memory map: its pages would count as memory beside the parameters, its alignment would change
    the last bits of products, and a file cut short meanwhile would kill the process.
    """
    for name, values in stored_tensors(model).items():
        host = values if values.device.type == "cpu" else torch.empty_like(values, device="cpu")
        file.seek(stored[name].offset)
        if file.readinto(host.view(-1).view(torch.uint8).numpy().data) != host.nbytes:  # type: ignore[attr-defined]
            raise WeightsError(f"{path} was cut short while it was read", help="load it again once it is complete")
        if host is not values:
            values.copy_(host)
