"""Every tensor of a model has one place in a checkpoint of its family."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.changes import CONFIGS
from tinylm_cli.config.layer_kinds import shared_blocks
from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.load import import_config
from tinylm_cli.interop.tensor_pairs import tensor_pairs
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.state_dict import unique_state_dict


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.json")), ids=lambda path: path.stem)
def test_every_tensor_is_stored_once(path: Path) -> None:
    config = import_config(str(path)).loaded.config
    if not shared_blocks(config):  # the first layers may use no block
        config = config.model_copy(update={"n_layers": min(config.n_layers, 5)})
    shapes = {
        name: tuple(tensor.shape)
        for name, tensor in unique_state_dict(TinyTransformerLM.from_config(config, device="meta")).items()
    }
    keys = FAMILIES[import_config(str(path)).family].keys
    pairs = list(tensor_pairs(config, keys.tensor_names_for(config), shapes))
    assert len({pair.stored for pair in pairs}) == len(pairs)
    held = [(part.name, str(part.selection)) for pair in pairs for part in pair.parts]
    assert len(set(held)) == len(held)
    assert {name for name, _ in held} == shapes.keys()
