from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import CapacityError, OutputError, WeightsError
from tinylm_cli.model import TinyTransformerLM, checkpoint, safetensors_file
from tinylm_cli.model.checkpoint import load_model, save_model
from tinylm_cli.model.initialization import materialize

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]
TOKENS = torch.randint(23, (2, 7), generator=torch.Generator().manual_seed(0))
EMBEDDING = "embedding.token_embedding.embedding.weight"


@pytest.fixture
def model(make_config: Make, randomized: Randomize) -> TinyTransformerLM:
    model = TinyTransformerLM.from_config(make_config())
    randomized(model)
    return model.eval()


@pytest.fixture
def folder(model: TinyTransformerLM, tmp_path: Path) -> Path:
    save_model(model, tmp_path / "saved", config_text="d_model: 16\n")
    return tmp_path / "saved"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the tensors in a saved folder behind tinylm's back."""
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_saved_files(model: TinyTransformerLM, folder: Path) -> None:
    assert names(folder) == ["config.yaml", "model.safetensors"]
    assert (folder / "config.yaml").read_bytes() == b"d_model: 16\n"
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == {name for name, _ in model.named_parameters()}
        assert "lm_head.weight" not in file.keys()  # noqa: SIM118 - not a mapping
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("kind", ["sinusoidal", "learned", "none"])
@pytest.mark.parametrize("tied", [True, False])
def test_round_trip(
    make_config: Make, randomized: Randomize, tmp_path: Path, kind: str, dtype: torch.dtype, *, tied: bool
) -> None:
    config = make_config(position={"kind": kind}, tie_weights=tied)
    model = TinyTransformerLM.from_config(config, dtype=dtype)
    randomized(model)
    save_model(model, tmp_path / "saved", config_text="")
    for asked in (None, dtype):
        loaded = load_model(config, tmp_path / "saved", dtype=asked)
        assert torch.equal(loaded.eval()(TOKENS), model.eval()(TOKENS))
        assert (loaded.lm_head.weight is loaded.embedding.token_embedding.embedding.weight) is tied
        assert all(torch.equal(a, b) for a, b in zip(loaded.buffers(), model.buffers(), strict=True))
        assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_loading_draws_nothing(model: TinyTransformerLM, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinylm_cli.model.initialization.fill_parameter", None)
    with pytest.raises(TypeError):
        TinyTransformerLM.from_config(model.config)
    assert torch.equal(load_model(model.config, folder).eval()(TOKENS), model(TOKENS))


def test_loaded_model_owns_memory(model: TinyTransformerLM, folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    loaded = load_model(model.config, folder)
    loaded(TOKENS).sum().backward()
    torch.optim.SGD(loaded.parameters(), lr=0.1).step()
    assert not torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    assert (folder / "model.safetensors").read_bytes() == before


def test_overwrite_own_folder(model: TinyTransformerLM, folder: Path) -> None:
    loaded = load_model(model.config, folder)
    save_model(loaded, folder, config_text="", overwrite=True)
    assert torch.equal(loaded.eval()(TOKENS), model(TOKENS))
    assert torch.equal(load_model(model.config, folder).eval()(TOKENS), model(TOKENS))


def _remove(tensors: dict[str, Tensor]) -> None:
    del tensors["ln_f.bias"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_remove, "ln_f.bias is missing"),
        (lambda t: t.update(extra=torch.ones(1)), "extra is unknown"),
        (
            lambda t: t.update({"lm_head.weight": t[EMBEDDING].clone()}),
            "the file has lm_head.weight, but the config sets tie_weights",
        ),
        (lambda t: t.update({"ln_f.bias": torch.ones(15)}), r"ln_f.bias has shape \(15,\), not \(16,\)"),
        (lambda t: t.update({"ln_f.bias": torch.ones(16).half()}), "ln_f.bias is float16, not float32"),
        (lambda t: t.update({"ln_f.bias": torch.ones(16).int()}), "ln_f.bias is I32, not float32"),
        (dict.clear, r"all 51 tensors are missing: embedding\S+, blocks\S+, blocks\S+, …$"),
    ],
)
def test_other_model(
    model: TinyTransformerLM, folder: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    rewrite(folder, change)
    with pytest.raises(WeightsError, match=f"(?m)does not match this model: .*{message}"):
        load_model(model.config, folder)


def test_mismatches_listed(model: TinyTransformerLM, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite(folder, lambda t: (t.pop("ln_f.bias"), t.update(extra=torch.ones(1), another=torch.ones(1))))
    monkeypatch.setattr(checkpoint, "materialize", lambda *_, **__: pytest.fail("went on"))
    with pytest.raises(WeightsError) as caught:
        load_model(model.config, folder)
    assert "ln_f.bias is missing" in caught.value.message
    assert "2 tensors are unknown: another, extra" in caught.value.message


def test_integer_tensors_are_rejected(model: TinyTransformerLM, folder: Path) -> None:
    rewrite(folder, lambda t: t.update({name: tensor.int() for name, tensor in t.items()}))
    with pytest.raises(WeightsError, match=r"(?m)all 51 tensors are I32, not float32$"):
        load_model(model.config, folder)


def test_dtype_mismatch(model: TinyTransformerLM, folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"(?m)all 51 tensors are float32, not bfloat16$"):
        load_model(model.config, folder, dtype=torch.bfloat16)


@pytest.mark.parametrize("size", [0, 4, 8, 100, -1])
def test_truncated_file(model: TinyTransformerLM, folder: Path, size: int) -> None:
    path = folder / "model.safetensors"
    os.truncate(path, size if size >= 0 else path.stat().st_size - 1)
    with pytest.raises(WeightsError, match="is damaged or not a safetensors file"):
        load_model(model.config, folder)


class _Trap:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return pytest.fail, ("unpickled",)


def test_pickle_is_rejected_unread(model: TinyTransformerLM, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(_Trap()))
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_model(model.config, folder)


def test_truncated_while_read(model: TinyTransformerLM, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "model.safetensors"
    monkeypatch.setattr(checkpoint, "materialize", lambda *_, **__: os.truncate(path, path.stat().st_size - 1))
    monkeypatch.setattr(TinyTransformerLM, "from_config", lambda *_, **__: model)
    with pytest.raises(WeightsError, match="was truncated"):
        load_model(model.config, folder)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"n_layers": 5},
            r"32 tensors are missing, because n_layers is 3 instead of 5: blocks.3.ln_1.weight, blocks.3.ln_1.bias, "
            r"blocks.3.attention.q_proj.weight, …$",
        ),
        (
            {"n_layers": 2},
            r"16 tensors are unknown, because n_layers is 3 instead of 2: blocks.2.\S+, "
            r"blocks.2.\S+, blocks.2.\S+, …$",
        ),
        (
            {"d_model": 24},
            r"48 tensors have different shapes, because d_model is 16 instead of 24: the first, "
            r"embedding.token_embedding.embedding.weight, has shape \(23, 16\), not \(23, 24\)$",
        ),
        (
            {"vocab_size": 29, "d_ff": 44},
            r"10 tensors have different shapes, because vocab_size is 23 instead of 29 and d_ff is 40 instead of 44: "
            r"the first, \S+, has",
        ),
        (
            {"embedding": {"n_codebooks": 2}, "d_ff": 44},
            r"10 tensors have different shapes, because d_ff is 40 instead of 44: the first, \S+, has shape \(23, 16\)",
        ),
        ({"tie_weights": False}, "lm_head.weight is missing$"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_mismatch_is_reported_by_cause(
    model: TinyTransformerLM, folder: Path, fields: dict[str, object], told: str
) -> None:
    config = ModelConfig.model_validate(model.config.model_dump() | fields)
    with pytest.raises(WeightsError, match=f"(?m)does not match this model: {told}") as caught:
        load_model(config, folder)
    assert len(caught.value.message) < 400
    assert caught.value.help == "use the config with which the weights were saved"


def test_mixed_dtypes(model: TinyTransformerLM, folder: Path) -> None:
    rewrite(folder, lambda t: t.update({name: t[name].half() for name in ("ln_f.weight", "ln_f.bias")}))
    with pytest.raises(WeightsError, match=r"(?m)2 tensors are float16, not float32: .*, ln_f.bias$") as caught:
        load_model(model.config, folder)
    assert caught.value.help == "use the dtype with which the weights were saved"


@pytest.mark.parametrize(
    "header", [b"{", b"[]", b"7", b'{"ln_f.bias": {}}', b'{"ln_f.bias": 3}', b"\xff", b"[" * 100_000]
)
def test_replaced_while_read(
    model: TinyTransformerLM, folder: Path, header: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "model.safetensors"

    def opened(*_: object, **__: object) -> AbstractContextManager[None]:
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        return nullcontext()

    monkeypatch.setattr(safetensors_file, "safe_open", opened)
    with pytest.raises(WeightsError, match="is damaged or not a safetensors file") as caught:
        load_model(model.config, folder)
    assert caught.value.help


def test_header_read_once(model: TinyTransformerLM, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What replaces the file meanwhile is another file: the one that was opened is read to its end."""
    before = load_model(model.config, folder)

    def replaced(*arguments: Any, **options: Any) -> None:
        (folder / "other").write_bytes(b"another file")
        (folder / "other").rename(folder / "model.safetensors")
        materialize(*arguments, **options)

    monkeypatch.setattr(checkpoint, "materialize", replaced)
    loaded = load_model(model.config, folder)
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), loaded.parameters(), strict=True))


def test_folder_is_a_file(model: TinyTransformerLM, folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"(?m)model\.safetensors is not a folder$") as caught:
        load_model(model.config, folder / "model.safetensors")
    assert caught.value.help


def test_a_missing_file_is_named(model: TinyTransformerLM, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"absent.model\.safetensors does not exist"):
        load_model(model.config, tmp_path / "absent")


def test_file_is_a_folder(model: TinyTransformerLM, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    with pytest.raises(WeightsError, match=r"(?m)is a folder, not a file$"):
        load_model(model.config, folder)


def test_capacity_checked_first(model: TinyTransformerLM, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CapacityError("no room")

    monkeypatch.setattr("tinylm_cli.model.initialization.require_memory", refuse)
    monkeypatch.setattr(checkpoint, "_read_into", lambda *_: pytest.fail("went on"))
    with pytest.raises(CapacityError, match="no room"):
        load_model(model.config, folder)


def test_save_on_meta(make_config: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="on meta"):
        save_model(TinyTransformerLM.from_config(make_config(), device="meta"), tmp_path / "saved", config_text="")
    assert names(tmp_path) == []


def test_disk_full(model: TinyTransformerLM, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "model.safetensors").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_safetensors", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        save_model(model, folder, config_text="new", overwrite=True)
    assert (folder / "model.safetensors").read_bytes() == before
    assert names(folder.parent) == ["saved"]
