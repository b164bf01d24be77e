"""An exported GGUF file holds the weights and sizes of the model, and llama.cpp computes the model's logits from it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from gguf.quants import dequantize

from tests.interop.gguf.converted import converted
from tests.interop.gguf.llama_cpp import logits
from tests.interop.gguf.small_configs import CONFIGS, VOCAB, config_of
from tests.small_models import randomize
from tinylm_cli.analysis.tensor_table import stored_shapes
from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import OccupiedError, OutputError, WeightsError
from tinylm_cli.interop.export_config import export_config
from tinylm_cli.interop.gguf.export_plan import plan_gguf, require_gguf_file
from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.verification.verify import config_of as config_of_file
from tinylm_cli.interop.verification.verify import verify_checkpoint
from tinylm_cli.interop.weights.export_gguf import export_gguf, own_type
from tinylm_cli.interop.weights.export_weights import export_model
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.reports.choices import WrittenGgufType

LENGTH = 20

TOLERANCE = 1e-6
"""Largest error of a logit from a float32 file, relative to the largest logit."""

GELU_TOLERANCE = 2e-3
"""The same for models with GELU, which llama.cpp looks up in a table of float16 numbers."""

QUANTIZED_TOLERANCES: dict[WrittenGgufType, float] = {
    "F16": 2e-3,
    "BF16": 2e-2,
    "Q8_0": 3e-2,
    "Q5_1": 0.2,
    "Q5_0": 0.2,
    "Q4_1": 0.4,
    "Q4_0": 0.4,
}


def load(folder: Path, keys: dict[str, Any]) -> LoadedConfig:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(keys), encoding="utf-8")
    return load_config(str(folder))


def random_model(loaded: LoadedConfig) -> TinyTransformerLM:
    model = TinyTransformerLM.from_config(loaded.config).eval()
    randomize(model)
    return model


def relative_error(model: TinyTransformerLM, path: Path) -> float:
    """Return the largest error of llama.cpp's logits, relative to the largest logit."""
    tokens = torch.randperm(VOCAB, generator=torch.Generator().manual_seed(1))[:LENGTH]
    found = logits(path, tokens.tolist())
    with torch.no_grad():
        expected = model(tokens[None])[0].float().numpy()
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_of_llama_cpp(name: str, tmp_path: Path) -> None:
    loaded = load(tmp_path / "in", config_of(name))
    model, plan = random_model(loaded), plan_gguf(loaded.config, name)
    assert plan.family == name.partition("-")[0]
    export_gguf(model, plan, "F32", tmp_path / "model.gguf")
    has_gelu = loaded.config.feed_forward.activation.startswith("gelu")
    assert relative_error(model, tmp_path / "model.gguf") < (GELU_TOLERANCE if has_gelu else TOLERANCE)


@pytest.mark.parametrize("file_type", QUANTIZED_TOLERANCES)
@pytest.mark.parametrize("name", ["llama", "mixtral", "qwen3", "gpt2"])
def test_rounded_logits_of_llama_cpp(name: str, file_type: WrittenGgufType, tmp_path: Path) -> None:
    loaded = load(tmp_path / "in", config_of(name))
    model, plan = random_model(loaded), plan_gguf(loaded.config, name)
    export_gguf(model, plan, file_type, tmp_path / "model.gguf")
    assert relative_error(model, tmp_path / "model.gguf") < QUANTIZED_TOLERANCES[file_type]


@pytest.mark.parametrize("name", CONFIGS)
def test_tensors(name: str, tmp_path: Path) -> None:
    """They are those of the Hugging Face folder, under the names and in the layout of llama.cpp's converter."""
    loaded = load(tmp_path / "in", config_of(name))
    model, exported = random_model(loaded), export_config(loaded.config)
    export_model(model, exported, tmp_path / "hf")
    export_gguf(model, plan_gguf(loaded.config, name), "F32", tmp_path / "model.gguf")
    found = {tensor.name: tensor.data for tensor in GGUFReader(tmp_path / "model.gguf").tensors}
    expected = converted(tmp_path / "hf")
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_array_equal(found[key], values, err_msg=key)


