"""The Hugging Face family that expresses the model of a GGUF file."""

from __future__ import annotations

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.export_config import ExportedConfig, export_config


def express_without_dropout(config: ModelConfig) -> ExportedConfig:
    """Return the config.json of a model for inference: dropout, which only training has, chooses no family.

    Raises:
        UnableError: If no family expresses the model or an equivalent one.
    """
    return export_config(config.model_copy(update={"dropout": 0.0}))
