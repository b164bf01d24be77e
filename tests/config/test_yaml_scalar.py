"""Scalars as YAML: they read back as the same values, here and by readers of YAML 1.1."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.yaml_1_1 import read_yaml_1_1
from tinylm_cli.config.source import Source
from tinylm_cli.config.yaml_reader import read_yaml
from tinylm_cli.config.yaml_scalar import scalar


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (8, "8"),
        ("gelu", "gelu"),
        ((1.0, 2.5e-7), "[1.0, 2.5e-7]"),
        ((), "[]"),
        (0.1, "0.1"),
        (0.0, "0.0"),
        (1e-5, "1.0e-5"),
        (1.5e-7, "1.5e-7"),
        (1e-10, "1.0e-10"),
        (5e-324, "5.0e-324"),
    ],
)
def test_scalars(value: Any, text: str) -> None:
    assert scalar(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_inread_yaml_1_1(value: float) -> None:
    assert read_yaml_1_1(scalar(value)) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("my-model", "my-model"),
        ("Llama 3.1 (8B)", "Llama 3.1 (8B)"),
        ("80 GiB", "80 GiB"),
        ("true", '"true"'),
        ("No", '"No"'),
        ("8", '"8"'),
        ("1e5", '"1e5"'),
        ("a: b", '"a: b"'),
        ("a #b", '"a #b"'),
        ("- a", '"- a"'),
        ("[a]", '"[a]"'),
        ("end ", '"end "'),
        ('a "b" \\c', r'"a \"b\" \\c"'),
        ("two\nlines", r'"two\nlines"'),
        ("\x1b\u202e\U000e0001", r'"\x1b\u202e\U000e0001"'),
        ("größer", '"größer"'),
    ],
)
def test_text(value: str, written: str) -> None:
    assert scalar(value) == written
    assert read_yaml(Source("x.yaml", f"a: {written}\n")).root.plain() == {"a": value}  # type: ignore[union-attr]
