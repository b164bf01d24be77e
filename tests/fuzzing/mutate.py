"""Seeded mutations of text, words, JSON documents and safetensors files, and the hostile text that they insert."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any

COMMAND = "::error file=a,line=1::forged"
LOG_GROUP = "##[error]forged"

HOSTILE = (
    "\x1b[31mred\x1b]0;title\x07",
    "\x9b2J\x08\x7f",
    "gpj.\u202egol\u2066\u200b\u2069",
    f"one\r\n{COMMAND}",
    f"two\u2028{COMMAND}\u2029\x85",
    COMMAND,
    LOG_GROUP,
    "[bold red]x[/nope] `a` *b* <b>&amp;|~ %s %(x)s {0} {x!r} $(id) `id`",
    "\ud800lone\udc80",
    "\ufeff\x00\t",
    "e\u0301\u0301\u0301 \U0001f469\u200d\U0001f469 表 ﷽",
)
"""Escapes, controls, bidi marks, line breaks, log commands, markup, lone surrogates, wide and combined characters."""

NUMBERS = (
    "0", "-0", "1", "2", "3", "7", "8", "64", "-1", "1.5", "-1e-3", "1e400", "1e-400", "nan", ".inf", "-.inf",
    "Infinity",
    "0x10", "0o7", "0b1", "1_000", "1,000", "12:30:45", "007", "+4", "1e3", "4294967296",
    "9223372036854775808", "1" * 40,
    "9" * 300, "2K", "1.5M", "3 GiB", "125MB", "5%", "1e21", "16777216", "65537", "100000", "½", "٣", "1e", "--1",
)  # fmt: skip
"""Numbers in every notation, among them wrong ones and those on a limit."""

YAML_VALUES = (
    "", "~", "null", "true", "yes", "[]", "{}", "[1, 2]", "{a: 1}", "'x'", '"x"', '"\\x1b[31m"', '"\\u202e"',
    '"\\ud800"',
    '"\\z"', "&a 1", "*a", "<<: *a", "!!python/object:os.system x", "! x", "|", ">-", "? x", "- 1", "@x",
    "`x`", "%x", "#",
    "a: b: c", "'", '"', "[", "{", "]", "2026-11-28", "gelu", "rope", "rmsnorm", "latent", "GL", "LLLG", "G" * 500,
)  # fmt: skip
"""YAML values of every type, valid and broken."""

JSON_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 64, 1.5, -0.0, 1e308, 10**30, 2**63, "", "x", "1", "null", "gelu",
    "yarn", [], {},
    [1], [None], ["a", 1], {"a": 1}, {"type": "linear", "factor": 0}, {"rope_type": "yarn", "factor": "2"},
    [[]], [0] * 300,
)  # fmt: skip
"""Values of every type of JSON."""


def hostile(rng: Random) -> str:
    """Return hostile text, sometimes behind a word so long that output wraps just before it."""
    text = rng.choice(HOSTILE)
    return f"{'a' * rng.randrange(1, 130)} {text}" if rng.random() < 0.3 else text


def encode(text: str) -> bytes:
    """Return text as bytes; lone surrogates become bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogatepass")


def misspell(rng: Random, word: str) -> str:
    """Drop, double, swap or replace one character."""
    if not word:
        return rng.choice("abz_-")
    at = rng.randrange(len(word))
    replacements = (
        word[:at] + word[at + 1 :],
        word[: at + 1] + word[at:],
        word[:at] + word[at : at + 2][::-1] + word[at + 2 :],
        word[:at] + rng.choice("aeZ0_-=.") + word[at + 1 :],
        word[:at] + word[at:].swapcase(),
    )
    return rng.choice(replacements)


def value(rng: Random) -> str:
    """Return a value for a field or an option, of any type."""
    roll = rng.random()
    if roll < 0.5:
        return rng.choice(NUMBERS)
    return rng.choice(YAML_VALUES) if roll < 0.8 else hostile(rng)


def _delete_line(rng: Random, lines: list[str]) -> None:
    del lines[rng.randrange(len(lines))]


def _double_line(rng: Random, lines: list[str]) -> None:
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))


