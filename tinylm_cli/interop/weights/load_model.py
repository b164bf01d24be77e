"""Load a Hugging Face or tinylm weights folder as a runnable model."""

from __future__ import annotations

from pathlib import Path

import torch

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import (
    hugging_face_family,
    import_config,
    is_hugging_face_folder,
    load_config,
    saved_config,
)
from tinylm_cli.interop.weights.checkpoint import Checkpoint
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.checkpoint import load_model
from tinylm_cli.model.initialization import fill_buffers, materialize
from tinylm_cli.model.state_dict import unique_state_dict


def open_model(
    folder: Path | str,
    *,
    config: ModelConfig | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> TinyTransformerLM:
    """Build a model with the weights in a folder; nothing is unpickled, and no code in the folder is run.

    A folder with config.yaml, or without a config, is a tinylm folder. A folder with config.json is a Hugging Face
    folder: all names, shapes and dtypes are checked before memory is allocated, then stored tensors are copied into the
    model one at a time. The model is in training mode, like any new PyTorch module.

    Args:
        folder: Holds model.safetensors or, for Hugging Face, an index and its shards.
        config: A config with the same tensors, for example with a longer ``max_len``; None uses the folder's.
        device: Where the weights go.
        dtype: Dtype of the weights; None for the stored dtype. Hugging Face weights are converted to it; tinylm weights
            must already have it.

    Raises:
        ConfigError: If the folder's config is invalid, or no tinylm config can express it.
        InputError: If the folder has no config and ``config`` is None.
        WeightsError: If the weights do not match the model, or have mixed dtypes and ``dtype`` is None.
        CapacityError: If the weights exceed this machine's memory.
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
    config = import_config(str(folder)).loaded.config if config is None else config
    checkpoint = Checkpoint(config, hugging_face_family(str(folder)), folder)
    model = TinyTransformerLM.from_config(config, device="meta")
    materialize(model, device=device, dtype=checkpoint.dtype() if dtype is None else dtype)
    if device.type == "meta":
        return model
    fill_buffers(model)
    for name, values in unique_state_dict(model).items():
        values.copy_(checkpoint.tensor(name))
    return model
