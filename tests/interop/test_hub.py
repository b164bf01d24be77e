"""``hf://org/name``: configs and headers of a local server, each request counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.conftest import Run
from tests.interop.hub_server import Hub, served
from tinylm_cli.errors import InputError, UnableError
from tinylm_cli.interop import hub as module
from tinylm_cli.interop.hub import Repository, find_repository

pytest.importorskip("huggingface_hub")
transformers = pytest.importorskip("transformers")

KEYS = {
    "vocab_size": 997,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 32,
    "tie_word_embeddings": False,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the folders of a Llama in one file, and in several."""
    parent = tmp_path_factory.mktemp("hub")
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model("llama", **KEYS))
    model.save_pretrained(parent / "one")
    model.save_pretrained(parent / "several", max_shard_size="200KB")
    return {f"org/{name}": parent / name for name in ("one", "several")}


@pytest.fixture
def hub(folders: dict[str, Path]) -> Iterator[Hub]:
    with served(Hub(folders)) as server:
        yield server


def test_params(hub: Hub, folders: dict[str, Path], tinylm: Run) -> None:
    """As of the folder; only the config is read."""
    local = tinylm("params", folders["org/one"], "--format", "json")
    found = tinylm("params", "hf://org/one", "--format", "json", env=hub.environment)
    assert (found.code, found.err) == (0, "")
    (remote,), (same,) = json.loads(found.out)["models"], json.loads(local.out)["models"]
    assert remote["source"] == "hf://org/one/config.json"
    differing = {key for key in same if remote[key] != same[key]}
    assert differing <= {"source"}
    (asked,) = hub.asked
    assert asked.startswith("/org/one/resolve/main/config.json bytes=0-")


@pytest.mark.parametrize("name", ["one", "several"])
def test_verify(name: str, hub: Hub, folders: dict[str, Path], tinylm: Run) -> None:
    """As of the folder; of each file, only its beginning is read."""
    local = tinylm("verify", folders[f"org/{name}"], "--format", "json")
    found = tinylm("verify", f"hf://org/{name}", "--format", "json", env=hub.environment)
    assert (found.code, local.code) == (0, 0), found.err
    remote, same = json.loads(found.out), json.loads(local.out)
    assert remote["path"] == f"hf://org/{name}"
    assert [Path(each.pop("path")).name for each in remote["files"]] == [
        Path(each.pop("path")).name for each in same["files"]
    ]
    assert {key for key in same if remote[key] != same[key]} == {"path", "config"}
    files = [*folders[f"org/{name}"].glob("*.safetensors")]
    assert sum(".safetensors bytes=0-" in each for each in hub.asked) == len(files) + (name == "several")


def test_only_headers_are_read(hub: Hub, folders: dict[str, Path], tmp_path: Path, tinylm: Run) -> None:
    """With or without ranges: a tensor of 64 MB is not sent in full."""
    from safetensors.torch import save_file

    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "config.json").write_bytes((folders["org/one"] / "config.json").read_bytes())
    save_file({"rotary.inv_freq": torch.zeros(2**24)}, folder / "model.safetensors")
    hub.folders = hub.folders | {"org/large": folder}
    for hub.has_ranges in (True, False):
        hub.sent_bytes = 0
        found = tinylm("verify", "hf://org/large", "--format", "json", env=hub.environment)
        assert found.code == 1
        (file,) = json.loads(found.out)["files"]
        assert file["file_bytes"] == (folder / "model.safetensors").stat().st_size
        assert hub.sent_bytes < 2**21


def test_difference(hub: Hub, folders: dict[str, Path], tmp_path: Path, tinylm: Run) -> None:
    """Its place is a line of the repository's config."""
    folder = tmp_path / "padded"
    folder.mkdir()
    config = json.loads((folders["org/one"] / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 900}, indent=2), encoding="utf-8")
    (folder / "model.safetensors").symlink_to(folders["org/one"] / "model.safetensors")
    hub.folders = hub.folders | {"org/padded": folder}
    found = tinylm("verify", "hf://org/padded@refs/pr/1", env=hub.environment)
    assert found.code == 1
    assert found.out.startswith("padded  llama checkpoint, 1 difference from its config\n")
    assert " --> hf://org/padded@refs/pr/1/config.json:" in found.out
    assert 'fit "vocab_size": 997' in found.out
    assert all("/resolve/refs%2Fpr%2F1/" in asked for asked in hub.asked)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("hf://org/absent", "hf://org/absent does not exist, or is private"),
        ("hf://org/gated", "access to hf://org/gated is restricted"),
        ("hf://org/one@v9", "hf://org/one has no revision v9"),
        ("hf://org/empty", "hf://org/empty has no config.json"),
    ],
)
@pytest.mark.parametrize("command", ["params", "verify"])
def test_unreadable(command: str, reference: str, message: str, hub: Hub, tmp_path: Path, tinylm: Run) -> None:
    hub.folders = hub.folders | {"org/empty": tmp_path}
    found = tinylm(command, reference, env=hub.environment)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"error: {message}\n")


def test_without_weights(hub: Hub, folders: dict[str, Path], tmp_path: Path, tinylm: Run) -> None:
    (tmp_path / "config.json").write_bytes((folders["org/one"] / "config.json").read_bytes())
    hub.folders = hub.folders | {"org/config": tmp_path}
    found = tinylm("verify", "hf://org/config", env=hub.environment)
    assert found.code == 2
    assert found.err.startswith("error: hf://org/config contains neither model.safetensors nor\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "error: hf://org/one is on the Hugging Face Hub, but HF_HUB_OFFLINE is set\n"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "error: cannot read hf://org/one: "),
    ],
)
def test_without_network(change: dict[str, str], message: str, hub: Hub, tinylm: Run) -> None:
    found = tinylm("params", "hf://org/one", env=hub.environment | change)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(message)
    assert not hub.asked


def test_references() -> None:
    assert find_repository("hf://org/name") == Repository("org/name", None)
    assert find_repository("hf://gpt2/") == Repository("gpt2", None)
    found = find_repository("hf://org/name@refs/pr/1")
    assert found == Repository("org/name", "refs/pr/1")
    assert str(found.path / "config.json") == "hf://org/name@refs/pr/1/config.json"


@pytest.mark.parametrize(
    "wrong", ["hf://", "hf://a/b/c", "hf://org/na me", "hf://org/name@", "hf://../../etc", "hf://é"]
)
def test_wrong_references(wrong: str) -> None:
    with pytest.raises(InputError, match="names no repository") as raised:
        find_repository(wrong)
    assert raised.value.help == "write hf://org/name, or hf://org/name@revision"


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(UnableError, match="need the package huggingface_hub") as raised:
        find_repository("hf://org/name")
    assert raised.value.help == "pip install 'tinylm-cli[hub]'"
