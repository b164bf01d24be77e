"""Arguments before the option parser reads them."""

from __future__ import annotations

import pytest

from tinylm_cli.cli.argv import BARE_TOKENS, normalize, requested_format


@pytest.mark.parametrize(
    ("words", "normalized"),
    [
        ("--tokens 5 12 8", ["--tokens", "5 12 8"]),
        ("--tokens 5,12 8 toy.yaml", ["--tokens", "5,12 8", "toy.yaml"]),
        ("--tokens=5 12", ["--tokens", "5 12"]),
        ("--tokens=@ids 12", ["--tokens", "@ids", "12"]),
        ("--tokens @ids", ["--tokens", "@ids"]),  # the parser reads any other value
        ("--tokens -5 3", ["--tokens", "-5 3"]),
        ("--tokens - toy.yaml", ["--tokens", "-", "toy.yaml"]),
        ("--tokens", ["--tokens", BARE_TOKENS]),
        ("--tokens --seed 3", ["--tokens", BARE_TOKENS, "--seed", "3"]),
        ("--seed 3 4", ["--seed", "3", "4"]),
        ("-- --tokens 1 2", ["--", "--tokens", "1", "2"]),
    ],
)
def test_token_ids(words: str, normalized: list[str]) -> None:
    assert normalize(["generate", *words.split()]) == ["generate", *normalized]


@pytest.mark.parametrize(
    ("words", "normalized"),
    [
        ("params tiny --debug", "--debug params tiny"),
        ("params --debug tiny --debug", "--debug params tiny"),
        ("params -- --debug", "params -- --debug"),
        ("params --debug -- --debug", "--debug params -- --debug"),
    ],
)
def test_debug_comes_first(words: str, normalized: str) -> None:
    assert normalize(words.split()) == normalized.split()


@pytest.mark.parametrize(
    ("words", "format_"),
    [
        ("params tiny", ""),
        ("params --format json", "json"),
        ("params --format=json", "json"),
        ("params -f json", "json"),
        ("params -fjson", "json"),
        ("params --format json -f csv", "csv"),  # the parser also takes the last
        ("params --unknown --format sarif", "sarif"),
        ("params --format", ""),
        ("params --formats json", ""),
    ],
)
def test_requested_format(words: str, format_: str) -> None:
    assert requested_format(words.split()) == format_
