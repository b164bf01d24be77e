"""Token ids from the command line."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinylm_cli.cli.tokens import (
    MAX_INPUT_BYTES,
    check_length,
    course_tokens,
    encode_text,
    parse_sizes,
    parse_tokens,
    prompt_ids,
)
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import InputError, UsageError


def config_with(**fields: Any) -> ModelConfig:
    sizes = {"vocab_size": 256, "d_model": 8, "n_heads": 2, "n_layers": 1, "d_ff": 8, "max_len": 32}
    return ModelConfig.model_validate(sizes | fields)


CONFIG = config_with()


@pytest.mark.parametrize("written", ["5,12,8", "5 12 8", " 5,\n12 ,8,", "005 12 8"])
def test_ids(written: str) -> None:
    assert parse_tokens(written, CONFIG) == (5, 12, 8)


def test_ids_in_a_file_and_on_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ids").write_text("5\n12\n8\n", encoding="utf-8")
    assert parse_tokens(f"@{tmp_path / 'ids'}", CONFIG) == (5, 12, 8)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"7 9\n")))
    assert parse_tokens("-", CONFIG) == (7, 9)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match=r"^standard input is closed\n"):
        parse_tokens("-", CONFIG)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^no such file: absent$"):
        parse_tokens("@absent", CONFIG)
    with pytest.raises(InputError, match=rf"^cannot read {tmp_path}: "):
        parse_tokens(f"@{tmp_path}", CONFIG)
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(MAX_INPUT_BYTES + 1)
    with pytest.raises(InputError, match=r"giant is larger than 64 MiB$"):
        parse_tokens(f"@{tmp_path / 'giant'}", CONFIG)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "no tokens given"),
        (" , ", "no tokens given"),
        ("5 256", "token 2 is 256, outside the vocabulary of 256"),
        ("-1", "token 1 is -1, outside the vocabulary of 256"),
        ("5 x", "token 2 is x, not an integer"),
        ("5 1.0", "token 2 is 1.0, not an integer"),
        ("٣", "token 1 is ٣, not an integer"),
        ("9" * 5000, f"token 1 is {'9' * 20}…, outside the vocabulary of 256"),
    ],
)
def test_wrong_ids(written: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_tokens(written, CONFIG)
    assert raised.value.message == message


def test_ids_of_several_codebooks() -> None:
    audio = config_with(embedding={"n_codebooks": 2})
    assert parse_tokens("5 6 7 8", audio) == (5, 6, 7, 8)
    with pytest.raises(UsageError, match=r"^3 token ids: not a multiple of embedding\.n_codebooks 2\n"):
        parse_tokens("5 6 7", audio)
    assert course_tokens(audio) == (5, 5, 12, 12, 8, 8)
    with pytest.raises(UsageError, match=r"^--text: a model with several codebooks has no tokenizer\n"):
        encode_text("Hi", audio, None)


def test_course_tokens_of_small_models() -> None:
    """Modulo the vocabulary, and no more than max_len."""
    assert course_tokens(CONFIG) == (5, 12, 8)
    assert course_tokens(config_with(vocab_size=6)) == (5, 0, 2)
    assert course_tokens(config_with(max_len=2)) == (5, 12)


def test_prompt() -> None:
    class Bytes:
        encode: Callable[[object, str], tuple[int, ...]] = staticmethod(lambda text: tuple(text.encode()))  # type: ignore[assignment]

    tokenizer: Any = Bytes()
    assert prompt_ids(None, None, CONFIG, None) == prompt_ids("course", None, CONFIG, None) == (5, 12, 8)
    assert prompt_ids("1 2", None, CONFIG, None) == (1, 2)
    assert prompt_ids(None, "Hi", CONFIG, tokenizer) == (72, 105)
    with pytest.raises(UsageError, match=r"^the text is empty\n"):
        prompt_ids(None, "", CONFIG, tokenizer)
    with pytest.raises(UsageError, match=r"^--text: the model has no tokenizer, and vocab_size is 300, not 256"):
        prompt_ids(None, "Hi", config_with(vocab_size=300), None)


@pytest.mark.parametrize(("written", "sizes"), [("4x128", (4, 128)), ("4×128", (4, 128)), ("1x1k", (1, 1024))])
def test_sizes(written: str, sizes: tuple[int, int]) -> None:
    assert parse_sizes(written) == sizes


@pytest.mark.parametrize("written", ["4", "4x", "x4", "0x4", "4x0", "4 x 4", "4x1m", "-4x4", "4x4x4"])
def test_wrong_sizes(written: str) -> None:
    with pytest.raises(UsageError, match="expected BxT, batch size and length\n"):
        parse_sizes(written)


def test_longest_sequence() -> None:
    check_length(32, CONFIG)
    with pytest.raises(UsageError, match=r"^33 tokens are more than max_len 32\n"):
        check_length(33, CONFIG)
