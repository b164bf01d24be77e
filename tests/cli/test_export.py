"""``tinylm export`` and ``tinylm import --weights`` on the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.small_models import tiny_tokenizer

Here = Callable[..., Any]

TOY = "vocab_size: 29\nd_model: 16\nn_heads: 2\nn_layers: 2\nd_ff: 24\nmax_len: 12\ndropout: 0.0\n"


@pytest.fixture
def toy(folder: Path) -> Path:
    (folder / "toy.yaml").write_text(TOY, encoding="utf-8")
    return folder


def test_round_trip_as_gpt2(here: Here, toy: Path) -> None:
    done = here("export", "--to", "hf", "-o", "out", "--config", "toy.yaml", "--format", "json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["family"], report["format"], report["n_tensors"]) == ("gpt2", "hf", 29)
    assert any(change.startswith("position.kind: sinusoidal") for change in report["rewritten"])
    assert json.loads((toy / "out" / "config.json").read_text())["model_type"] == "gpt2"
    back = here("import", "out", "--weights", "--output", "back")
    assert back.code == 0, back.err
    assert sorted(path.name for path in (toy / "back").iterdir()) == ["config.yaml", "model.safetensors"]
    again = here("export", "-o", "again", "--weights", "back", "--format", "json")
    assert json.loads(again.out)["rewritten"] == []
    for name in ("config.json", "model.safetensors"):
        assert (toy / "out" / name).read_bytes() == (toy / "again" / name).read_bytes()


def test_random_and_unquantized_weights(here: Here, toy: Path) -> None:
    """Weights are random unless given, and stored types are not exported."""
    with (toy / "toy.yaml").open("a", encoding="utf-8") as file:
        file.write("storage: {quantization: int8}\n")
    done = here("export", "toy.yaml", "-o", "out")
    assert "The weights are not quantized to int8." in done.out
    assert "Wrote 29 randomly initialized tensors and config.json to out." in done.out
    assert "quantization_config" not in json.loads((toy / "out" / "config.json").read_text())
    assert here("import", "out", "--weights", "--output", "back").code == 0
    again = here("export", "--weights", "back", "-o", "again").out
    assert "Wrote 29 stored tensors and config.json to again." in again
    assert "quantized" not in again


@pytest.mark.usefixtures("toy")
def test_from_pretrained_lines(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = here("export", "toy.yaml", "-o", 'my "out"')
    lines = done.out.splitlines()[-2:]
    assert lines[1] == r'model = AutoModelForCausalLM.from_pretrained("my \"out\"")'
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    assert (type(names["model"]).__name__, names["model"].config.n_layer) == ("GPT2LMHeadModel", 2)


def test_no_family(here: Here, toy: Path) -> None:
    done = here("export", "toy.yaml", "-o", "out", "--set", "norm.kind=rmsnorm")
    assert done.code == 2
    assert "no Hugging Face family can express this model" in done.err
    assert not (toy / "out").exists()


def test_force(here: Here, toy: Path) -> None:
    assert here("export", "toy.yaml", "-o", "out").code == 0
    before = (toy / "out" / "model.safetensors").read_bytes()
    refused = here("export", "toy.yaml", "-o", "out", "--seed", "5")
    assert refused.code == 2
    assert "--force" in refused.err
    assert (toy / "out" / "model.safetensors").read_bytes() == before
    assert here("export", "toy.yaml", "-o", "out", "--seed", "5", "--force").code == 0
    assert (toy / "out" / "model.safetensors").read_bytes() != before


def exported(here: Here, toy: Path) -> Path:
    assert here("export", "toy.yaml", "-o", "hub").code == 0
    return toy / "hub"


def shard(folder: Path, where: dict[str, str]) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001.safetensors")
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


@pytest.mark.parametrize("file", ["../model-00001.safetensors", "/etc/passwd", "sub/model.safetensors", ""])
def test_index_outside_its_folder(here: Here, toy: Path, file: str) -> None:
    shard(exported(here, toy), {"transformer.wte.weight": file})
    done = here("import", "hub", "--weights", "--output", "back")
    assert done.code == 2
    assert "names a file outside its folder" in done.err
    assert not (toy / "back").exists()


def test_weights_without_modules(here: Here, toy: Path) -> None:
    """Multi-token prediction modules are neither read from nor written to checkpoints of transformers."""
    exported(here, toy)
    done = here("import", "hub", "--weights", "--output", "back", "--set", "head.n_mtp_layers=1")
    assert done.code == 2
    assert "multi-token prediction modules are not read from the weights of gpt2" in done.err
    assert "remove --set head.n_mtp_layers=1" in " ".join(done.err.split())
    refused = here("export", "toy.yaml", "-o", "other", "--set", "head.n_mtp_layers=1")
    assert refused.code == 2
    assert "does not support head.n_mtp_layers 1" in " ".join(refused.err.split())
    assert not (toy / "back").exists()
    assert not (toy / "other").exists()


def test_shards(here: Here, toy: Path) -> None:
    whole = exported(here, toy)
    assert here("import", "hub", "--weights", "--output", "one").code == 0
    shard(whole, {"transformer.wte.weight": "model-00001.safetensors"})
    done = here("import", "hub", "--weights", "--output", "two")
    assert done.code == 0, done.err
    assert (toy / "one" / "model.safetensors").read_bytes() == (toy / "two" / "model.safetensors").read_bytes()


def test_weights_of_another_model(here: Here, toy: Path) -> None:
    folder = exported(here, toy)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "n_layer": 3}), encoding="utf-8")
    done = here("import", "hub", "--weights", "--output", "back")
    assert done.code == 2
    assert "transformer.h.2" in done.err
    assert not (toy / "back").exists()


def test_unreadable_weights(here: Here, toy: Path) -> None:
    folder = exported(here, toy)
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:1000])
    assert "damaged" in here("import", "hub", "--weights", "--output", "back").err
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    done = here("import", "hub", "--weights", "--output", "back")
    assert done.code == 2
    assert "pickled" in done.err
    shutil.rmtree(folder)
    assert here("import", "hub", "--weights", "--output", "back").code == 2
    assert not (toy / "back").exists()


def test_weights_without_output(here: Here, toy: Path) -> None:
    exported(here, toy)
    done = here("import", "hub", "--weights")
    assert done.code == 2
    assert "--output" in done.err


@pytest.mark.parametrize("theirs", ['{"model_type": "gpt2"}', "not JSON", "[]"])
def test_foreign_folder(here: Here, toy: Path, theirs: str) -> None:
    (toy / "hub").mkdir()
    (toy / "hub" / "config.json").write_text(theirs, encoding="utf-8")
    done = here("export", "toy.yaml", "-o", "hub", "--force")
    assert done.code == 2
    assert "tinylm did not export" in done.err
    assert (toy / "hub" / "config.json").read_text(encoding="utf-8") == theirs


def test_file_in_place_of_the_folder(here: Here, toy: Path) -> None:
    done = here("export", "toy.yaml", "-o", "toy.yaml", "--force")
    assert (done.code, done.out) == (2, "")
    assert f"{toy.resolve() / 'toy.yaml'} is a file" in " ".join(done.err.split())


@pytest.mark.parametrize("word", ["smal", "small", "out", "out.yaml"])
def test_a_positional_argument_is_never_the_folder(word: str, here: Here, toy: Path) -> None:
    """A misspelled config is an error, not a folder for the default config."""
    assert here("export", word).code == 2
    assert not (toy / word).exists()
    assert here("export", "toy.yaml", "-o", "small").code == 0, "an option names the folder, whatever its name"
    assert (toy / "small" / "config.json").is_file()


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (["build", "toy.yaml", "--save", "new"], "new"),
        (["export", "toy.yaml", "-o", "new"], "new"),
        (["import", "hf", "--weights", "--output", "new"], "new"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_get_before_writing(words: list[str], target: str, here: Here, toy: Path) -> None:
    assert here("export", "toy.yaml", "-o", "hf").code == 0
    wrong = here(*words, "--get", "nope")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--get nope: the report has no nope" in wrong.err
    assert not (toy / target).exists()
    assert here(*words, "--get", "schema_version").out.endswith("2\n")
    assert (toy / target).is_dir()


def test_folder_as_config(here: Here, toy: Path) -> None:
    assert here("build", "toy.yaml", "--save", "tm").code == 0
    assert here("params", "tm", "--get", "models.0.name").out == "tm\n"
    assert here("compare", "tm", "toy.yaml", "--format", "json").code == 0
    assert "tinylm export tm --output tm-hf\n" in here("export", "tm").err
    (toy / "tm" / "model.safetensors").unlink()
    assert here("params", "tm").code == 2, "a folder with some config.yaml is not one that tinylm wrote"


def test_config_alone(here: Here, toy: Path) -> None:
    """The config is that of the whole export, apart from the type of weights."""
    assert here("export", "toy.yaml", "-o", "whole").code == 0
    done = here("export", "toy.yaml", "--config-only", "-o", "alone")
    assert done.code == 0
    assert [path.name for path in (toy / "alone").iterdir()] == ["config.json"]
    alone, whole = (json.loads((toy / name / "config.json").read_text()) for name in ("alone", "whole"))
    assert {**alone, "torch_dtype": "float32"} == whole
    # V × D tied, 12 × D positions, 2 layers of 4 (D² + D), 2 D F + F + D and 4 D, and 2 D, with D 16, F 24, V 29
    tied = 29 * 16 + 12 * 16 + 2 * (4 * (256 + 16) + 2 * 16 * 24 + 24 + 16 + 64) + 32
    assert f"Wrote the config of a model with {tied + 29 * 16:,} parameters to alone." in " ".join(done.out.split())
    assert here("params", "alone", "--get", "models.0.total_params").out == f"{tied + 29 * 16}\n"


def test_litgpt(here: Here, toy: Path) -> None:
    done = here("export", "llama-3-8b", "--to", "litgpt", "-o", "model_config.yaml", "--format", "json")
    assert done.code == 0
    report = json.loads(done.out)
    assert (report["expressed_as"], report["total_params"]) == ("litgpt 0.5.13", 8_030_261_248)
    text = (toy / "model_config.yaml").read_text(encoding="utf-8")
    assert "n_embd: 4096\n" in text
    assert here("export", "llama-3-8b", "--to", "litgpt", "-o", "model_config.yaml").code == 2
    assert here("export", "tiny", "--to", "litgpt", "-o", "model_config.yaml", "--force").code == 2
    assert (toy / "model_config.yaml").read_text(encoding="utf-8") == text
    forced = here("export", "mixtral-8x7b", "--to", "litgpt", "-o", "model_config.yaml", "--force")
    assert (forced.code, forced.err) == (0, "")
    assert "mlp_class_name: LLaMAMoE" in (toy / "model_config.yaml").read_text(encoding="utf-8")


def test_megatron(here: Here, toy: Path) -> None:
    """The course's model has bias and GELU everywhere, as Megatron-LM's default, but no position table."""
    assert "position.kind sinusoidal" in " ".join(
        here("export", "toy.yaml", "--to", "megatron", "-o", "args").err.split()
    )
    done = here("export", "toy.yaml", "--to", "megatron", "-o", "args", "--set", "position.kind=learned",
                "--set", "embedding.multiplier=1")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    lines = (toy / "args").read_text(encoding="utf-8").splitlines()
    assert lines[:3] == ["--num-layers 2", "--hidden-size 16", "--ffn-hidden-size 24"]
    assert "--no-bias-gelu-fusion" in lines


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config-only", "--seed", "1"], "--config-only writes no weights, so --seed has no effect"),
        (["--config-only", "--dtype", "float32"], "so --dtype has no effect"),
        (["--to", "litgpt", "--config-only"], "--to litgpt writes only a config, so --config-only has no effect"),
        (["--to", "litgpt", "--seed", "1"], "--to litgpt writes no weights, so --seed has no effect"),
    ],
)
def test_options_of_weights(words: list[str], message: str, here: Here, toy: Path) -> None:
    done = here("export", "toy.yaml", "-o", "out", *words)
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert not (toy / "out").exists()


@pytest.mark.parametrize("words", [["--config-only"], ["--to", "litgpt", "--config", "llama-3-8b"]])
def test_get_before_writing_a_config(words: list[str], here: Here, toy: Path) -> None:
    config = [] if "--config" in words else ["toy.yaml"]
    assert here("export", *config, *words, "-o", "new", "--get", "nope").code == 2
    assert not (toy / "new").exists()


LLAMA = (
    "vocab_size: 29\nd_model: 32\nn_heads: 2\nn_layers: 2\nd_ff: 64\nmax_len: 12\ntie_weights: false\n"
    "position: {kind: rope}\nembedding: {multiplier: 1.0}\nnorm: {kind: rmsnorm}\n"
    "attention: {bias: false}\nfeed_forward: {activation: silu, gated: true, bias: false}\n"
)


@pytest.fixture
def llama(folder: Path) -> Path:
    (folder / "llama.yaml").write_text(LLAMA, encoding="utf-8")
    return folder


def test_gguf(here: Here, llama: Path) -> None:
    """The type is that of the weights unless given, in any case."""
    done = here("export", "llama.yaml", "--to", "gguf", "-o", "llama.gguf", "--format", "json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["format"], report["family"], report["architecture"]) == ("gguf", "llama", "llama")
    assert (report["folder"], report["file_type"], report["n_tensors"]) == ("llama.gguf", "F32", 21)
    assert (llama / "llama.gguf").read_bytes()[:4] == b"GGUF"
    for words, file_type in ((["--dtype", "bfloat16"], "BF16"), (["--type", "q8_0"], "Q8_0")):
        done = here("export", "llama.yaml", "--to", "gguf", "-o", f"{file_type}.gguf", *words)
        assert f"Wrote 21 randomly initialized tensors to {file_type}.gguf as {file_type}." in done.out
        assert done.out.endswith(f'from llama_cpp import Llama\nmodel = Llama(model_path="{file_type}.gguf")\n')


def test_gguf_of_weights(here: Here, llama: Path) -> None:
    assert here("export", "llama.yaml", "-o", "hf").code == 0
    done = here("export", "--weights", "hf", "--to", "gguf", "-o", "again.gguf")
    assert "Wrote 21 stored tensors to again.gguf as F32." in done.out
    assert here("export", "llama.yaml", "--to", "gguf", "-o", "llama.gguf").code == 0
    data, again = ((llama / name).read_bytes()[-4096:] for name in ("llama.gguf", "again.gguf"))
    assert data == again


def test_gguf_tokenizer(here: Here, llama: Path) -> None:
    """The tokenizer.json in the folder of the weights is taken over, or the output says why not."""
    words = ["export", "--weights", "hf", "--to", "gguf", "--force", "-o", "out.gguf"]
    assert here("export", "llama.yaml", "--set", "vocab_size=310", "-o", "hf").code == 0
    assert "The file has no tokenizer; llama.cpp computes from token ids." in here(*words).out
    tiny_tokenizer().save(str(llama / "hf" / "tokenizer.json"))
    out = here(*words).out
    assert "The file has no tokenizer: hf/config.json states no eos_token_id." in out
    config = json.loads((llama / "hf" / "config.json").read_text(encoding="utf-8"))
    (llama / "hf" / "config.json").write_text(json.dumps({**config, "eos_token_id": 0}), encoding="utf-8")
    assert "The tokenizer is the model's, with the pre-tokenizer gpt-2." in here(*words).out
    report = json.loads(here(*words, "--format", "json").out)
    assert (report["tokenizer"], report["tokenizer_problem"]) == ("gpt-2", "")


@pytest.mark.usefixtures("llama")
def test_gguf_force(here: Here, llama: Path) -> None:
    words = ["export", "llama.yaml", "--to", "gguf", "-o", "out.gguf"]
    assert here(*words).code == 0
    refused = here(*words)
    assert (refused.code, refused.out) == (2, "")
    assert "out.gguf exists" in refused.err
    assert here(*words, "--force").code == 0
    (llama / "out.gguf").write_text("notes", encoding="utf-8")
    refused = here(*words, "--force")
    assert refused.code == 2
    assert "out.gguf is not a GGUF file, so it is not replaced" in refused.err
    assert (llama / "out.gguf").read_text(encoding="utf-8") == "notes"


@pytest.mark.usefixtures("toy")
def test_gguf_refusals(here: Here, folder: Path) -> None:
    done = here("export", "toy.yaml", "--to", "gguf", "-o", "toy.gguf")
    assert (done.code, done.out) == (2, "")
    assert "llama.cpp's architecture gpt2 does not support feed_forward.activation gelu" in " ".join(done.err.split())
    assert "--set feed_forward.activation=gelu_tanh" in done.err
    assert not (folder / "toy.gguf").exists()
    assert "--type has no effect without --to gguf" in here("export", "toy.yaml", "-o", "out", "--type", "F16").err
    assert "export needs a file to write" in here("export", "toy.yaml", "--to", "gguf").err
    done = here(
        "export", "toy.yaml", "--to", "gguf", "-o", "none/toy.gguf", "--set", "feed_forward.activation=gelu_tanh"
    )
    assert done.code == 2
    assert "mkdir -p none" in done.err
