"""Load a Hugging Face folder, its config.json and safetensors, directly as a runnable model."""

from __future__ import annotations

from pathlib import Path

import torch

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import import_config
from tinylm_cli.interop.weights.checkpoint import Checkpoint
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.initialization import fill_buffers, materialize
from tinylm_cli.model.state_dict import unique_state_dict


def open_model(
    folder: Path | str,
    *,
    config: ModelConfig | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> TinyTransformerLM:
    """Build the model of a Hugging Face folder with its weights; nothing is unpickled, no code beside them is run.

    Every name, shape and dtype is checked before memory is allocated. Then one stored tensor at a time is read and
    copied into the model, in training mode as PyTorch modules start.

    Args:
        folder: Holds config.json, and model.safetensors or an index and the files it names.
        config: A config that computes the same, for example with a longer ``max_len``; None for the folder's own.
        device: Where the weights go.
        dtype: Type to convert the weights to; None to keep theirs.

    Raises:
        ConfigError: If config.json is wrong, or no tinylm config can express it.
        InputError: If there is no config.json.
        WeightsError: If the folder does not hold the weights of the model, or mixes types and ``dtype`` is None.
        CapacityError: If the weights do not fit in this machine.
    """
    found = import_config(str(folder))
    config = found.loaded.config if config is None else config
    checkpoint = Checkpoint(config, found.family, Path(folder))
    model = TinyTransformerLM.from_config(config, device="meta")
    materialize(model, device=torch.device(device), dtype=checkpoint.dtype() if dtype is None else dtype)
    fill_buffers(model)
    for name, values in unique_state_dict(model).items():
        values.copy_(checkpoint.tensor(name))
    return model
