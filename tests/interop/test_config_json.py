"""A config.json that is not valid JSON: the position and the remedy."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.config.source import Source
from tinylm_cli.config.yaml_nodes import Node
from tinylm_cli.config.yaml_reader import read_yaml
from tinylm_cli.errors import ConfigError, InputError
from tinylm_cli.interop.config_json import data_to_node, is_readable, read_json
from tinylm_cli.interop.export_config import to_config_json
from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.load import load_config

COMMA = "delete the comma after the last value"
CUT_OFF = "close every brace, bracket and quote: the end of the file may be cut off"
QUOTES = 'a config.json is {"key": value, …}, with every key in double quotes'


@pytest.mark.parametrize(
    ("text", "place", "advice"),
    [
        ("{", (1, 2), CUT_OFF),
        ("[", (1, 2), CUT_OFF),
        ('{"a"', (1, 5), CUT_OFF),
        ('{"a":', (1, 6), CUT_OFF),
        ('{"a": 1', (1, 8), CUT_OFF),
        ('{"a": 1,', (1, 9), CUT_OFF),
        ('{"a": 1,\n\n', (3, 1), CUT_OFF),
        ('{"a": [1, 2', (1, 12), CUT_OFF),
        ('{"a": {"b": 1}', (1, 15), CUT_OFF),
        ('{"a": {"b": 1}\n', (2, 1), CUT_OFF),
        ('{"model_type": "lla', (1, 16), CUT_OFF),
        ('{"a": 1, "b', (1, 10), CUT_OFF),
        ('{"a": tru', (1, 7), CUT_OFF),
        ('{"a": [1, 2,]}', (1, 12), COMMA),
        ('{"a": 1,}', (1, 8), COMMA),
        ('{\n  "a": 1 ,\n}\n', (2, 10), COMMA),
        ('{"a": 1 "b": 2}', (1, 9), QUOTES),
        ("{'a': 1}", (1, 2), QUOTES),
        ("{a: 1}", (1, 2), QUOTES),
        ('{"a": yes}', (1, 7), QUOTES),
        ('{"a": 1}}', (1, 9), QUOTES),
        ('{"a": 1},', (1, 9), QUOTES),
        ('{"a": 1}\n{"a": 1}', (2, 1), QUOTES),
    ],
)
def test_no_json(text: str, place: tuple[int, int], advice: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_json(Source("config.json", text))
    (found,) = raised.value.diagnostics
    assert (found.code, found.help) == ("json-syntax", advice)
    assert found.message.startswith("this is not JSON: ")
    assert found.span is not None
    line, column = place
    assert (found.span.line, found.span.column, found.span.end_column) == (line, column, column + 1)


def test_excerpt_keeps_tabs() -> None:
    with pytest.raises(ConfigError) as raised:
        read_json(Source("config.json", '{\n\t"a": 1\t2\n}'))
    (found,) = raised.value.diagnostics
    assert found.span is not None
    assert (found.span.line, found.span.column, found.span.text) == (2, 9, '\t"a": 1\t2')


def everything(node: Node) -> object:
    """Return a tree with its positions."""
    if node.entries is not None:
        return node.span, {key: (entry.key_span, everything(entry.value)) for key, entry in node.entries.items()}
    if node.items is not None:
        return node.span, list(map(everything, node.items))
    return node.span, type(node.scalar), node.scalar, node.written, node.quoted


words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=8)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(words, values, max_size=4), st.booleans(), st.sampled_from([None, 1, 4]))
def test_same_tree_as_yaml(data: dict[str, object], ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(data, ensure_ascii=ascii_only, indent=indent)
    read = read_json(Source("config.json", text)).root
    assert read is not None
    assert read.plain() == json.loads(text)
    if "\\u" not in text:  # YAML writes a character outside the basic plane as one escape, JSON as two
        same = read_yaml(Source("config.json", text)).root
        assert same is not None
        assert everything(read) == everything(same)


def test_strings_and_numbers_of_json_alone() -> None:
    read = read_json(Source("x.json", '{"a": "\\ud83d\\ude00\\/", "b": [NaN, -Infinity, "NaN"],\t"c": 1e5}')).root
    assert read is not None
    data = read.plain()
    assert data["a"] == "😀/"
    assert math.isnan(data["b"][0])
    assert data["b"][1:] == [-math.inf, "NaN"]
    assert data["c"] == 1e5


def comparable(node: Node) -> object:
    """Return everything of a tree but its positions."""
    if node.entries is not None:
        return {key: comparable(entry.value) for key, entry in node.entries.items()}
    if node.items is not None:
        return [comparable(item) for item in node.items]
    return type(node.scalar), node.scalar, node.quoted, node.is_absent


@pytest.mark.parametrize("name", ["tiny", "llama-3-8b", "gemma-2-2b", "gpt-oss-20b", "deepseek-v2-lite"])
def test_data_as_it_would_be_read(name: str) -> None:
    """The config.json of every family: the same tree from the data and from the text."""
    config = load_config(name).config
    for family in FAMILIES.values():
        document = to_config_json(config, family)
        read = read_json(Source("config.json", json.dumps(document))).root
        assert read is not None
        assert comparable(data_to_node(document, read.span)) == comparable(read)


@pytest.mark.parametrize(("length", "readable"), [(9_992, True), (9_993, False)])
def test_longest_document(length: int, readable: bool) -> None:
    data = {"layer_types": ["0"] * length, "d": {}}
    assert is_readable(data) is readable
    if readable:
        assert read_json(Source("config.json", json.dumps(data))).root is not None
    else:
        with pytest.raises(ConfigError):
            read_json(Source("config.json", json.dumps(data)))


def _with_list(names: object, tmp_path: Path) -> Path:
    body = {"model_type": "llama", "vocab_size": 500, "hidden_size": 64, "num_attention_heads": 4}
    body |= {"num_hidden_layers": 2, "intermediate_size": 128}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**body, "quantization_config": names}, indent=1), encoding="utf-8")
    return path


MODULES = [f"model.layers.{n // 768}.mlp.experts.{n % 768}.down_proj" for n in range(60_000)]
"""The modules that a published export of 3 MB does not quantize."""


@pytest.mark.parametrize(
    "quantization",
    [{"ignore": MODULES}, {"layers": {name: {"algo": "NVFP4", "size": 16} for name in MODULES}}, MODULES],
)
def test_lists_of_modules(quantization: object, tmp_path: Path) -> None:
    """A value of megabytes is read whole, and without a diagnostic for its number of values."""
    path = _with_list(quantization, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert len(text) > 2_500_000
    began = time.perf_counter()
    assert load_config(str(path)).config.d_model == 64
    assert time.perf_counter() - began < 20  # 1 second on an idle machine
    root = read_json(Source("x.json", text)).root
    assert root is not None
    assert root.plain() == json.loads(text)
    assert root.entries is not None
    value = root.entries["quantization_config"].value
    assert value.span.line == next(n for n, line in enumerate(text.splitlines(), 1) if "quantization_config" in line)


@pytest.mark.parametrize(
    ("quantization", "code"),
    [
        (["a"] * 600_000, "too-many-values"),
        ({"a": [[[["x" * 70_000]]]] * 2, **{f"k{n}": [] for n in range(200_000)}}, "too-many-values"),
    ],
)
def test_too_many_values(quantization: object, code: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(str(_with_list(quantization, tmp_path)))
    assert [each.code for each in raised.value.diagnostics] == [code]


def test_deep_value(tmp_path: Path) -> None:
    inner = "[" * 900 + '"' + "x" * 70_000 + '"' + "]" * 900
    (tmp_path / "config.json").write_text(f'{{"model_type": "llama", "a": {inner}}}', encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(str(tmp_path))
    assert [each.code for each in raised.value.diagnostics] == ["too-deep"]


@pytest.mark.parametrize(("value", "code"), [('"\\ud800"', "control-character"), ("1" * 200, "number-too-long")])
def test_position_in_a_long_value(value: str, code: str, tmp_path: Path) -> None:
    text = '{"model_type": "llama",\n"_a": ["' + "x" * 70_000 + f'",\n{value}]}}'
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load_config(str(tmp_path))
    found = raised.value.diagnostics[0]
    assert (found.code, found.span.line if found.span else None) == (code, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model_type": "llama", "a": ["' + "x" * 300_000 + '"', "this is not JSON"),
        ('{"model_type": "llama", "a": "' + "x" * 300_000 + '", "b": ' + "1" * 5000 + "}", "larger than 256 KiB"),
        ("{a: " + "x" * 300_000 + "}", "this is not JSON"),
    ],
)
def test_large_text_that_is_not_json(text: str, message: str, tmp_path: Path) -> None:
    """YAML of that size is not parsed, which would take long."""
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    with pytest.raises((ConfigError, InputError), match=message):
        load_config(str(tmp_path / "x.json"))


def test_large_yaml(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("{a: " + "x" * 300_000 + "}", encoding="utf-8")
    with pytest.raises(InputError, match="larger than 256 KiB"):
        load_config(str(tmp_path / "x.yaml"))
