"""``tinylm forward``: token inputs and the report of a pass."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.json_report import report

Here = Callable[..., Any]
Golden = Callable[[str, str], None]

TOY = ("forward", "--config", "toy.yaml")


def test_documents(here: Here, golden_json: Golden, golden_text: Golden, stable_json: Callable[[str], str]) -> None:
    golden_json("forward", stable_json(here(*TOY, "--top-k", "2", "--format", "json").out))
    for format_, ending in (("csv", "csv"), ("latex", "tex")):
        golden_text(f"forward.{ending}", here(*TOY, "--meta", "--format", format_).out)


def test_csv_figures(here: Here) -> None:
    stages = json.loads(here(*TOY, "--format", "json").out)["stages"]
    rows = list(csv.DictReader(here(*TOY, "--format", "csv").out.splitlines()))
    assert list(rows[0]) == ["name", "kind", "shape", "mean", "std", "finite", "layer_kind"]
    assert [row["name"] for row in rows] == [stage["name"] for stage in stages]
    assert [row["mean"] for row in rows[1:]] == [str(stage["mean"]) for stage in stages[1:]]
    assert {row["finite"] for row in rows[1:]} == {"true"}
    assert "\\begin{tabular}{llrrrl}" in here(*TOY, "--format", "latex").out


def test_the_screen_in_outline(here: Here) -> None:
    page = here(*TOY, "--top-k", "3", columns=120)
    lines = page.out.splitlines()
    assert lines[0] == "toy  1 × 3 tokens, float32 on cpu"
    blank = lines.index("", 3)
    stages = [line.split()[0] for line in lines[2:blank] if not line.startswith("  ")]
    assert stages == ["stage", "tokens", "embedding", "blocks.0", "blocks.1", "blocks.2", "ln_f", "lm_head"]
    assert lines[blank + 1].split() == ["next", "token", "probability"]
    assert lines[blank + 5] == ""
    assert re.fullmatch(r"loss 5\.\d{3}; uniform prediction: ln 256 = 5\.545", lines[blank + 6])
    assert lines[-1].endswith(" tokens/s")
    assert page.err == "next: tinylm generate toy.yaml\n"


class TestTokens:
    @pytest.mark.parametrize(
        ("words", "ids"),
        [
            (["--tokens", "1,2,3"], [1, 2, 3]),
            (["--tokens", "1 2 3"], [1, 2, 3]),
            (["--tokens", "1, 2 ,3,"], [1, 2, 3]),
            (["--tokens", "1", "2", "3"], [1, 2, 3]),
            (["--tokens", "1,", "2", "3,4"], [1, 2, 3, 4]),
            (["--tokens=1,2"], [1, 2]),
            (["--tokens", "7"], [7]),
            (["--tokens", "0", "255"], [0, 255]),
            (["--tokens", "007"], [7]),
            (["--tokens"], [5, 12, 8]),
            ([], [5, 12, 8]),
            (["--tokens", "--seed", "1"], [5, 12, 8]),
            (["--tokens", "1", "2", "--seed", "1"], [1, 2]),
            (["--tokens", "-"], [9, 8, 7]),
            (["--tokens", "@ids.txt"], [4, 5, 6]),
            (["--text", "Hé"], [72, 195, 169]),
        ],
        ids=lambda value: " ".join(map(str, value)),
    )
    def test_input_options(self, words: list[str], ids: list[int], here: Here, folder: Path) -> None:
        (folder / "ids.txt").write_text("4\n5,6\n", encoding="utf-8")
        found = report(here("forward", *words, "--config", "toy.yaml", "--format", "json", stdin="9\n8\n7\n"))
        assert found["tokens"] == [ids]
        assert (found["batch_size"], found["seq_len"], found["vocab_size"]) == (1, len(ids), 256)

    @pytest.mark.parametrize("words", [[], ["--tokens"]])
    @pytest.mark.parametrize(
        ("vocab_size", "max_len", "ids"), [(7, 32, [5, 5, 1]), (1, 32, [0, 0, 0]), (13, 2, [5, 12])]
    )
    def test_course_tokens(self, words: list[str], vocab_size: int, max_len: int, ids: list[int], here: Here) -> None:
        sizes = ("--set", f"vocab_size={vocab_size}", "--set", f"max_len={max_len}", "--format", "json")
        assert report(here(*TOY, *words, *sizes))["tokens"] == [ids]
        assert report(here("generate", "--config", "toy.yaml", *words, *sizes))["prompt"] == ids

    @pytest.mark.parametrize(
        ("words", "message", "remedy"),
        [
            (["--tokens", ""], "no tokens given", "for example --tokens 5,12,8"),
            (["--tokens", " , "], "no tokens given", "for example --tokens 5,12,8"),
            (["--tokens", "-"], "no tokens given", "for example --tokens 5,12,8"),
            (["--tokens", "-1"], "token 1 is -1, outside the vocabulary of 256", "ids range from 0 to 255"),
            (["--tokens", "1", "-2"], "token 2 is -2, outside the vocabulary of 256", "ids range from 0 to 255"),
            (["--tokens", "0,256"], "token 2 is 256, outside the vocabulary of 256", "ids range from 0 to 255"),
            (
                ["--tokens", str(10**30)],
                "token 1 is 10000000000000000000…, outside the vocabulary of 256",
                "ids range from 0 to 255",
            ),
            (["--tokens", "1.5"], "token 1 is 1.5, not an integer", "pass ids such as 5,12,8"),
            (["--tokens", "1e3"], "token 1 is 1e3, not an integer", "pass ids such as 5,12,8"),
            (["--tokens", "٣"], "token 1 is ٣, not an integer", "pass ids such as 5,12,8"),
            (["--tokens", "5;12"], "token 1 is 5;12, not an integer", "pass ids such as 5,12,8"),
            (["--tokens", "once upon"], "token 1 is once, not an integer", "pass ids such as 5,12,8"),
            (["--tokens", "@absent.txt"], "no such file: absent.txt", None),
            (["--tokens", "@."], "cannot read .: Is a directory", None),
            (["--tokens", "@pipe"], "cannot read pipe: not a regular file", None),
            (
                ["--tokens", "@long.txt"],
                "33 tokens are more than max_len 32",
                "pass fewer tokens, or add --set max_len=33",
            ),
            (["--text", ""], "the text is empty", 'for example --text "Once upon a time"'),
            (
                ["--tokens", "1", "--text", "a"],
                "--tokens, --text and --random cannot be combined",
                "remove one of them",
            ),
            (["--tokens", "--random", "1x1"], "--tokens, --text and --random cannot be combined", "remove one of them"),
            (
                ["--text", "a", "--set", "vocab_size=300"],
                "--text: the model has no tokenizer, and vocab_size is 300, not 256 (bytes)",
                "name a folder with a tokenizer.json, or pass ids with --tokens",
            ),
            (
                ["--random", "4*8"],
                "--random 4*8: expected BxT, batch size and length",
                "for example --random 4x128",
            ),
            (
                ["--random", "1x1k"],
                "1,024 tokens are more than max_len 32",
                "pass fewer tokens, or add --set max_len=1024",
            ),
            (["--random", "0x8"], "--random 0x8: expected BxT, batch size and length", "for example --random 4x128"),
            (["--random", "1x33"], "33 tokens are more than max_len 32", "pass fewer tokens, or add --set max_len=33"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_input_that_does_not_fit(
        self, words: list[str], message: str, remedy: str | None, here: Here, folder: Path
    ) -> None:
        (folder / "long.txt").write_text("1 " * 33, encoding="utf-8")
        os.mkfifo(folder / "pipe")
        result = here(*TOY, *words, columns=200)
        assert (result.code, result.out) == (2, "")
        assert result.err.splitlines() == [f"error: {message}", *([f"  = help: {remedy}"] if remedy else [])]

    def test_stdin_limit(self, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tinylm_cli.cli.tokens.MAX_INPUT_BYTES", 1024)
        result = here(*TOY, "--tokens", "-", stdin="1 " * 1024)
        assert result.code == 2
        assert result.err == "error: standard input is larger than 0 MiB\n"

    @pytest.mark.parametrize("sign", ["x", "×"])
    def test_random_draws_a_batch(self, sign: str, here: Here) -> None:
        found = report(here(*TOY, "--random", f"4{sign}8", "--format", "json"))
        assert (found["batch_size"], found["seq_len"], found["tokens"], found["next_tokens"]) == (4, 8, [], [])
        assert [stage["shape"] for stage in found["stages"]][-1] == [4, 8, 256]
        assert found["loss"] is not None

    def test_random_follows_seed(self, here: Here) -> None:
        losses = [report(here(*TOY, "--random", "4x8", "--seed", s, "-f", "json"))["loss"] for s in ("1", "1", "2")]
        assert losses[0] == losses[1] != losses[2]

    def test_batch_too_large(self, here: Here) -> None:
        result = here("forward", "--random", "999999999x1024")
        assert result.code == 2
        assert result.err.startswith("error: a forward pass of 999,999,999 × 1,024 tokens needs ")
        assert "--meta" in result.err


class TestCodebooks:
    WORDS = (*TOY, "--set", "embedding.n_codebooks=2")

    def test_ids_of_each_position(self, here: Here) -> None:
        found = report(here(*self.WORDS, "--tokens", "1,2 3,4 5,6", "--top-k", "2", "--format", "json"))
        assert (found["tokens"], found["seq_len"], found["n_codebooks"]) == ([[1, 2, 3, 4, 5, 6]], 3, 2)
        assert [next_token["codebook"] for next_token in found["next_tokens"]] == [0, 0, 1, 1]
        assert found["stages"][0]["shape"] == [1, 3, 2]
        assert report(here(*self.WORDS, "--format", "json"))["tokens"] == [[5, 5, 12, 12, 8, 8]]
        drawn = report(here(*self.WORDS, "--random", "4x8", "--format", "json"))
        assert drawn["stages"][0]["shape"] == [4, 8, 2]

    def test_next_tokens_of_each_codebook(self, here: Here) -> None:
        page = here(*self.WORDS, "--top-k", "1", columns=120).out
        assert "sum of 2 token embeddings" in page
        assert "logits of 2 codebooks, from the tied embedding" in page
        first = page.splitlines().index("codebook  next token  probability")
        assert [line.split()[0] for line in page.splitlines()[first + 1 : first + 3]] == ["0", "1"]
        assert "codebook" not in here(*TOY).out

    @pytest.mark.parametrize("command", ["forward", "generate"])
    @pytest.mark.parametrize(
        ("words", "message", "remedy"),
        [
            (
                ["--tokens", "1,2,3"],
                "3 token ids: not a multiple of embedding.n_codebooks 2",
                "pass 2 ids for each position, one from each codebook",
            ),
            (
                ["--text", "a"],
                "--text: a model with several codebooks has no tokenizer",
                "pass ids with --tokens, position by position",
            ),
        ],
    )
    def test_input_that_does_not_fit(
        self, command: str, words: list[str], message: str, remedy: str, here: Here
    ) -> None:
        result = here(command, *self.WORDS[1:], *words, columns=200)
        assert (result.code, result.out) == (2, "")
        assert result.err == f"error: {message}\n  = help: {remedy}\n"


class TestOptions:
    def test_top_k_sets_the_next_tokens(self, here: Here) -> None:
        for count in (1, 5, 256, 1000):
            next_tokens = report(here(*TOY, "--top-k", str(count), "--format", "json"))["next_tokens"]
            assert len(next_tokens) == min(count, 256)
            probabilities = [next_token["probability"] for next_token in next_tokens]
            assert probabilities == sorted(probabilities, reverse=True)
        assert len(report(here(*TOY, "--format", "json"))["next_tokens"]) == 5
        assert here(*TOY, "--top-k", "0").code == 2

    def test_expand_shows_the_stages_inside(self, here: Here) -> None:
        assert "blocks.1.attention" not in here(*TOY).out
        assert "blocks.1.attention" in here(*TOY, "--expand").out

    def test_many_blocks(self, here: Here) -> None:
        deep = ("forward", "--config", "toy.yaml", "--set", "n_layers=20")
        named = [line.split("  ")[0] for line in here(*deep).out.splitlines() if line.startswith(("blocks", "…"))]
        assert named == ["blocks.0", "blocks.1", "… 17 more blocks (--expand)", "blocks.19"]
        assert here(*deep, "--expand").out.count("\nblocks.") == 20
        assert sum(stage["depth"] == 0 for stage in report(here(*deep, "--format", "json"))["stages"]) == 24
        assert here(*deep[:-1], "n_layers=8").out.count("\nblocks.") == 8

    def test_kinds_of_layers(self, here: Here) -> None:
        words = ("forward", "lfm2-1.2b", "--set", "d_model=64", "--set", "vocab_size=256", "--meta")
        shown = [line.split("  ")[0] for line in here(*words, columns=60).out.splitlines()]
        assert shown[7:12] == [
            *("blocks.0 conv", "blocks.1 conv", "blocks.2 full"),
            *("… 12 more blocks (--expand)", "blocks.15 conv"),
        ]
        blocks = [each for each in report(here(*words, "--format", "json"))["stages"] if each["layer_kind"]]
        assert [each["layer_kind"] for each in blocks[:3]] == ["conv", "conv", "full"]
        assert len(blocks) == 16

    def test_wide_screen(self, here: Here) -> None:
        assert "Hidden" not in here(*TOY, columns=120).out
        assert "Hidden columns: description" in here(*TOY, columns=60).out

    def test_meta_shows_shapes_only(self, here: Here) -> None:
        found = report(here(*TOY, "--meta", "--format", "json"))
        assert (found["device"], found["loss"], found["milliseconds"], found["next_tokens"]) == ("meta", None, None, [])
        assert {stage["mean"] for stage in found["stages"]} == {None}
        shapes = [stage["shape"] for stage in report(here(*TOY, "--format", "json"))["stages"]]
        assert [stage["shape"] for stage in found["stages"]] == shapes
        page = here(*TOY, "--meta").out
        assert page.startswith("toy  1 × 3 tokens, shapes only, float32 on meta\n")
        assert "mean" not in page, "a column with nothing in it is not drawn"

    def test_huge_model_on_meta(self, here: Here) -> None:
        wide = ("--set", "d_model=65536", "--set", "d_ff=262144", "--set", "n_heads=64")
        assert here("forward", "--config", "base", *wide).code == 2
        found = report(here("forward", "--config", "base", *wide, "--meta", "--random", "64x1024", "-f", "json"))
        assert found["stages"][-1]["shape"] == [64, 1024, 10_000]

    def test_dtype_and_seed_reach_the_model(self, here: Here) -> None:
        usual = report(here(*TOY, "--format", "json"))
        assert report(here(*TOY, "--dtype", "float64", "--format", "json"))["dtype"] == "float64"
        assert "bfloat16 on cpu" in here(*TOY, "--dtype", "bfloat16").out
        assert report(here(*TOY, "--seed", "0", "--format", "json"))["stages"] == usual["stages"]
        assert report(here(*TOY, "--seed", "1", "--format", "json"))["stages"] != usual["stages"]

    def test_missing_device(self, here: Here) -> None:
        assert here(*TOY, "--device", "abacus").err.startswith("error: --device abacus: expected cpu, cuda or mps\n")

    def test_loaded_weights(self, here: Here) -> None:
        here("build", "--config", "toy.yaml", "--seed", "5", "--save", "model")
        saved = report(here("forward", "--weights", "model", "--format", "json"))
        drawn = report(here(*TOY, "--seed", "5", "--format", "json"))
        assert (saved["untrained"], drawn["untrained"]) == (False, True)
        assert saved["stages"] == drawn["stages"]
        page = here("forward", "--weights", "model")
        assert "loaded weights" in page.out
        assert "untrained" not in page.out
        assert page.err == "next: tinylm generate --weights model\n"

    def test_next_command_repeats_options(self, here: Here) -> None:
        how = ("--seed", "3", "--dtype", "float64")
        asked = "--dtype float64 --seed 3"
        assert here(*TOY, *how).err == f"next: tinylm generate toy.yaml {asked}\n"
        assert here("check", "--config", "toy.yaml", *how).err.endswith(f" toy.yaml {asked}\n")
        assert here(*TOY, "--text", "Once upon").err.endswith(" toy.yaml --text 'Once upon'\n")
        assert here(*TOY, "--text", "a\nb").err.endswith("generate toy.yaml\n"), "a line stays one line"
        for tokens in ("7,8,9", "7 8 9"):
            assert here("forward", "toy.yaml", "--tokens", tokens).err.endswith(" toy.yaml --tokens 7,8,9\n")
        assert here("forward", "toy.yaml", "--tokens", ",".join(["100"] * 20)).err.endswith("generate toy.yaml\n")
        meta = here(*TOY, *how, "--meta").err
        assert meta == "next: tinylm estimate toy.yaml\n", "which builds no model"
        saved = here("build", "--config", "toy.yaml", *how, "--save", "model").err
        assert saved == "next: tinylm forward --weights model\n", "which has its seed and its dtype"
        assert here("check", "--weights", "model", *how).err.endswith(" --weights model --dtype float64\n")

    def test_uniform_loss(self, here: Here) -> None:
        found = report(here(*TOY, "--format", "json"))
        assert found["uniform_loss"] == pytest.approx(math.log(256))
        assert found["loss"] == pytest.approx(found["uniform_loss"], abs=0.2)
        assert report(here(*TOY, "--tokens", "5", "--format", "json"))["loss"] is None
        assert "loss" not in here(*TOY, "--tokens", "5").out


HEAD = ("--set", "tie_weights=false", "--set")


@pytest.mark.parametrize("kind", ["sequence_classification", "token_classification"])
def test_scores(kind: str, here: Here) -> None:
    """A score for each label at the last token, and no next tokens or loss."""
    head = (*HEAD, f"head.kind={kind}", "--set", "head.n_labels=3")
    found = json.loads(here(*TOY, *head, "--format", "json").out)
    last = found["stages"][-1]
    assert (last["name"], last["kind"], last["shape"]) == ("score", "scores of 3 labels", [1, 3, 3])
    assert (found["next_tokens"], found["loss"], found["uniform_loss"]) == ([], None, None)
    page = here(*TOY, *head)
    table = page.out.splitlines()[page.out.splitlines().index("label  score at the last token") + 1 :][:3]
    shown = [float(row.split()[1].replace("−", "-")) for row in table]
    assert shown == pytest.approx(found["scores"], abs=1e-4)
    assert "The weights are untrained: these scores are random." in page.out
    assert "loss" not in page.out
    assert page.err.startswith("next: tinylm estimate toy.yaml")


def test_hidden_states(here: Here) -> None:
    head = (*HEAD, "head.kind=none")
    found = json.loads(here(*TOY, *head, "--format", "json").out)
    assert found["stages"][-1]["name"] == "ln_f"
    assert (found["next_tokens"], found["scores"], found["loss"]) == ([], [], None)
    page = here(*TOY, *head).out
    assert "The weights are untrained: these hidden states are random." in page
    assert "score" not in page
    assert "logit" not in page


def test_shapes_of_scores(here: Here) -> None:
    found = json.loads(here(*TOY, *HEAD, "head.kind=token_classification", "--meta", "--format", "json").out)
    assert found["stages"][-1]["shape"] == [1, 3, 2]
    assert found["scores"] == []
