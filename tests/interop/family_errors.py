"""The error of a config.json whose family is unknown."""

from __future__ import annotations

from tinylm_cli.cli.wording import worded
from tinylm_cli.config.source import Source
from tinylm_cli.errors import Diagnostic
from tinylm_cli.interop.config_json import read_json
from tinylm_cli.interop.to_tinylm import map_config

SUPPORTED = "tinylm list --families shows the supported families"


def told(text: str) -> Diagnostic:
    root = read_json(Source("config.json", text)).root
    assert root is not None
    (found,) = map_config(root, "config.json").errors
    return worded(found)
