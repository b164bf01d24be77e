"""Import: the weights of a Hugging Face folder converted into a folder of tinylm's own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.weights.checkpoint import Checkpoint
from tinylm_cli.model.safetensors_writer import LazyTensor
from tinylm_cli.model.weights import save_tensors


class Converted(NamedTuple):
    """The tensors of a converted folder.

    Attributes:
        tensors: Number of tensors of the model.
        left_out: Names of stored tensors that belong to other parts of a larger model.
    """

    tensors: int
    left_out: tuple[str, ...]


def import_weights(
    config: ModelConfig, family: str, folder: Path, target: Path, *, config_text: str, overwrite: bool = False
) -> Converted:
    """Convert the weights in ``folder`` and save them with their config, as ``tinylm build --save`` does.

    Every name, shape and dtype is checked before anything is written, and one tensor at a time is held in memory.

    Args:
        config: The model's config.
        family: The folder's ``model_type``, e.g. ``llama``.
        folder: Holds safetensors files.
        target: The folder to write, new.
        config_text: The config as YAML, stored as it is.
        overwrite: Whether a target that holds a saved model, and nothing else, is replaced.

    Raises:
        WeightsError: If the folder does not hold the weights of this model.
        OutputError: If the target exists or cannot be written.
    """
    found = Checkpoint(config, family, folder)
    dtype = found.dtype()
    planned = [
        LazyTensor(name, shape, found.buffer_dtypes.get(name, dtype), partial(found.tensor, name))
        for name, shape in found.shapes.items()
    ]
    save_tensors(planned, target, config_text=config_text, overwrite=overwrite)
    return Converted(len(planned), found.left_out)
