"""A checkpoint that transformers saved, in one file and in several, and copies of it with a fault."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from torch import Tensor

from tinylm_cli.analysis.tensor_table import stored_shapes
from tinylm_cli.interop.verification.verify import config_of, verify_checkpoint
from tinylm_cli.reports.verify import Difference, VerifyReport

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

Tensors = dict[str, Tensor]
Copied = Callable[..., Path]

LLAMA: dict[str, Any] = {
    "vocab_size": 37,
    "hidden_size": 16,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "tie_word_embeddings": False,
}


def verified(folder: Path, *changes: str, partial: bool = False) -> VerifyReport:
    return verify_checkpoint(str(folder), config_of(str(folder)), changes, stored_shapes, partial=partial)


def only_difference(folder: Path) -> Difference:
    """Return the one difference of a checkpoint."""
    report = verified(folder)
    assert report.status == "different"
    (difference,) = report.differences
    return difference


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folder of a Llama in one file, and in several."""
    parent = tmp_path_factory.mktemp("saved")
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model("llama", **LLAMA))
    folders = {"one": parent / "one", "several": parent / "several"}
    model.save_pretrained(folders["one"])
    model.save_pretrained(folders["several"], max_shard_size="8KB")
    assert len(list(folders["several"].glob("*.safetensors"))) == 5
    return folders


@pytest.fixture
def copied(saved: dict[str, Path], tmp_path: Path) -> Copied:
    """Return a function that copies a folder, and changes tensors of a single file and keys of the config.json."""

    def copy(change: Callable[[Tensors], None] | None = None, source: str = "one", **keys: Any) -> Path:
        folder = tmp_path / "model"
        shutil.copytree(saved[source], folder)
        if change is not None:
            tensors = load_file(folder / "model.safetensors")
            change(tensors)
            save_file(tensors, folder / "model.safetensors")
        if keys:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            (folder / "config.json").write_text(json.dumps(config | keys, indent=2), encoding="utf-8")
        return folder

    return copy