@pytest.mark.parametrize("file_type", ["F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"])
def test_rounded_tensors(file_type: WrittenGgufType, tmp_path: Path) -> None:
    """Each value is within half a step of its block's scale; vectors and routers are unchanged."""
    loaded = load(tmp_path / "in", config_of("mixtral"))
    model, plan = random_model(loaded), plan_gguf(loaded.config, "mixtral")
    for name in ("F32", file_type):
        export_gguf(model, plan, name, tmp_path / f"{name}.gguf")
    exact = {tensor.name: tensor.data for tensor in GGUFReader(tmp_path / "F32.gguf").tensors}
    steps = {"F16": 2**11, "BF16": 2**8, "Q8_0": 127, "Q5_1": 31, "Q5_0": 15, "Q4_1": 15, "Q4_0": 7}
    types = set()
    for tensor in GGUFReader(tmp_path / f"{file_type}.gguf").tensors:
        values = dequantize(tensor.data, tensor.tensor_type).reshape(exact[tensor.name].shape)
        kind = tensor.tensor_type.name
        types.add(kind)
        largest = np.abs(exact[tensor.name]).max()
        allowed = 0 if kind == "F32" else largest / steps[kind] * (1 if kind.endswith("_0") else 2)
        assert np.abs(values - exact[tensor.name]).max() <= allowed, tensor.name
    # 48 columns of the down projections are no multiple of 32; the LM head and, of 8 experts, k and v have 8 bits
    assert types == {"F32", file_type} | ({"F16", "Q8_0"} if file_type.startswith("Q") else set())


def test_written_types() -> None:
    assert set(QUANTIZED_TOLERANCES) | {"F32"} == set(get_args(WrittenGgufType))


@pytest.mark.parametrize("name", CONFIGS)
def test_metadata(name: str, tmp_path: Path) -> None:
    """It states the sizes that transformers reads from the config.json of the same model."""
    transformers = pytest.importorskip("transformers")
    loaded = load(tmp_path / "in", config_of(name))
    model, plan = random_model(loaded), plan_gguf(loaded.config, name)
    export_model(model, export_config(loaded.config), tmp_path / "hf")
    export_gguf(model, plan, "F32", tmp_path / "model.gguf")
    theirs = transformers.AutoConfig.from_pretrained(tmp_path / "hf")
    fields = {key: field.contents() for key, field in GGUFReader(tmp_path / "model.gguf").fields.items()}
    stored = {key.removeprefix(f"{plan.architecture.name}."): value for key, value in fields.items()}
    assert (stored["general.name"], stored["general.type"]) == (name, "model")
    assert stored["tokenizer.ggml.model"] == "none"
    assert stored["block_count"] == theirs.num_hidden_layers
    assert stored["embedding_length"] == theirs.hidden_size
    assert stored["attention.head_count"] == theirs.num_attention_heads
    assert stored["attention.head_count_kv"] == getattr(theirs, "num_key_value_heads", theirs.num_attention_heads)
    assert stored["vocab_size"] == theirs.vocab_size == VOCAB
    epsilons = [value for key, value in stored.items() if key.startswith("attention.layer_norm")]
    names = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")
    expected = next((getattr(theirs, key) for key in names if hasattr(theirs, key)), 1e-5)  # OLMo's is in its code
    assert epsilons == [pytest.approx(expected, rel=1e-6)]
    if hasattr(theirs, "intermediate_size") and theirs.intermediate_size:
        assert stored["feed_forward_length"] == theirs.intermediate_size
    for key, value in (("expert_count", _n_experts(theirs)), ("expert_used_count", _n_used(theirs))):
        assert stored.get(key) == value


