"""The family and the year of each published model, from the index of the gallery."""

# no deferred annotations, as in config.blocks

from functools import cache
from typing import Annotated

from pydantic import Field

from tinylm_cli.config.base import Block
from tinylm_cli.config.presets import gallery_index
from tinylm_cli.config.source import read_source
from tinylm_cli.config.yaml_reader import read_yaml


class Publication(Block):
    """Where a published model belongs."""

    family: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]  # As its publisher names it, e.g. ``qwen``.
    year: Annotated[int, Field(ge=2017, le=2100)]


@cache
def publications() -> dict[str, Publication]:
    """Return the publication of each model in the gallery, by its name."""
    root = read_yaml(read_source(str(gallery_index()))).root
    assert root is not None
    return {name: Publication.model_validate(entry) for name, entry in root.plain().items()}
