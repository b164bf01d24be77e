"""MHA, GQA, MQA and MLA as kinds of attention, in files and in overrides."""

from __future__ import annotations

import pytest

from tinylm_cli.config.loader import LoadedConfig, parse_config
from tinylm_cli.config.source import Source
from tinylm_cli.config.yaml_writer import to_yaml
from tinylm_cli.errors import ConfigError, Diagnostic
from tinylm_cli.wording import SET

BASE = "vocab_size: 256\nd_model: 128\nn_heads: 8\nn_layers: 4\nd_ff: 512\nposition: {kind: rope}\n"


def load(attention: str, *overrides: str) -> LoadedConfig:
    return parse_config(Source("x.yaml", f"{BASE}attention: {{{attention}}}\n"), overrides)


@pytest.mark.parametrize(
    ("written", "kind", "n_kv_heads"),
    [
        ("kind: mha", "multi_head", 8),
        ("kind: MHA, n_kv_heads: 8", "multi_head", 8),
        ("kind: gqa, n_kv_heads: 2", "multi_head", 2),
        ("n_kv_heads: 1, kind: gqa", "multi_head", 1),
        ("kind: mqa", "multi_head", 1),
        ("kind: mqa, n_kv_heads: 1", "multi_head", 1),
        ('kind: "mla"', "latent", 8),
    ],
)
def test_kinds(written: str, kind: str, n_kv_heads: int) -> None:
    loaded = load(written)
    assert (loaded.config.attention.kind, loaded.config.n_kv_heads) == (kind, n_kv_heads)
    assert parse_config(Source("x.yaml", to_yaml(loaded.config))).config == loaded.config
    span = loaded.origins["attention.kind"]
    assert span is not None
    assert span.source == "x.yaml"


@pytest.mark.parametrize(
    ("written", "overrides", "n_kv_heads"),
    [
        ("n_kv_heads: 2", ["attention.kind=mha"], 8),
        ("n_kv_heads: 2", ["attention.kind=mqa"], 1),
        ("n_kv_heads: 2", ["attention.kind=gqa"], 2),
        ("n_kv_heads: 2", ["kind=MQA"], 1),
        ("bias: true", ["attention.kind=gqa", "attention.n_kv_heads=4"], 4),
        ("kind: mqa", ["attention.kind=gqa", "attention.n_kv_heads=4"], 4),
    ],
)
def test_overrides(written: str, overrides: list[str], n_kv_heads: int) -> None:
    assert load(written, *overrides).config.n_kv_heads == n_kv_heads


def errors(attention: str, *overrides: str) -> list[Diagnostic]:
    with pytest.raises(ConfigError) as refused:
        load(attention, *overrides)
    return list(refused.value.diagnostics)


@pytest.mark.parametrize(
    ("written", "code", "remedy"),
    [
        ("kind: gqa", "needs-field", "write attention.n_kv_heads: 2"),
        ("kind: gqa, n_kv_heads: 8", "contradiction", "write attention.n_kv_heads: 2, or attention.kind: mha"),
        ("kind: mqa, n_kv_heads: 2", "contradiction", "omit attention.n_kv_heads, or write attention.kind: gqa"),
        ("kind: mha, n_kv_heads: 2", "contradiction", "omit attention.n_kv_heads, or write attention.kind: gqa"),
        ("kind: mla, n_kv_heads: 2", "without-effect", ""),
        ("kind: gqa, n_kv_heads: two", "wrong-type", "for example n_kv_heads: 2"),
        ("kind: mqa, n_kv_heads: 0", "out-of-range", ""),
    ],
)
def test_contradictions(written: str, code: str, remedy: str) -> None:
    (found,) = errors(written)
    assert found.code == code
    assert not remedy or found.help == remedy


def test_contradiction_in_override() -> None:
    (found,) = errors("n_kv_heads: 2", "attention.kind=mqa", "attention.n_kv_heads=2")
    assert (found.code, found.source) == ("contradiction", SET)