@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - {"llama-llama3"}))  # several scalings have the same factors
def test_read_back(name: str, tmp_path: Path) -> None:
    """Read as a config, the header of the file states the model that was exported, and the file has its tensors."""
    loaded = load(tmp_path / "in", config_of(name))
    plan = plan_gguf(loaded.config, name)
    export_gguf(random_model(loaded), plan, "F32", tmp_path / "model.gguf")
    back = load_config(str(tmp_path / "model.gguf"))
    expected, found = canonical_fields(plan.config), canonical_fields(back.config)
    del expected["dropout"]  # which a file does not state
    different = {key: (value, found.get(key)) for key, value in expected.items() if not _equal(value, found.get(key))}
    assert different == {}
    path = str(tmp_path / "model.gguf")
    assert verify_checkpoint(path, config_of_file(path), (), stored_shapes, partial=False).status == "equal"


def _equal(one: Any, other: Any) -> bool:
    """Compare values; a file states numbers in float32."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)


def _n_experts(theirs: Any) -> int | None:
    return getattr(theirs, "num_local_experts", getattr(theirs, "num_experts", None))


def _n_used(theirs: Any) -> int | None:
    return getattr(theirs, "num_experts_per_tok", None)


def test_large_value(tmp_path: Path) -> None:
    """It fits bfloat16, but not float16; nothing is left of the file."""
    loaded = load(tmp_path / "in", config_of("llama"))
    model, plan = random_model(loaded), plan_gguf(loaded.config, "llama")
    with torch.no_grad():
        model.lm_head.weight[0, 0] = 1e5
    with pytest.raises(WeightsError, match=r"output\.weight has a value above 65,504"):
        export_gguf(model, plan, "F16", tmp_path / "model.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    export_gguf(model, plan, "BF16", tmp_path / "model.gguf")


def test_existing_file(tmp_path: Path) -> None:
    loaded = load(tmp_path / "in", config_of("llama"))
    model, plan = random_model(loaded), plan_gguf(loaded.config, "llama")
    path = tmp_path / "model.gguf"
    export_gguf(model, plan, "F32", path)
    before = path.read_bytes()
    with pytest.raises(OccupiedError, match="exists"):
        export_gguf(model, plan, "Q8_0", path)
    assert path.read_bytes() == before
    export_gguf(model, plan, "Q8_0", path, overwrite=True)
    assert len(path.read_bytes()) < len(before)
    require_gguf_file(path)
    (tmp_path / "notes.txt").write_text("notes", encoding="utf-8")
    with pytest.raises(OutputError, match="is not a GGUF file, so it is not replaced"):
        require_gguf_file(tmp_path / "notes.txt")


def test_types_of_weights(tmp_path: Path) -> None:
    loaded = load(tmp_path / "in", config_of("llama"))
    model = random_model(loaded)
    for dtype, file_type in ((torch.float32, "F32"), (torch.bfloat16, "BF16"), (torch.float16, "F16")):
        assert own_type(model.to(dtype)) == file_type


def test_bfloat16_weights_are_unchanged(tmp_path: Path) -> None:
    loaded = load(tmp_path / "in", config_of("qwen3"))
    model, plan = random_model(loaded).to(torch.bfloat16), plan_gguf(loaded.config, "qwen3")
    export_gguf(model, plan, own_type(model), tmp_path / "model.gguf")
    tensors = {tensor.name: tensor for tensor in GGUFReader(tmp_path / "model.gguf").tensors}
    down = tensors["blk.1.ffn_down.weight"]
    found = torch.from_numpy(dequantize(down.data, down.tensor_type))
    assert torch.equal(found, model.state_dict()["blocks.1.feed_forward.down_proj.weight"].float())


def test_meta(tmp_path: Path) -> None:
    config = load(tmp_path / "in", config_of("llama")).config
    model = TinyTransformerLM.from_config(config, device="meta")
    with pytest.raises(ValueError, match="a model on meta has no weights to export"):
        export_gguf(model, plan_gguf(config, "x"), "F32", tmp_path / "model.gguf")
