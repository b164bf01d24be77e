"""Loading of a config: a preset, a file or stdin with ``--set`` overrides, validated, with the source of each value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import ValidationError

from tinylm_cli.config.amounts import read_field
from tinylm_cli.config.attention_kinds import expand_attention_kinds, qualified
from tinylm_cli.config.base import KIND_NAME
from tinylm_cli.config.blocks import BLOCKS, Position
from tinylm_cli.config.diagnostic_codes import config_error, diagnostic
from tinylm_cli.config.layers import flatten_kinds
from tinylm_cli.config.presets import presets, read_reference, shipped
from tinylm_cli.config.schema import LABELS, ModelConfig, flatten
from tinylm_cli.config.source import STDIN, Source
from tinylm_cli.config.yaml_nodes import Entry, Node, find_entry
from tinylm_cli.config.yaml_reader import read_yaml
from tinylm_cli.errors import Diagnostic, Severity, Span, UsageError
from tinylm_cli.wording import SET, Command, Setting, Text

_NOT_COUNTED = frozenset(
    {
        *LABELS,
        "dropout",
        "norm.eps",
        "feed_forward.activation",
        *(f"position.{name}" for name in Position.model_fields if name not in ("kind", "offset")),
        *("attention.window", "attention.window_pattern", "attention.chunked", "attention.scale_latents"),
        *(f"attention.temperature_{name}" for name in ("scale", "len", "offset", "growth")),
        *("attention.logit_softcap", "head.logit_softcap"),
    }
)
"""Fields that never change the parameter count; ``max_len`` does with learned positions."""

_DEPTH = 2
_KIND_DEPTH = 4
"""Most dots at which an override's key is split: no field is deeper, and a further one is part of an unknown key."""


class LoadedConfig(NamedTuple):
    """A valid config and the source of its values.

    Attributes:
        name: The config's ``name``; else the preset's name, or the file's stem.
        source: The preset's name, the path as given, or ``<stdin>``.
        config: The validated config. ``nominal_params`` and its tolerance are dropped if an override changes the
            parameter count.
        origins: The place of each dotted field in its source, including fields of layer kinds; None for a default.
        left_out: A sentence about the parts of a multimodal model that the config leaves out; empty if there are none.
        other_params: Parameters of those parts, by name, if they are counted.
        ignored_keys: Keys of a Hugging Face config that are left out, each with the reason, of ``interop.key_effects``.
        unread_storage: Sentences about the parts of a ``quantization_config`` that are not understood.
        family: ``model_type`` of the family of a Hugging Face config; empty for a tinylm config.
    """

    name: str
    source: str
    config: ModelConfig
    origins: dict[str, Span | None]
    left_out: str = ""
    other_params: Mapping[str, int] = MappingProxyType({})
    ignored_keys: Mapping[str, str] = MappingProxyType({})
    unread_storage: tuple[str, ...] = ()
    family: str = ""

    def diagnostic_at(
        self, code: str, field: str, message: str, *, remedy: str = "", severity: Severity = "error"
    ) -> Diagnostic:
        """Return a diagnostic at the value of a field, or about the entire config if it does not state the field."""
        span = self.origins.get(field)
        source = self.source if span is None else span.source
        return diagnostic(code, message, source, span, field=field, help=remedy, severity=severity)


