"""Translate the tree of a config.json into the tree of the tinylm config of the same model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from tinylm_cli.config.diagnostic_codes import diagnostic
from tinylm_cli.config.fields import field_of, fields
from tinylm_cli.config.source import Source
from tinylm_cli.config.yaml_nodes import Node
from tinylm_cli.errors import Diagnostic
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.family_lookup import find_family
from tinylm_cli.interop.heads import read_head
from tinylm_cli.interop.key_validation import report_unknown, validate_keys
from tinylm_cli.interop.shared_keys import ACTIVATIONS, Keys, filled_fields
from tinylm_cli.interop.storage import StorageKeys, read_storage
from tinylm_cli.interop.translation import Translation, as_tree


class Mapped(NamedTuple):
    """A config.json translated to a tinylm config."""

    family: Family | None  # Its family; None if it is unknown, which ``errors`` reports.
    root: Node  # The tree of the tinylm config.
    errors: list[Diagnostic]  # Errors in the file, and values that a tinylm config cannot express.
    ignored: tuple[str, ...] = ()  # Keys without effect on the model; see ``Translation``.
    assumed: Mapping[str, int] = {}  # The family's defaults of sizes that the file does not set, by dotted field.
    keys: Mapping[str, str] = {}  # The key that each tinylm field is copied from, by dotted field.
    storage: StorageKeys = StorageKeys()  # What the file states about the storage of weights, beside fields.


def map_config(root: Node, source: str, overridden: Collection[str] = ()) -> Mapped:
    """Translate the tree of a config.json.

    Args:
        root: The root object.
        source: Name of the file.
        overridden: tinylm fields set by overrides; an invalid key that maps only to these is not reported.
    """
    family = find_family(root, source)
    if isinstance(family, Diagnostic):
        return Mapped(None, root, [family])
    to = validate_keys(root, family, source, overridden)
    _translate(family.keys, to)
    read_head(root, family, to, overridden="head.kind" in overridden)
    storage = read_storage(root, family.keys.language_model_key, to)
    report_unknown(family, to)
    _report_withheld(to, overridden)
    assumed = _assumed(to, family.keys)
    _drop_derived_defaults(to)
    tree = as_tree(_in_order(to.fields), root.span, to.family_span)
    return Mapped(family, tree, to.errors, tuple(to.ignored), assumed, to.keys, storage)


def not_an_object(root: Node | None, source: Source) -> Diagnostic:
    """Return the diagnostic of a document that is not ``{"key": value, …}``."""
    if root is None or (root.scalar is None and root.items is None):
        message = "the config is empty"
        return diagnostic("empty-document", message, source.name, help="a config.json is an object with a model_type")
    message = f"a config.json must be an object, not {'a list' if root.items is not None else 'a single value'}"
    return diagnostic("not-a-mapping", message, source.name, root.span, help='for example {"model_type": "llama", …}')


def _translate(keys: type[Keys], to: Translation) -> None:
    """Set the tinylm fields: the family's constants, then copied keys, then those that depend on several keys."""
    for field, value in keys.constants.items():
        to.put(field, value)
    for key, info in keys.model_fields.items():
        for field in filled_fields(keys, key):
            value = getattr(to.values, key)
            if value is None and (fields()[field].required or fields()[field].default is not None):
                value = info.default
            to.put(field, ACTIVATIONS[value] if field == "feed_forward.activation" else value, key)
    to.values.to_tinylm(to)


def _report_withheld(to: Translation, overridden: Collection[str]) -> None:
    """Report the invalid keys whose own fields are overridden, but from which the file derives other fields."""
    derived = {
        key
        for field, node in to.fields.items()
        if node.reported and field not in overridden
        for key in to.derived_from.get(field, ())
    }
    for key, found in to.withheld.items():
        if key in derived:
            to.errors += found


def _assumed(to: Translation, keys: type[Keys]) -> dict[str, int]:
    """Return the sizes that no key of the file sets; their position is the family name's."""
    return {
        name: node.scalar
        for name, node in _in_order(to.fields).items()
        if node.span == to.family_span
        and name not in keys.constants
        and isinstance(node.scalar, int)
        and field_of(name).kind == "integer"
    }


def _drop_derived_defaults(to: Translation) -> None:
    """Drop sizes equal to their tinylm defaults, so that they follow overrides of d_model, n_heads and d_ff.

    A size is kept if a kind of layers has another number of heads or width, from which its default would follow.
    """
    d_model, n_heads = to.get("d_model"), to.get("n_heads")
    d_head = d_model // n_heads if isinstance(d_model, int) and isinstance(n_heads, int) and n_heads > 0 else None
    is_exact = d_head is not None and d_head * n_heads == d_model
    of_kinds = {name.rpartition(".")[2] for name in to.fields if name.startswith("layers.kinds.")}
    for field, default, source in (
        ("attention.d_head", d_head if is_exact else None, "n_heads"),
        ("attention.n_kv_heads", n_heads, "n_heads"),
        ("feed_forward.d_expert", to.get("d_ff"), "d_ff"),
    ):
        if default is not None and to.get(field) == default and source not in of_kinds:
            to.put(field, None)


def _in_order(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Return fields in schema order."""
    return {name: nodes[name] for name in [*fields(), *nodes] if name in nodes}
