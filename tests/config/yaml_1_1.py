"""A reader of YAML 1.1, which converts more words and numbers than YAML 1.2."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML


def read_yaml_1_1(text: str) -> Any:
    reader = YAML(typ="safe", pure=True)
    reader.version = "1.1"
    return reader.load(text)
