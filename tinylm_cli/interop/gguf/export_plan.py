"""What a GGUF file of a model contains: the config that it stores, its architecture and metadata."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gguf.constants import Keys

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import OutputError, UnableError
from tinylm_cli.interop.gguf.architectures import Architecture
from tinylm_cli.interop.gguf.family import express_without_dropout
from tinylm_cli.interop.gguf.metadata import Value, model_metadata
from tinylm_cli.interop.gguf.supported import architecture_for
from tinylm_cli.interop.gguf.vocabulary import vocabulary_metadata
from tinylm_cli.regular_file import open_regular

NO_TOKENIZER: dict[str, Value] = {Keys.Tokenizer.MODEL: "none"}
"""The metadata of a file without a tokenizer."""

MAGIC = b"GGUF"
"""The first bytes of a GGUF file."""


class GgufPlan(NamedTuple):
    """A GGUF file to write."""

    config: ModelConfig  # The model's config, or the config of an equivalent model.
    family: str  # The Hugging Face family that expresses it.
    changes: tuple[str, ...]  # Fields in which an equivalent differs; empty if none.
    architecture: Architecture
    metadata: dict[str, Value]  # Without the type of the file.
    tokenizer: str | None = None  # llama.cpp's name of the pre-tokenizer; None if the file has no tokenizer.
    tokenizer_problem: str = ""  # Why a tokenizer.json is left out.


def plan_gguf(config: ModelConfig, name: str, tokenizer_file: Path | None = None) -> GgufPlan:
    """Return what the GGUF file of a model contains.

    Args:
        config: A validated config.
        name: The model's name.
        tokenizer_file: The ``tokenizer.json`` of the model, or None.

    Raises:
        UnableError: If no family expresses the model, or llama.cpp cannot compute it.
    """
    exported = express_without_dropout(config)
    architecture = architecture_for(exported.config, exported.family)
    stored = exported.config
    metadata = model_metadata(stored, architecture, exported.document, name)
    plan = GgufPlan(stored, exported.family, exported.changes, architecture, metadata | NO_TOKENIZER)
    if tokenizer_file is None:
        return plan
    try:
        vocabulary = vocabulary_metadata(tokenizer_file, stored.vocab_size)
    except UnableError as error:
        return plan._replace(tokenizer_problem=error.message)
    return plan._replace(metadata=metadata | vocabulary, tokenizer=str(vocabulary[Keys.Tokenizer.PRE]))


def require_gguf_file(path: Path) -> None:
    """Raise if a file exists and is not a GGUF file; it is never replaced.

    Raises:
        OutputError: If so.
    """
    try:
        with open_regular(path) as file:
            is_gguf = file.read(len(MAGIC)) == MAGIC
    except OSError:  # absent, or reported when it is written
        return
    if not is_gguf:
        raise OutputError(f"{path} is not a GGUF file, so it is not replaced", help="name another file")
