"""From the tree of a config.json to the tree of the tinylm config that describes the same model."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from tinylm_cli.config.blocks import BLOCKS
from tinylm_cli.config.diagnostic_codes import clip, diagnostic
from tinylm_cli.config.fields import fields
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.source import Source
from tinylm_cli.config.suggestions import suggest
from tinylm_cli.config.yaml_reader import Node
from tinylm_cli.errors import Diagnostic, Span
from tinylm_cli.interop.families import BY_TYPE, FAMILIES
from tinylm_cli.interop.family import EVERYWHERE, HARMLESS, Family, Must
from tinylm_cli.interop.key_reader import Reader, tree
from tinylm_cli.interop.shared_keys import activation
from tinylm_cli.interop.unsupported import SIGNS, UNREAD

_MOST_GUESSES = 20
_NEAR_FAMILY = 0.75
_NEAR = 0.85  # nearer than for tinylm's own keys: many of these end alike


class Mapped(NamedTuple):
    """What a foreign config says.

    Attributes:
        family: Its family; None where that is not known, with a mistake that says so.
        root: The same model as the tree of a tinylm config.
        ignored: Keys that do not change the model, in the order of the file.
        assumed: Sizes that the file does not say, by dotted field, as the family has them by default.
        keys: The key that says a field, by dotted field.
        mistakes: What is wrong with it, or cannot be said in a tinylm config.
    """

    family: Family | None
    root: Node
    ignored: tuple[str, ...]
    assumed: dict[str, int]
    keys: dict[str, str]
    mistakes: list[Diagnostic]


def map_config(root: Node, source: str) -> Mapped:
    """Translate the tree of a config.json; its root is an object."""
    found = _family(root, source)
    if isinstance(found, Diagnostic):
        return Mapped(None, root, (), {}, {}, [found])
    assert root.entries is not None
    named = root.entries.get("model_type")
    home = named.value.span if named is not None else root.span
    ignored: list[str] = []
    mistakes: list[Diagnostic] = []
    node = root
    tied: Reader | None = None
    if found.inside:
        outer = Reader(root, source, home, {"tie_word_embeddings": None})
        mistakes = outer.mistakes
        inner = outer.block(found.inside)
        tied = outer if outer.has("tie_word_embeddings") else None
        _leftovers(outer, found, ignored, found.outside)
        node = root.entries[found.inside].value if inner is not None else Node(root.span, entries={})
    defaults = {key: row[-1] for key, row in found.fields.items()} | dict(found.defaults)
    path = f"{found.inside}." if found.inside else ""
    read = Reader(node, source, home, defaults, aliases=found.aliases, path=path)
    read.mistakes.extend(mistakes)
    read.keys.update({names[0]: f"{path}{key}" for key, (*names, _) in found.fields.items()})
    for field, value in found.always.items():
        read.put(field, value)
    for key, (*names, _) in found.fields.items():
        _transfer(read, key, names)
    if tied is not None:
        tied.fields, tied.keys = read.fields, read.keys
        _transfer(tied, "tie_word_embeddings", ["tie_weights"])
        read.mistakes.extend(each for each in tied.mistakes if each not in read.mistakes)
    for compute in found.compute:
        compute(read)
    _check_musts(read, {**EVERYWHERE, **found.musts})
    _leftovers(read, found, ignored, frozenset())
    assumed = _assumed(read, found, home)
    _leave_out_what_follows(read)
    whole = tree(_in_order(read.fields), root.span, home)
    return Mapped(found, whole, tuple(ignored), assumed, read.keys, read.mistakes)


def not_an_object(root: Node | None, source: Source) -> Diagnostic:
    """Say that a document is not ``{"key": value, …}``."""
    if root is None or (root.scalar is None and root.items is None):
        message = "there is no config here: nothing at all"
        return diagnostic("empty-document", message, source.name, help="a config.json is an object with a model_type")
    message = f"a config.json is an object, and this is {'a list' if root.items is not None else 'a single value'}"
    return diagnostic("not-a-mapping", message, source.name, root.span, help='it looks like {"model_type": "llama", …}')


def _family(root: Node, source: str) -> Family | Diagnostic:
    assert root.entries is not None
    named = root.entries.get("model_type")
    if named is None or (named.value.scalar is None and named.value.entries is None and named.value.items is None):
        place = root.span._replace(text="")
        message = "model_type is missing: it names the family of the model"
        return diagnostic("missing-key", message, source, place, field="model_type", help=_by_architecture(root))
    value = named.value
    if isinstance(value.scalar, str) and value.scalar in BY_TYPE:
        return BY_TYPE[value.scalar]
    if not isinstance(value.scalar, str):
        message = "model_type must be the name of a family, in quotes"
        return diagnostic("wrong-type", message, source, value.span, field="model_type", help='for example "llama"')
    return _unknown_family(value, root.entries.keys(), source)


def _unknown_family(value: Node, keys: Collection[str], source: str) -> Diagnostic:
    """Say that a family is not read; one that is real, or has keys of its own, is not taken for another misspelled."""
    name = str(value.scalar)
    help_ = f"the families read are {', '.join(sorted(BY_TYPE))}"
    if name in UNREAD:
        message = f"{name} is a family that tinylm does not read"
    else:
        message = f"no family that tinylm reads is called {clip(name) or 'nothing'}"
        meant = _misspelled(name, keys)
        help_ = f"did you mean {meant}? {help_}" if meant else help_
    return diagnostic("unknown-family", message, source, value.span, field="model_type", help=help_)


def _misspelled(name: str, keys: Collection[str]) -> str | None:
    """Return the family that was meant: letters may be wrong, and another number is another family."""
    meant = suggest(name, BY_TYPE, _NEAR_FAMILY)
    if meant is None or _numbers(name) != _numbers(meant):
        return None
    family = BY_TYPE[meant]
    return None if (SIGNS & set(keys)) - family.outside - {family.inside} else meant


def _numbers(name: str) -> list[str]:
    return re.findall(r"[0-9]+", name)


def _by_architecture(root: Node) -> str:
    entry = (root.entries or {}).get("architectures")
    names = [item.scalar for item in entry.value.items or []] if entry is not None else []
    for family in FAMILIES:
        stem = family.architecture.removesuffix("ForCausalLM").removesuffix("LMHeadModel")
        if family.architecture in names or any(isinstance(n, str) and n == f"{stem}Model" for n in names):
            return (
                f'{family.architecture} is of the family {family.model_type}: add "model_type": "{family.model_type}"'
            )
    named = next((name for name in names if isinstance(name, str)), None)
    if named is not None:
        return f"{clip(named)} is of no family that tinylm reads; those are {', '.join(sorted(BY_TYPE))}"
    return f'add "model_type": "llama", or another of {", ".join(sorted(BY_TYPE))}'


def _transfer(read: Reader, key: str, names: list[str]) -> None:
    """Put the value of ``key`` into the fields ``names``."""
    field = fields()[names[0]]
    if field.kind == "choice":
        activation(read, key, names[0])
        return
    value: Any
    if field.kind == "boolean":
        value = read.flag(key)
    elif field.kind == "integer":
        value = read.integer(key, least=0)
    else:
        value = read.number(key)
        value = float(value) if value is not None else None
    if value is None and not _optional(names[0]):
        if not read.has(key):
            read.not_null(key, field.wants)
        for name in names:
            read.put(name, None, key)
        return
    for name in names:
        read.put(name, value, key)


def _optional(name: str) -> bool:
    block, _, last = name.rpartition(".")
    info = (BLOCKS[block] if block else ModelConfig).model_fields[last]
    return not info.is_required() and info.default is None


def _check_musts(read: Reader, musts: Mapping[str, Must]) -> None:
    for key, must in musts.items():
        if not read.has(key):
            continue
        value = read.value_of(key)
        if not any(type(value) is type(each) and value == each for each in must.values):
            allowed = " or ".join(_written(each) for each in must.values)
            remedy = f"only {read.name_of(key)}: {allowed} can be described" if allowed else f"only without {key}"
            read.unsupported(key, must.why, remedy)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


def _leftovers(read: Reader, family: Family, ignored: list[str], also: frozenset[str]) -> None:
    """Sort the keys that nothing has read into harmless ones and unknown ones."""
    harmless = HARMLESS | family.ignored | also
    known = read.understood | set(family.aliases)
    guesses = 0
    for key, entry in read.leftovers().items():
        nothing = entry.value.plain() is None and not entry.value.reported
        if key in harmless or key.startswith("_") or nothing:
            if key != "model_type":
                ignored.append(key)
            continue
        guesses += 1
        near = difflib.get_close_matches(key[:64], known, n=1, cutoff=_NEAR) if guesses <= _MOST_GUESSES else []
        unheard = f"{family.title}, as transformers 5.24 knows it, has no such setting"
        read.unknown(key, entry, f"did you mean {near[0]}?" if near else unheard)


def _assumed(read: Reader, family: Family, home: Span) -> dict[str, int]:
    """Return the sizes that no key of the file says: those whose place is that of the family's name."""
    return {
        name: node.scalar
        for name, node in _in_order(read.fields).items()
        if node.span == home and name not in family.always and isinstance(node.scalar, int) and _is_size(name)
    }


def _is_size(name: str) -> bool:
    return fields()[name].kind == "integer"


def _leave_out_what_follows(read: Reader) -> None:
    """Drop widths that are what they would be if absent, so that they follow an override of what they follow from."""
    width, n_heads = read.value("d_model"), read.value("n_heads")
    per_head = width // n_heads if isinstance(width, int) and isinstance(n_heads, int) and n_heads > 0 else None
    exact = per_head is not None and per_head * n_heads == width
    for field, follows in (
        ("attention.d_head", per_head if exact else None),
        ("attention.n_kv_heads", n_heads),
        ("feed_forward.d_expert", read.value("d_ff")),
    ):
        if follows is not None and read.value(field) == follows:
            read.put(field, None)


def _in_order(found: Mapping[str, Node]) -> dict[str, Node]:
    """Return fields in the order of the schema."""
    return {name: found[name] for name in [*fields(), *found] if name in found}