def load_yaml_config(reference: str, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Load a built-in config by name, a YAML file by path, or standard input by ``-``, with overrides on top.

    Raises:
        ConfigError: If the text or an override is invalid; it lists every error.
        InputError: If nothing can be read under that name.
        UsageError: If an override is not ``key=value``.
    """
    return parse_config(read_reference(reference), overrides)


def load_presets(overrides: Sequence[str] = ()) -> list[LoadedConfig]:
    """Load every preset, in order."""
    return [load_yaml_config(name, overrides) for name in presets()]


def parse_config(source: Source, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Validate the text of a config; see ``load_yaml_config``."""
    document = read_yaml(source)
    errors = document.diagnostics
    root = document.root
    if root is None or (root.entries is None and root.scalar is None and root.items is None):
        if not overrides:
            help_ = Text(Command("new", ("NAME",)), " writes a starting config")
            raise config_error([*errors, diagnostic("empty-document", "the config is empty", source.name, help=help_)])
        root = Node(source.span(0, 0), entries={})
    if root.entries is None:
        from tinylm_cli.config.syntax_errors import not_a_mapping

        raise config_error([*errors, not_a_mapping(root)])
    return resolve_config(root, _model_name(source.path), source.name, errors, overrides)


def resolve_config(
    root: Node,
    name: str,
    source: str,
    errors: list[Diagnostic],
    overrides: Sequence[str] = (),
    keys: Mapping[str, str] | None = None,
) -> LoadedConfig:
    """Validate a tree of fields, with overrides on top.

    Args:
        root: A mapping.
        name: Name of the model unless the config has one.
        source: Name of the source.
        errors: Diagnostics found so far.
        overrides: Each ``key=value``.
        keys: The file's key of each dotted field, for another library's config.

    Raises:
        ConfigError: If anything is invalid; it lists every error.
        UsageError: If an override is not ``key=value``.
    """
    file_fields = flatten(root.plain())
    for override in overrides:
        _apply(override, root, errors)
    errors += expand_attention_kinds(root)
    if overrides:
        _drop_superseded(file_fields, root)
    plain = root.plain()
    try:
        config = ModelConfig.model_validate(plain)
    except ValidationError as error:
        from tinylm_cli.config.validation_errors import diagnose

        errors += diagnose(error, root, plain, source, keys or {})
    if errors:
        raise config_error(errors)
    if overrides and not _nominal_params_apply(file_fields, root, config):
        config = _without_nominal_params(config, root)
    dumped = flatten(config.model_dump())
    names = (*dumped, *flatten_kinds(dumped["layers.kinds"]))
    entries = {name: find_entry(root, name.split(".", _KIND_DEPTH)) for name in names}
    origins = {name: entry.value.span if entry is not None else None for name, entry in entries.items()}
    return LoadedConfig(config.name or name, source, config, origins)


def _apply(override: str, root: Node, errors: list[Diagnostic]) -> None:
    """Set one ``key=value`` in the tree; the value is parsed as YAML. A block set to null is removed."""
    key, equals, value = override.partition("=")
    if not equals or not key.strip() or not key.isprintable():
        message = Text(Setting("set"), f" {override}: expected key=value")
        raise UsageError(message, help=Text("for example ", Setting("set", "n_layers=8")))
    if len(value.strip().splitlines()) > 1:
        message = Text(Setting("set"), f" {key}: the value spans several lines")
        raise UsageError(message, help=Text("set one field per ", Setting("set")))
    source, name = Source(SET, value, line_text=override, shift=len(key) + 1), qualified(key.strip(), value)
    key_span = Span(SET, 1, 1, len(key) + 1, override)
    if _is_text(name, value):
        node: Node | None = Node(source.span(0, len(value)), scalar=value, written=value, quoted=True)
    else:
        document = read_yaml(source)
        errors.extend(document.diagnostics)
        node = document.root
        if node is not None and isinstance(node.scalar, str) and not node.quoted:
            amount = read_field(node.scalar, name)
            node.scalar = node.scalar if amount is None else amount
    depth = _KIND_DEPTH if name.startswith("layers.kinds.") else _DEPTH
    *blocks, last = name.split(".", depth)
    entries = root.entries
    for block in blocks:
        assert entries is not None
        entry = entries.get(block)
        if entry is None or (entry.value.entries is None and block not in BLOCKS):
            entry = entries[block] = Entry(key_span, Node(key_span, entries={}))
        entries = entry.value.entries
        if entries is None:
            return  # the diagnostic about this block is enough
    assert entries is not None
    if not blocks and last in (*BLOCKS, "layers") and node is not None and node.written == "null" and not node.quoted:
        entries.pop(last, None)  # back to the defaults
        return
    entries[last] = Entry(key_span, node or Node(Span(SET, 1, len(key) + 2, len(key) + 3, override)))


def _is_text(name: str, value: str) -> bool:
    """Return whether an override sets a text field to an unquoted value, which may contain ``: ``."""
    from tinylm_cli.config.fields import fields

    field = fields().get(name)
    return field is not None and field.kind == "text" and value[:1] not in ("", "'", '"') and value != "null"


def _drop_superseded(file_fields: Mapping[str, Any], root: Node) -> None:
    """Drop fields of the file that an override of another field makes ineffective.

    With ``attention.kind=latent``, ``n_kv_heads: 8`` of the file is dropped: latent attention has no KV heads. With
    ``layers.pattern=full``, the other kinds of layers are dropped.
    """
    _drop_unused_kinds(file_fields, root)
    from tinylm_cli.config.dependencies import FLAT_REQUIREMENTS, REQUIREMENTS, defaults

    before, now = {**defaults(), **file_fields}, {**defaults(), **flatten(root.plain())}
    requirements = {**REQUIREMENTS, "tie_weights": FLAT_REQUIREMENTS["tie_weights"]}
    for name in file_fields.keys() & requirements.keys():
        entry = find_entry(root, name.split("."))
        if entry is not None and entry.value.span.source != SET:
            needs = [need for need in requirements[name] if need.field in now]
            if any(need.met(before.get(need.field)) and not need.met(now[need.field]) for need in needs):
                _remove(root, name)


def _drop_unused_kinds(file_fields: Mapping[str, Any], root: Node) -> None:
    """Drop the kinds of layers that the file lists, but the overridden sequences do not, with fields for them alone."""
    from tinylm_cli.config.dependencies import REQUIREMENTS, defaults

    parts = ("layers.first", "layers.pattern", "layers.last")
    entries = {part: find_entry(root, part.split(".")) for part in parts}
    if not any(entry is not None and entry.value.span.source == SET for entry in entries.values()):
        return
    block = find_entry(root, ["layers", "kinds"])
    kinds = {} if block is None or block.value.entries is None else block.value.entries
    before = {name for part in parts for name in _kind_names(file_fields.get(part))}
    now = {name for entry in entries.values() if entry is not None for name in _kind_names(entry.value.scalar)}
    if not now <= kinds.keys():
        return
    common = {**defaults(), **flatten(root.plain())}
    fields = {name: {**common, **flatten(entry.value.plain() or {})} for name, entry in kinds.items()}
    dropped = {name for name in before - now if name in kinds and kinds[name].value.span.source != SET}
    for name in dropped:
        del kinds[name]
    for name in file_fields.keys() & REQUIREMENTS.keys():
        effective = {
            kind for kind in fields if all(need.met(fields[kind].get(need.field)) for need in REQUIREMENTS[name])
        }
        if effective and effective <= dropped:
            _remove(root, name)


def _kind_names(sequence: object) -> list[str]:
    return re.findall(KIND_NAME, sequence) if isinstance(sequence, str) else []


def _remove(root: Node, name: str) -> None:
    """Remove a dotted field from the tree, if it is there."""
    block, _, last = name.rpartition(".")
    parent = find_entry(root, [block]) if block else None
    entries = root.entries if not block else parent.value.entries if parent is not None else None
    (entries or {}).pop(last, None)


def _nominal_params_apply(file_fields: dict[str, Any], root: Node, config: ModelConfig) -> bool:
    """Return whether ``nominal_params`` is an override itself, or no override changes the parameter count."""
    from tinylm_cli.config.fields import fields

    entry = find_entry(root, ["nominal_params"])
    if entry is None or entry.value.span.source == SET:
        return True
    uncounted = _NOT_COUNTED if config.position.kind == "learned" else _NOT_COUNTED | {"max_len"}
    now, known = flatten(root.plain()), fields()
    counted = (name for name in known if name not in uncounted)
    return all(now.get(name, known[name].default) == file_fields.get(name, known[name].default) for name in counted)


def _without_nominal_params(config: ModelConfig, root: Node) -> ModelConfig:
    """Remove ``nominal_params`` and ``budget.nominal_tolerance`` from the tree and the config."""
    _remove(root, "nominal_params")
    _remove(root, "budget.nominal_tolerance")
    budget = config.budget.model_copy(update={"nominal_tolerance": None})
    return config.model_copy(update={"nominal_params": None, "budget": budget})


def _model_name(source: str) -> str:
    if source in shipped():  # names have dots: qwen3-0.6b
        return source
    return "stdin" if source == STDIN else Path(source).stem