def _swap_lines(rng: Random, lines: list[str]) -> None:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def _indent_line(rng: Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    lines[at] = rng.choice(("  ", " ", "\t", "- ", "# ", "? ")) + lines[at]


def _dedent_line(rng: Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    lines[at] = lines[at].lstrip()


def _replace_value(rng: Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    key, colon, _ = lines[at].partition(":")
    lines[at] = f"{key}: {value(rng)}" if colon else value(rng)


def _misspell_key(rng: Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    key, colon, rest = lines[at].partition(":")
    lines[at] = misspell(rng, key) + colon + rest


def _insert_text(rng: Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    column = rng.randrange(len(lines[at]) + 1)
    text = hostile(rng) if rng.random() < 0.5 else value(rng)
    lines[at] = lines[at][:column] + text + lines[at][column:]


def _replace_number(rng: Random, lines: list[str]) -> None:
    numbered = [index for index, line in enumerate(lines) if re.search(r"\d", line)]
    if numbered:
        at = rng.choice(numbered)
        number = rng.choice(NUMBERS)
        lines[at] = re.sub(r"\d[\d._]*", lambda _: number, lines[at], count=1)


def _nest(rng: Random, lines: list[str]) -> None:
    depth = rng.choice((3, 30, 300, 3000))
    lines.append("deep: " + rng.choice(("[", "{a: ", "- ", "? ")) * depth)


_LINE_MUTATIONS: tuple[Callable[[Random, list[str]], None], ...] = (
    _delete_line, _double_line, _swap_lines, _indent_line, _dedent_line, _replace_value, _replace_value, _misspell_key,
    _insert_text, _replace_number, _replace_number, _nest,
)  # fmt: skip


def mutate_text(rng: Random, text: str, others: Sequence[str]) -> bytes:
    """Change one to three lines of a document, or splice another into it; sometimes change its bytes or line breaks."""
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not lines:
            break
        rng.choice(_LINE_MUTATIONS)(rng, lines)
    if rng.random() < 0.1:
        spliced = rng.choice(others).splitlines()
        lines[rng.randrange(len(lines) + 1) :] = spliced[rng.randrange(len(spliced) + 1) :]
    ending = "\n" if rng.random() < 0.9 else rng.choice(("\r\n", "\r", "\n\n", "\u2028"))
    data = encode(ending.join(lines) + ending)
    return mutate_bytes(rng, data) if rng.random() < 0.15 else data


def mutate_bytes(rng: Random, data: bytes) -> bytes:
    """Truncate, overwrite, insert, or prefix with a byte-order mark; or encode as UTF-16."""
    at = rng.randrange(len(data) + 1)
    changes = (
        data[:at],
        data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :],
        data[:at] + encode(hostile(rng)) + data[at:],
        b"\xef\xbb\xbf" + data,
        data.decode("utf-8", "replace").encode("utf-16"),
        data[:at] + b"\x00" * rng.randrange(1, 9) + data[at:],
        b"",
    )
    return rng.choice(changes)


def mutate_json(rng: Random, document: Any) -> Any:
    """Change one to three values or keys of a JSON document, in place where it is a container."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        holder = document
        while isinstance(holder, dict | list) and holder:
            key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
            if isinstance(holder[key], dict | list) and holder[key] and rng.random() < 0.7:
                holder = holder[key]
                continue
            _change_entry(rng, holder, key)
            break
    return document if rng.random() < 0.99 else rng.choice(JSON_VALUES)


def _change_entry(rng: Random, holder: Any, key: Any) -> None:
    roll = rng.random()
    if roll < 0.2:
        del holder[key]
    elif roll < 0.35 and isinstance(holder, dict):
        holder[misspell(rng, str(key)) if rng.random() < 0.8 else hostile(rng)] = holder.pop(key)
    elif roll < 0.5 and isinstance(holder[key], int):
        holder[key] += rng.choice((-1, 1))
    else:
        holder[key] = deepcopy(rng.choice(JSON_VALUES)) if rng.random() < 0.8 else hostile(rng)


def json_bytes(rng: Random, document: Any) -> bytes:
    """Write a JSON document in one of several layouts."""
    layout: dict[str, Any] = rng.choice(({"indent": 2}, {}, {"separators": (",", ":")}, {"ensure_ascii": False}))
    return encode(json.dumps(document, **layout))


Tensors = dict[str, tuple[int, ...]]

_DTYPES: tuple[Any, ...] = (
    "F32", "F16", "BF16", "F64", "F8_E4M3", "I64", "BOOL", "C64", "f32", "", "x" * 5000, 32, None, [], LOG_GROUP,
)  # fmt: skip
_SHAPES: tuple[Any, ...] = (
    [], [0], [1], [-1], [2**31, 2**31], [2**63], [10**30], [1.5], ["8"], None, 8, [[8]], [1] * 300, [0, 2**62],
)  # fmt: skip
_OFFSETS: tuple[Any, ...] = (
    [0, 0], [4, 0], [-4, 0], [0, 2**40], [2**63, 2**63 + 4], [0], [0, 4, 8], None, ["0", "4"], [0.0, 4.0], [1, 5],
)  # fmt: skip


def safetensors_file(tensors: Tensors) -> bytes:
    """Return a valid file with zeros in these tensors."""
    header = safetensors_header(tensors)
    return safetensors_bytes(header, bytes(data_bytes(header)))


def safetensors_header(tensors: Tensors) -> dict[str, Any]:
    """Return the header of a file that holds float32 tensors in that order."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        begin = end
        size = 4
        for length in shape:
            size *= length
        end = begin + size
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    return header


def data_bytes(header: dict[str, Any]) -> int:
    """Return the size of the data that a header describes."""
    ends = (int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__")
    return max(ends, default=0)


def safetensors_bytes(header: Any, data: bytes, *, size: int | None = None) -> bytes:
    """Write a file; ``size`` overrides the header's length that the first 8 bytes state."""
    text = encode(header if isinstance(header, str) else json.dumps(header))
    text += b" " * (-len(text) % 8)
    stated = len(text) if size is None else size
    return (stated % 2**64).to_bytes(8, "little") + text + data


def mutate_safetensors(rng: Random, tensors: Tensors) -> bytes:
    """Write a safetensors file of these tensors with one or two errors in its header, lengths or data."""
    header = safetensors_header(tensors)
    total = data_bytes(header)
    data = bytes(total)
    size: int | None = None
    for _ in range(rng.randrange(1, 3)):
        names = [name for name in header if name != "__metadata__"]
        if not names:
            break
        name = rng.choice(names)
        roll = rng.random()
        if roll < 0.15:
            header[name]["dtype"] = deepcopy(rng.choice(_DTYPES))
        elif roll < 0.3:
            header[name]["shape"] = deepcopy(rng.choice(_SHAPES))
        elif roll < 0.42:
            header[name]["data_offsets"] = deepcopy(rng.choice(_OFFSETS))
        elif roll < 0.6:
            renamed = (misspell(rng, name), hostile(rng), "", "x" * rng.choice((300, 30_000, 300_000)), "\ud800")
            header[rng.choice(renamed)] = header.pop(name)
        elif roll < 0.66:
            header[hostile(rng)] = {"dtype": "F32", "shape": [0], "data_offsets": [total, total]}
        elif roll < 0.72:
            header["__metadata__"] = rng.choice((None, {"a": 1}, [], "x", {"format": hostile(rng)}, {"a": {}}))
        elif roll < 0.78:
            del header[name]
        elif roll < 0.84:
            size = rng.choice((0, 1, 7, 8, 2**31, 2**63, -1, 100_000_000, 100_000_001))
        elif roll < 0.9:
            data = rng.choice((data[:-1], data + b"\x00", b"", b"\xff" * total, b"\x00\x00\x80\x7f" * (total // 4)))
        else:
            mutate_json(rng, header)
            header = header if isinstance(header, dict) else {}
            break
    written = safetensors_bytes(header, data, size=size)
    if rng.random() < 0.15:
        return mutate_bytes(rng, written[:20_000]) if rng.random() < 0.5 else written[: rng.randrange(len(written))]
    if rng.random() < 0.05:
        broken = ("[" * 100_000, '{"a": ' * 5000, "{" + '"a": {}, ' * 3 + '"a": {}}', "null", "", "{}", "\ufeff{}")
        return safetensors_bytes(rng.choice(broken), data)
    return written
