"""Automatic fixes: the suggestions that have one, and files that are otherwise unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.config.fixes import apply_fixes, fix_source, unified_diff
from tinylm_cli.config.loader import parse_config
from tinylm_cli.config.source import Source, source_of
from tinylm_cli.errors import ConfigError, Diagnostic, Fix

BAD = Path(__file__).resolve().parent.parent / "bad"
BASE = "vocab_size: 256\nd_model: 128\nn_heads: 4\nn_layers: 4\nd_ff: 512\n"


def errors(source: Source) -> Sequence[Diagnostic]:
    try:
        parse_config(source)
    except ConfigError as error:
        return error.diagnostics
    return ()


def fixed(text: str) -> str:
    return fix_source(Source("a.yaml", text), errors)[0].text


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("d_modl: 128", "d_model: 128"),
        ("hidden_size: 128", "d_model: 128"),
        ("'d_modl': 128", "'d_model': 128"),
        ('d_model: "128"', "d_model: 128"),
        ("d_model: 128.0", "d_model: 128"),
        ("d_model: 1_28", "d_model: 128"),
        ("d_model = 128", "d_model: 128"),
        ("d_model=128", "d_model: 128"),
        ("d_model 128", "d_model: 128"),
    ],
)
@pytest.mark.parametrize("end", ["", "  # wide enough"], ids=["bare", "commented"])
def test_certain(wrong: str, right: str, end: str) -> None:
    assert fixed(BASE.replace("d_model: 128", wrong + end)) == BASE.replace("d_model: 128", right + end)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("norm: {kind: RMS}", "norm: {kind: rmsnorm}"),
        ("norm: {kind: rmsnrom}", "norm: {kind: rmsnorm}"),
        ('"norm": {"kind": "RMSNorm"}', '"norm": {"kind": "rmsnorm"}'),
        ("nrom: {eps: 1e-6}", "norm: {eps: 1e-6}"),
        ("attn: {bias: no}", "attention: {bias: false}"),
        ("attention: {bias: flase}", "attention: {bias: false}"),
        ("position: {kind: rotary}", "position: {kind: rope}"),
        ("feed_forward: {activation: swish}", "feed_forward: {activation: silu}"),
        ("dropuot: '0.1'", "dropout: 0.1"),
        ("budget: {max_kv_bytes: 24 gib}", "budget: {max_kv_bytes: 24GiB}"),
        ('budget: {max_params: "130 m"}', 'budget: {max_params: "130M"}'),
        ("budget: {max_flops_per_token: 2.5 GFLOPs}", "budget: {max_flops_per_token: 2.5G}"),
        ("attention: {window: 8, window_pattern: lg}", "attention: {window: 8, window_pattern: LG}"),
    ],
)
def test_certain_in_blocks(wrong: str, right: str) -> None:
    assert fixed(f"{BASE}{wrong}\n") == f"{BASE}{right}\n"


@pytest.mark.parametrize(
    "line",
    [
        "max_len: 8k",  # 8,000 or 8,192
        "d_modl: 128",  # d_model is there
        "dropot: 0.1\ndropuot: 0.2",  # both would be dropout
        "norm: {eps: 0,1}",
        "rope_theta: 5e5",  # belongs in a block
        "hidden_dim: 512",  # d_model to some, d_ff to others
        "attention: {query_pre_attn_scalar: 256}",  # the root of its inverse
        "feed_forward: {activation: selu}",
        "feed_forward: {activation: swiglu}",
        "block: {mixer: mamba3}",  # mamba, or mamba2
        "mamba3: {d_head: 64}",
        "position: {kind: absolute}",
        "norm: rmsnorm",
        "n_layers: 8",  # a second one
        'max_len: "\\x38"',  # an escape
        "norm.kind: rmsnorm",
    ],
)
def test_uncertain(line: str) -> None:
    text = f"{BASE}{line}\n"
    found = errors(Source("a.yaml", text))
    assert found
    assert all(each.fix is None for each in found)
    assert fixed(text) == text


def test_overrides_have_no_fix() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(Source("a.yaml", BASE), ["n_layers='8'", "norm.kind=RMS", "d_modl=8"])
    assert [each.fix for each in refused.value.diagnostics] == [None] * 3


def test_rounds() -> None:
    """A key that is put right may have a value that is wrong."""
    source, found = fix_source(Source("a.yaml", BASE.replace("d_ff: 512", "ffn: 3\nd_f: '512'")), errors)
    assert source.text == BASE.replace("d_ff: 512", "ffn: 3\nd_ff: 512")
    assert [each.code for each in found] == ["unknown-key", "wrong-type"]
    assert [each.code for each in errors(source)] == ["unknown-key"]


def test_overlap() -> None:
    source = Source("a.yaml", BASE)
    one, other = Fix(source.span(0, 5), "a"), Fix(source.span(4, 8), "b")
    with pytest.raises(ValueError, match=r"two fixes overlap at a\.yaml:1"):
        apply_fixes(source, [one, other])
    both = [Diagnostic("unknown-key", "m", "a.yaml", each.span, fix=each) for each in (one, other)]
    rounds = iter([both, []])
    assert fix_source(source, lambda _: next(rounds))[1] == (both[0],)


def test_edges() -> None:
    """Byte-order mark, carriage returns, a last line without its end: all of it stays."""
    data = b"\xef\xbb\xbf# \xc3\xa9\r\n" + BASE.replace("d_ff", "dff").replace("\n", "\r\n").encode().rstrip()
    source = source_of("a.yaml", data)
    after, _ = fix_source(source, errors)
    assert after.text.encode() == data[3:].replace(b"dff", b"d_ff")
    assert unified_diff(source, after).endswith(
        "\r\n-dff: 512\n\\ No newline at end of file\n+d_ff: 512\n\\ No newline at end of file\n"
    )
    assert unified_diff(source, source) == ""


@pytest.mark.parametrize("path", sorted(BAD.glob("*.yaml")), ids=lambda path: path.stem)
def test_corpus(path: Path) -> None:
    """Every fix removes its error, touches only its line, and none undoes another."""
    try:
        before = source_of(path.name, path.read_bytes())
    except ConfigError:
        return  # not UTF-8
    after, found = fix_source(before, errors)
    lines = {each.fix.span.line for each in found if each.fix is not None}
    old, new = before.text.splitlines(keepends=True), after.text.splitlines(keepends=True)
    assert len(old) == len(new)
    if "\x85" not in before.text and "\u2028" not in before.text and "\x0c" not in before.text:
        assert {number for number, pair in enumerate(zip(old, new, strict=True), 1) if pair[0] != pair[1]} <= lines
    assert not any(each.fix for each in errors(after))
    assert fix_source(after, errors)[0].text == after.text


@given(st.data())
def test_restored(data: st.DataObject) -> None:
    """A config whose keys lose a letter and whose numbers are quoted is restored, with any line ends."""
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    lines = BASE.replace("vocab_size: 256\n", "vocab_size: 256  # bytes\n").splitlines()
    broken = [_broken(line, data.draw(st.sampled_from(["key", "value", "sign", "both", "none"]))) for line in lines]
    assert fixed(end.join(broken)) == end.join(lines)


def _broken(line: str, how: str) -> str:
    key, _, rest = line.partition(": ")
    value, space, comment = rest.partition("  ")
    if how in ("key", "both"):
        key = key[:-2] + key[-1]
    if how in ("value", "both"):
        value = f'"{value}"'
    return f"{key}{' = ' if how == 'sign' else ': '}{value}{space}{comment}"
