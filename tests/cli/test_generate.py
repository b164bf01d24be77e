"""``tinylm generate``: sampling from the command line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.json_report import report
from tests.small_models import tiny_tokenizer

Here = Callable[..., Any]
Golden = Callable[[str, str], None]

TOY = ("generate", "--config", "toy.yaml")


def ids(here: Here, *words: str) -> list[int]:
    """Return what followed the prompt."""
    found: list[int] = report(here(*TOY, *words, "--format", "json"))["generated"]
    return found


def test_documents(here: Here, golden_json: Golden, stable_json: Callable[[str], str]) -> None:
    golden_json("generate", stable_json(here(*TOY, "--temperature", "0", "-n", "4", "--format", "json").out))


def test_the_screen_in_outline(here: Here) -> None:
    page = here(*TOY, "--tokens", "72,105", "--temperature", "0", "-n", "3")
    lines = page.out.splitlines()
    assert lines[:3] == ["toy  prompt of 2 tokens", "", "prompt: 72 105"]
    assert re.fullmatch(r"generated: \d+ \d+ \d+", lines[3])
    assert lines[4].startswith("as text: Hi")
    assert lines[5].startswith("The weights are untrained")
    assert re.fullmatch(r"3 tokens, --max-new-tokens reached, [\d,]+ tokens/s", lines[6])
    assert page.err == "next: tinylm estimate toy.yaml\n"


@pytest.mark.parametrize(
    ("words", "count"), [([], 20), (["--max-new-tokens", "7"], 7), (["-n", "1"], 1), (["-n40"], 40)]
)
def test_number_of_tokens(words: list[str], count: int, here: Here) -> None:
    """Also past ``max_len``, which is 32."""
    found = report(here(*TOY, *words, "--format", "json"))
    assert (len(found["generated"]), found["stopped"]) == (count, "length")
    assert all(0 <= token < 256 for token in found["generated"])


def test_singular_token(here: Here) -> None:
    assert "prompt of 1 token\n" in here(*TOY, "--tokens", "9").out
    assert "\n1 token, --max-new-tokens reached" in here(*TOY, "-n", "1").out


@pytest.mark.parametrize(
    ("words", "prompt"),
    [([], [5, 12, 8]), (["--tokens"], [5, 12, 8]), (["--tokens", "1", "2"], [1, 2]), (["--text", "Hi"], [72, 105])],
)
def test_the_prompt(words: list[str], prompt: list[int], here: Here) -> None:
    found = report(here("generate", *words, "--config", "toy.yaml", "--format", "json"))
    assert found["prompt"] == prompt
    assert found["text"] == bytes((*prompt, *found["generated"])).decode("utf-8", "replace")


def test_prompt_over_max_len(here: Here) -> None:
    long = ",".join(["1"] * 40)
    assert len(ids(here, "--tokens", long, "-n", "2")) == 2


def test_text_is_for_bytes_only(here: Here) -> None:
    found = report(here(*TOY, "--set", "vocab_size=300", "--format", "json"))
    assert found["text"] is None
    assert "as text" not in here(*TOY, "--set", "vocab_size=300").out


def test_sliding_window_is_noted(here: Here) -> None:
    said = " ".join(here(*TOY, "--tokens", "1,2", "-n", "40").err.split())
    assert "Beyond max_len 32, the context window slides" in said
    assert "--set max_len=41 avoids this" in said
    assert "slides" not in here(*TOY, "--tokens", "1,2", "-n", "31").err
    assert "slides" not in here(*TOY, "--tokens", "1,2", "-n", "40", "--set", "max_len=41").err


class TestSampling:
    def test_same_seed_same_tokens(self, here: Here) -> None:
        assert ids(here) == ids(here, "--seed", "0")
        assert ids(here, "--seed", "3") == ids(here, "--seed", "3")
        weights = ("--weights", "model")
        here("build", "--config", "toy.yaml", "--save", "model")
        draws = {tuple(report(here("generate", *weights, "--seed", s, "-f", "json"))["generated"]) for s in "0123"}
        assert len(draws) == 4, "of the same weights"

    def test_temperature_zero(self, here: Here) -> None:
        greedy = ids(here, "--temperature", "0")
        assert greedy == ids(here, "--top-k", "1") == ids(here, "--top-p", "1e-9")
        assert greedy != ids(here)
        (first,) = report(here("forward", "--config", "toy.yaml", "--top-k", "1", "--format", "json"))["next_tokens"]
        assert greedy[0] == first["token"]

    def test_temperature_increases_diversity(self, here: Here) -> None:
        assert ids(here, "--temperature", "1e-4") == ids(here, "--temperature", "0")
        assert ids(here, "--temperature", "1000") != ids(here, "--temperature", "1e-4")

    def test_top_k_and_top_p(self, here: Here) -> None:
        best = report(here("forward", "--config", "toy.yaml", "--top-k", "3", "--format", "json"))["next_tokens"]
        likeliest = [next_token["token"] for next_token in best]
        drawn: dict[str, set[int]] = {"--top-k": set(), "--top-p": set()}
        here("build", "--config", "toy.yaml", "--save", "model")
        half = str(sum(next_token["probability"] for next_token in best) - 1e-6)
        for option, value in (("--top-k", "3"), ("--top-p", half)):
            for seed in range(12):
                words = ("--weights", "model", "--temperature", "1", option, value, "--seed", str(seed), "-n", "1")
                drawn[option] |= set(report(here("generate", *words, "--format", "json"))["generated"])
            assert len(drawn[option]) > 1
            assert drawn[option] <= set(likeliest)

    def test_stop_token(self, here: Here) -> None:
        usual = ids(here)
        found = report(here(*TOY, "--stop-token", str(usual[4]), "--format", "json"))
        first = usual.index(usual[4])
        assert found["generated"] == usual[: first + 1]
        assert found["stopped"] == "stop_token"
        assert "stop token reached" in here(*TOY, "--stop-token", str(usual[4])).out

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--temperature", "nan"], "--temperature nan: expected a finite number >= 0"),
            (["--temperature", "inf"], "--temperature inf: expected a finite number >= 0"),
            (["--top-p", "0"], "--top-p 0: expected a number above 0 and up to 1"),
            (["--top-p", "1.01"], "--top-p 1.01: expected a number above 0 and up to 1"),
            (["--top-p", "nan"], "--top-p nan: expected a number above 0 and up to 1"),
            (["--top-k", "0"], "--top-k 0: expected an integer >= 1"),
            (["--stop-token", "256"], "--stop-token 256 is outside the vocabulary of 256"),
            (["--stop-token", "-1"], "--stop-token -1 is outside the vocabulary of 256"),
            (["--seed", str(2**64)], f"--seed {2**64}: expected an integer from 0 to {2**64 - 1:,}"),
            (["--tokens", "1", "--text", "a"], "--tokens and --text cannot be combined"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_invalid_sampling_options(self, words: list[str], message: str, here: Here) -> None:
        result = here(*TOY, *words, columns=120)
        assert (result.code, result.out) == (2, "")
        assert result.err.partition(": ")[2].startswith(f"{message}\n")

    def test_largest_seed(self, here: Here) -> None:
        for command in ("build", "forward", "generate"):
            assert here(command, "--config", "toy.yaml", "--seed", str(2**64 - 1)).code == 0

    def test_extreme_temperatures(self, here: Here) -> None:
        for temperature in ("1e-300", "1e300"):
            assert len(ids(here, "--temperature", temperature)) == 20


class TestCodebooks:
    """One token of each codebook in each step."""

    WORDS = (*TOY, "--set", "embedding.n_codebooks=2", "--tokens", "1,2 3,4", "-n", "3")

    def test_ids_of_each_position(self, here: Here) -> None:
        found = report(here(*self.WORDS, "--format", "json"))
        assert (found["prompt"], found["n_codebooks"], found["text"]) == ([1, 2, 3, 4], 2, None)
        assert len(found["generated"]) == 6
        page = here(*self.WORDS).out.splitlines()
        pairs = " ".join(f"{first},{second}" for first, second in zip(*[iter(found["generated"])] * 2, strict=True))
        assert page[:4] == ["toy  prompt of 2 tokens", "", "prompt: 1,2 3,4", f"generated: {pairs}"]
        assert page[-1].startswith("3 tokens, --max-new-tokens reached")

    def test_ids_stream(self, here: Here, on_terminal: Here) -> None:
        assert here(*self.WORDS).out.splitlines()[3] in on_terminal(*self.WORDS, env={"NO_COLOR": "1"}).out

    def test_stop_token_of_all_codebooks(self, here: Here) -> None:
        usual = report(here(*self.WORDS, "--format", "json"))["generated"]
        assert report(here(*self.WORDS, "--stop-token", str(usual[0]), "-f", "json"))["generated"] == usual
        found = report(here(*self.WORDS, "--set", "vocab_size=1", "--tokens", "0,0", "--stop-token", "0", "-f", "json"))
        assert (found["generated"], found["stopped"]) == ([0, 0], "stop_token")


def test_device_and_dtype(here: Here) -> None:
    assert here(*TOY, "--device", "abacus").err.startswith("error: --device abacus: expected cpu, cuda or mps\n")
    here("build", "--config", "toy.yaml", "--save", "model")
    assert here("generate", "--weights", "model", "--dtype", "float32").code == 0
    assert here("generate", "--weights", "model", "--dtype", "float64").code == 2


class TestOnATerminal:
    def test_ids_stream(self, on_terminal: Here) -> None:
        shown = on_terminal(*TOY, "-n", "4", env={"NO_COLOR": "1"})
        page = shown.out[shown.out.index("toy  prompt of 3 tokens") :].splitlines()
        assert page[:3] == ["toy  prompt of 3 tokens", "", "prompt: 5 12 8"]
        assert re.fullmatch(r"generated: \d+ \d+ \d+ \d+", page[3])
        assert page[4].startswith("as text: ")
        assert page[-1] == "next: tinylm estimate toy.yaml"

    def test_text_is_streamed(self, on_terminal: Here) -> None:
        shown = on_terminal(*TOY, "--text", "Hi\x1b[31m", "-n", "4", env={"NO_COLOR": "1", "LC_ALL": "C"})
        assert "\nprompt: Hi\\x1b[31m\n" in shown.out
        assert "as text" not in shown.out
        page = shown.out[shown.out.index("toy  ") :]
        assert page.isascii()
        assert "\x1b" not in page


class TestTokenizer:
    """The tokenizer.json of a model's folder."""

    @pytest.fixture
    def model(self, here: Here, folder: Path) -> str:
        here("build", "toy.yaml", "--set", "vocab_size=300", "--save", "model")
        tiny_tokenizer().save(str(folder / "model" / "tokenizer.json"))
        return "model"

    def test_encodes_and_decodes(self, model: str, here: Here) -> None:
        found = report(here("generate", "--weights", model, "--text", "once more", "-n", "4", "--format", "json"))
        assert found["prompt"] == tiny_tokenizer().encode("once more").ids
        assert found["text"] == tiny_tokenizer().decode([*found["prompt"], *found["generated"]])
        page = here("generate", "--weights", model, "--tokens", ",".join(map(str, found["prompt"])), "-n", "4")
        assert "as text: once more" in page.out, "ids are decoded, too"

    def test_text_is_streamed(self, model: str, here: Here, on_terminal: Here) -> None:
        words = ("generate", "--weights", model, "--text", "once more", "-n", "6", "--seed", "1")
        shown = on_terminal(*words).out
        assert "once more" in shown
        assert "as text" not in shown
        generated = report(here(*words, "-f", "json"))["generated"]
        assert " ".join(map(str, generated)) not in shown, "which are the ids"

    def test_forward_names_next_tokens(self, model: str, here: Here) -> None:
        found = report(here("forward", "--weights", model, "--text", "once more", "--format", "json"))
        texts = [tiny_tokenizer().decode([next_token["token"]]) for next_token in found["next_tokens"]]
        expected = [None if not text or "\ufffd" in text else text for text in texts]
        assert [next_token["text"] for next_token in found["next_tokens"]] == expected

    def test_a_hugging_face_folder(self, here: Here, folder: Path) -> None:
        exported = here("export", "toy.yaml", "-o", "hf", "--set", "vocab_size=300")
        assert exported.code == 0, exported.err
        tiny_tokenizer().save(str(folder / "hf" / "tokenizer.json"))
        for words in (["--weights", "hf"], ["hf"]):
            found = report(here("generate", *words, "--text", "once", "-n", "2", "--format", "json"))
            assert found["prompt"] == tiny_tokenizer().encode("once").ids

    @pytest.mark.parametrize("command", ["generate", "forward"])
    def test_a_broken_tokenizer(self, model: str, here: Here, folder: Path, command: str) -> None:
        (folder / "model" / "tokenizer.json").write_text("{}")
        result = here(command, "--weights", model, "--text", "once")
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("error: model/tokenizer.json is not a tokenizer: Model missing")
        result = here(command, "--weights", model, "--tokens", "5")
        assert result.code == 0, "ids need none"
        assert result.err.startswith("tokens are shown as ids: model/tokenizer.json is not a tokenizer")

    def test_without_the_library(self, model: str, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tokenizers", None)
        result = here("generate", "--weights", model, "--text", "once")
        assert (result.code, result.out) == (2, "")
        assert "reading model/tokenizer.json needs the tokenizers library" in " ".join(result.err.split())
        assert "pip install 'tinylm-cli[tokenizers]'" in result.err


class TestNotFinite:
    """Weights with NaN are reported before any token; nothing is chosen from logits that are not finite."""

    @pytest.fixture
    def broken(self, here: Here, folder: Path) -> Path:
        assert here("build", "toy.yaml", "--save", "m").code == 0
        file = folder / "m" / "model.safetensors"
        data = bytearray(file.read_bytes())
        data[-4:] = bytes.fromhex("0000c07f")  # a float32 NaN, in the last tensor
        file.write_bytes(data)
        return file

    @pytest.mark.parametrize("options", [[], ["--temperature", "0"], ["--top-k", "1"], ["--top-p", "0.5"]])
    @pytest.mark.usefixtures("broken")
    def test_generate(self, options: list[str], here: Here) -> None:
        result = here("generate", "--weights", "m", "-n", "4", *options)
        assert (result.code, result.out) == (2, "")
        assert "in m contain NaN or infinity: " in " ".join(result.err.split())
        assert "error: the logits are not finite" in result.err

    @pytest.mark.usefixtures("broken")
    def test_forward(self, here: Here) -> None:
        result = here("forward", "--weights", "m")
        assert result.code == 0
        assert result.err.startswith("1 of ")
        assert "first non-finite values are in the output of" in result.out

    def test_overflow(self, broken: Path, here: Here) -> None:
        """Finite weights may be too large: their products are infinite."""
        size = int.from_bytes(broken.read_bytes()[:8], "little") + 8
        data = broken.read_bytes()
        broken.write_bytes(data[:size] + bytes.fromhex("ffff7f7f") * ((len(data) - size) // 4))
        result = here("generate", "--weights", "m", "-n", "4")
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("error: the logits are not finite")


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("sequence_classification", "classifies sequences"),
        ("token_classification", "classifies tokens"),
        ("none", "has no head"),
    ],
)
def test_other_heads_are_refused(kind: str, named: str, here: Here) -> None:
    head = ("--set", f"head.kind={kind}", "--set", "tie_weights=false")
    result = here("generate", "toy.yaml", *head, "--format", "json")
    error = json.loads(result.out)["error"]
    assert result.code == error["exit_code"] == 2
    assert error["message"] == f"toy {named} (head.kind {kind}): it does not predict next tokens"
    assert error["help"] == "tinylm forward shows its outputs"
