"""Saving and loading weights: a folder of ``model.safetensors`` and the config that it belongs to.

A tied tensor is stored once, by the embedding's name. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import OutputError, WeightsError
from tinylm_cli.model.folder import write_folder
from tinylm_cli.model.initialise import fill_buffers
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.materialise import materialise

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.yaml"

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""The floating types of the file format, by the names it has for them."""

MAX_PROBLEMS = 10


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
    tensors = {name: parameter.detach() for name, parameter in model.named_parameters()}
    if any(tensor.is_meta for tensor in tensors.values()):
        raise ValueError("a model on meta has no weights to save")

    def write(folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(config_text, encoding="utf-8", newline="\n")
        try:
            save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OutputError(f"cannot write {directory}: {error}") from error

    needed_bytes = sum(tensor.nbytes for tensor in tensors.values())
    write_folder(directory, (WEIGHTS_FILE, CONFIG_FILE), write, overwrite=overwrite, needed_bytes=needed_bytes)


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
        WeightsError: If the file cannot be read, or a name, shape or dtype is not the model's; names the first ten.
        CapacityError: If the weights do not fit in this machine.
    """
    path = Path(directory) / WEIGHTS_FILE
    device = torch.device(device)
    model = TinyTransformerLM.from_config(config, device="meta")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            dtype = _matching_dtype(file, model, path=path, dtype=dtype)
        materialise(model, device=device, dtype=dtype)
        if device.type != "meta":
            _read_into(model, path)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist", help="name a folder that tinylm saved a model to") from error
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged or not a safetensors file: {error}") from error
    fill_buffers(model)
    return model


def _read_into(model: TinyTransformerLM, path: Path) -> None:
    """Fill each parameter from a file that is known to hold it.

    Not from the file's memory map: its pages would count as memory beside the parameters, its alignment would change
    the last bits of products, and a file cut short meanwhile would kill the process.
    """
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.tell()
        for name, parameter in model.named_parameters():
            values = parameter.detach()
            host = values if values.device.type == "cpu" else torch.empty_like(values, device="cpu")
            file.seek(data + header[name]["data_offsets"][0])
            if file.readinto(host.view(-1).view(torch.uint8).numpy().data) != host.nbytes:
                raise WeightsError(f"{path} was cut short while it was read")
            if host is not values:
                values.copy_(host)


def _matching_dtype(file: Any, model: TinyTransformerLM, *, path: Path, dtype: torch.dtype | None) -> torch.dtype:
    """Return the one dtype of the open file once every name, shape and dtype in it is the model's.

    Raises:
        WeightsError: Lists what is not.
    """
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    stored = {name: str(piece.get_dtype()) for name, piece in slices.items()}
    usual, _ = Counter(stored.values()).most_common(1)[0] if stored else ("F32", 0)
    expected_dtype = dtype or DTYPES.get(usual, torch.float32)
    problems = list(_problems(slices, stored, model, dtype=expected_dtype))
    if problems:
        rest = len(problems) - MAX_PROBLEMS
        listed = "; ".join(problems[:MAX_PROBLEMS]) + (f"; and {rest} more" if rest > 0 else "")
        raise WeightsError(
            f"{path} does not hold this model: {listed}", help="use the config and the dtype it was saved with"
        )
    return expected_dtype


def _problems(
    slices: dict[str, Any], stored: dict[str, str], model: TinyTransformerLM, *, dtype: torch.dtype
) -> Iterator[str]:
    expected = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    for name in expected:
        if name not in slices:
            yield f"{name} is missing"
    for name, piece in slices.items():
        if name not in expected:
            shared = name == "lm_head.weight"
            yield f"{name} is unexpected" + (", as tie_weights shares the embedding's" if shared else "")
            continue
        shape = tuple(piece.get_shape())
        if shape != expected[name]:
            yield f"{name} has shape {shape}, not {expected[name]}"
        if DTYPES.get(stored[name]) != dtype:
            found = str(DTYPES.get(stored[name], stored[name])).removeprefix("torch.")
            yield f"{name} is {found}, not {str(dtype).removeprefix('torch.')}"
