"""Convert the weights of a Hugging Face folder to a tinylm folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.weights.checkpoint import Checkpoint
from tinylm_cli.model.checkpoint import save_tensors
from tinylm_cli.model.safetensors_file import LazyTensor


def import_weights(
    config: ModelConfig, family: str, folder: Path, target: Path, *, config_text: str, overwrite: bool = False
) -> Checkpoint:
    """Convert the weights in ``folder`` and save them with the config, as ``tinylm build --save`` does.

    All names, shapes and dtypes are checked before anything is written. Memory holds one tensor at a time.

    Args:
        config: The model's config.
        family: The folder's ``model_type``, e.g. ``llama``.
        folder: A folder with safetensors files.
        target: The folder to write.
        config_text: The config as YAML, stored verbatim.
        overwrite: Whether to replace a target that holds only a saved model.

    Returns:
        The checkpoint, with the shapes of the converted tensors and the names of those that were skipped.

    Raises:
        WeightsError: If the checkpoint does not match the model.
        OutputError: If the target exists or cannot be written.
    """
    checkpoint = Checkpoint(config, family, folder)
    dtype = checkpoint.dtype()
    planned = [
        LazyTensor(name, shape, checkpoint.buffer_dtypes.get(name, dtype), partial(checkpoint.tensor, name))
        for name, shape in checkpoint.shapes.items()
    ]
    save_tensors(planned, target, config_text=config_text, overwrite=overwrite)
    return checkpoint
