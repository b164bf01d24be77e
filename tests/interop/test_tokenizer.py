from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.small_models import tiny_tokenizer
from tinylm_cli.errors import InputError, UnableError
from tinylm_cli.interop.tokenizer import ByteTokenizer, FileTokenizer, open_tokenizer

TEXT = "once upon a time, é 字"

VALID: dict[str, Any] = json.loads(tiny_tokenizer().to_str())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_same_ids_as_the_library(path: Path) -> None:
    expected = Tokenizer.from_file(str(path)).encode(TEXT).ids
    tokenizer = FileTokenizer(path, vocab_size=300)
    assert tokenizer.encode(TEXT) == tuple(expected)
    assert len(expected) < len(TEXT.encode()), "pairs of bytes were merged"
    assert tokenizer.decode(expected) == TEXT


@pytest.mark.parametrize("kind", ["file", "bytes"])
def test_decoding_piece_by_piece(path: Path, kind: str) -> None:
    tokenizer = FileTokenizer(path, vocab_size=300) if kind == "file" else ByteTokenizer()
    decode = tokenizer.decoder()
    pieces = [decode(token) for token in tokenizer.encode(TEXT)]
    assert "".join(pieces) == TEXT
    assert "\ufffd" not in pieces, "a character is written when it is complete"


def test_truncation_and_padding_are_off(path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(max_length=2)
    tokenizer.enable_padding(length=64)
    expected = tiny_tokenizer().encode(TEXT).ids
    tokenizer.save(str(path))
    assert FileTokenizer(path, vocab_size=300).encode(TEXT) == tuple(expected)


def test_special_tokens_are_not_text(path: Path) -> None:
    start = Tokenizer.from_file(str(path)).token_to_id("<s>")
    assert start is not None
    assert FileTokenizer(path, vocab_size=300).decode([start, *tiny_tokenizer().encode("once").ids]) == "once"


def test_an_id_outside_the_vocabulary_is_refused(path: Path) -> None:
    with pytest.raises(
        InputError, match=r"tokenizer\.json produces token id 2\d\d, outside the vocabulary of 64"
    ) as caught:
        FileTokenizer(path, vocab_size=64).encode(TEXT)
    assert caught.value.help == "use the tokenizer.json of this model"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is not a tokenizer: EOF"),
        (b"{}", "is not a tokenizer: Model missing"),
        (b'{"model_type": "llama"}', "is not a tokenizer"),
        (json.dumps(VALID).encode()[:-1], "is not a tokenizer: EOF"),
        (json.dumps(VALID | {"model": {"type": "Other"}}).encode(), "is not a tokenizer"),
        (b"[" * 100_000, "is not a tokenizer"),
        (bytes(range(256)), "is not UTF-8 text"),
    ],
    ids=["empty", "no model", "another library's", "cut short", "unknown model", "deep", "binary"],
)
def test_a_broken_file(path: Path, data: bytes, says: str) -> None:
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        FileTokenizer(path, vocab_size=300)
    assert f"{path} {says}" in caught.value.message
    assert caught.value.help


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*: Is a directory"):
        FileTokenizer(tmp_path, vocab_size=300)


def test_a_text_that_cannot_be_encoded(path: Path) -> None:
    path.write_text(json.dumps(VALID | {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "?"}}))
    with pytest.raises(InputError, match=r"cannot encode the text: .*UNK"):
        FileTokenizer(path, vocab_size=300).encode("b")


def test_without_the_library(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UnableError, match="needs the tokenizers library") as caught:
        open_tokenizer(path, 300)
    assert caught.value.help == "pip install 'tinylm-cli[tokenizers]'"


def test_bytes() -> None:
    tokenizer = open_tokenizer(None, 256)
    assert isinstance(tokenizer, ByteTokenizer)
    assert tokenizer.encode("é") == (0xC3, 0xA9)
    assert tokenizer.encode("\udcff") == (0xFF,), "a byte of the command line that is no UTF-8"
    assert tokenizer.decode((0xC3, 0xA9, 0xFF)) == "é\ufffd"
    assert open_tokenizer(None, 1000) is None
