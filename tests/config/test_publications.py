"""The index of published models."""

from __future__ import annotations

from tinylm_cli.config.presets import gallery
from tinylm_cli.config.publications import publications


def test_every_published_model_is_in_the_index() -> None:
    """The heading of each file states the year of the index."""
    assert publications().keys() == gallery().keys()
    for name, path in gallery().items():
        heading = " ".join(path.read_text(encoding="utf-8").partition("Source")[0].split("#"))
        assert str(publications()[name].year) in heading, name
    assert {each.family for each in publications().values()} >= {"llama", "qwen", "gemma"}
