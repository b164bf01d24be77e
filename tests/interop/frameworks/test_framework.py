"""Frameworks in general: fields in the way, and models with the same logits."""

from __future__ import annotations

from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.frameworks import FRAMEWORKS
from tinylm_cli.interop.frameworks.framework import Framework, blocking_fields, to_framework
from tinylm_cli.interop.load import load_config

SIZES = ("vocab_size", "d_model", "n_heads", "n_layers", "d_ff", "max_len")


def write(config: ModelConfig, name: str) -> dict[str, Any]:
    return {"name": name, **{size: getattr(config, size) for size in SIZES}}


def read(document: dict[str, Any]) -> dict[str, Any]:
    return {size: document[size] for size in SIZES}


COURSE = Framework("course 1.0", "Course", write, read, str)
"""A framework of the course's models, which differ in their sizes."""


def test_expressible() -> None:
    config = load_config("small").config
    exported = to_framework(config, "small", COURSE)
    assert exported.document == write(config, "small")
    assert exported.changes == ()
    assert blocking_fields(config, COURSE) == {}


def test_blocking_fields() -> None:
    config = load_config("small", ["norm.kind=rmsnorm", "attention.bias=false"]).config
    fields = blocking_fields(config, COURSE)
    assert fields.pop("norm.kind") == "rmsnorm"
    assert fields == dict.fromkeys(("norm.bias", "attention.bias", "attention.out_bias"), "false")


def test_invalid_sizes() -> None:
    """A framework that derives the size of heads cannot have any number of them."""
    config = load_config("small", ["n_heads=3", "attention.d_head=64"]).config
    assert blocking_fields(config, COURSE) == {"d_model": str(config.d_model)}


def test_untied() -> None:
    config = load_config("small").config
    assert to_framework(config, "", COURSE._replace(unties=True, read=lambda document: {
        **read(document), "tie_weights": False,
    })).changes == ("tie_weights: true → false",)  # fmt: skip


def test_kinds_of_layers() -> None:
    for framework in FRAMEWORKS.values():
        assert "layers.kinds" in blocking_fields(load_config("jamba-v0.1").config, framework)
