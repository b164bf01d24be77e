"""Load a folder of weights as a runnable model: a Hugging Face folder directly, or one of tinylm's own."""

from __future__ import annotations

from pathlib import Path

import torch

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import import_config, is_hugging_face_folder, load_config, saved_config
from tinylm_cli.interop.weights.checkpoint import Checkpoint
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.initialization import fill_buffers, materialize
from tinylm_cli.model.state_dict import unique_state_dict
from tinylm_cli.model.weights import load_model


def open_model(
    folder: Path | str,
    *,
    config: ModelConfig | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> TinyTransformerLM:
    """Build the model of a folder with its weights; nothing is unpickled, no code in the folder is run.

    A folder with config.yaml, or with weights alone, is tinylm's own. One with config.json is Hugging Face's: every
    name, shape and dtype is checked before memory is allocated, then one stored tensor at a time is read and copied
    into the model. The model is in training mode, as PyTorch modules start.

    Args:
        folder: Holds model.safetensors, or for Hugging Face an index and the files it names.
        config: A config that computes the same, for example with a longer ``max_len``; None for the folder's own.
        device: Where the weights go.
        dtype: Type of the weights; None for the folder's. A Hugging Face folder's are converted to it, and tinylm's own
            must have it.

    Raises:
        ConfigError: If the folder's config is wrong, or no tinylm config can express it.
        InputError: If there is no config, there or given.
        WeightsError: If the folder does not hold the weights of the model, or mixes types and ``dtype`` is None.
        CapacityError: If the weights do not fit in this machine.
    """
    folder, device = Path(folder), torch.device(device)
    if is_hugging_face_folder(folder):
        return _open_hugging_face(folder, config, device, dtype)
    if config is None:
        config = load_config(saved_config(folder) or str(folder)).config
    return load_model(config, folder, device=device, dtype=dtype)


def _open_hugging_face(
    folder: Path, config: ModelConfig | None, device: torch.device, dtype: torch.dtype | None
) -> TinyTransformerLM:
    found = import_config(str(folder))
    config = found.loaded.config if config is None else config
    checkpoint = Checkpoint(config, found.family, folder)
    model = TinyTransformerLM.from_config(config, device="meta")
    materialize(model, device=device, dtype=checkpoint.dtype() if dtype is None else dtype)
    if device.type == "meta":
        return model
    fill_buffers(model)
    for name, values in unique_state_dict(model).items():
        values.copy_(checkpoint.tensor(name))
    return model
