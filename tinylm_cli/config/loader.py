"""Loading of a config: a preset, a file or stdin with ``--set`` overrides, validated, with the source of each value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from tinylm_cli.config.attention_kinds import expand_attention_kind
from tinylm_cli.config.blocks import BLOCKS, Position
from tinylm_cli.config.diagnostic_codes import diagnostic, refusal
from tinylm_cli.config.fields import fields
from tinylm_cli.config.presets import presets, read_reference, shipped
from tinylm_cli.config.schema import LABELS, ModelConfig, flatten
from tinylm_cli.config.source import STDIN, Source
from tinylm_cli.config.yaml_nodes import Entry, Node
from tinylm_cli.config.yaml_reader import read_yaml
from tinylm_cli.errors import SET, Diagnostic, Span, UsageError

_NOT_COUNTED = frozenset(
    {
        *LABELS,
        "dropout",
        "norm.eps",
        "feed_forward.activation",
        *(f"position.{name}" for name in Position.model_fields if name not in ("kind", "offset")),
        *("attention.window", "attention.window_pattern", "attention.logit_softcap", "head.logit_softcap"),
    }
)
"""Fields that never change the parameter count; ``max_len`` does with learned positions."""


class LoadedConfig(NamedTuple):
    """A valid config and the source of its values.

    Attributes:
        name: The config's ``name``; else the preset's name, or the file's stem.
        source: The preset's name, the path as given, or ``<stdin>``.
        config: The validated config. ``nominal_params`` and its tolerance are dropped if an override changes the
            parameter count.
        origins: The place of each dotted field in its source; None for a default.
    """

    name: str
    source: str
    config: ModelConfig
    origins: dict[str, Span | None]


def load_yaml_config(reference: str, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Load a shipped config by name, a YAML file by path, or standard input by ``-``, with overrides on top.

    Raises:
        ConfigError: If the text or an override is wrong; holds every mistake found.
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
    mistakes = document.diagnostics
    root = document.root
    if root is None or (root.entries is None and root.scalar is None and root.items is None):
        if not overrides:
            raise refusal([*mistakes, _empty(source)])
        root = Node(source.span(0, 0), entries={})
    if root.entries is None:
        from tinylm_cli.config.syntax_errors import not_a_mapping

        raise refusal([*mistakes, not_a_mapping(root)])
    return resolve_config(root, _model_name(source.path), source.name, mistakes, overrides)


def resolve_config(
    root: Node,
    name: str,
    source: str,
    mistakes: list[Diagnostic],
    overrides: Sequence[str] = (),
    keys: Mapping[str, str] | None = None,
) -> LoadedConfig:
    """Validate a tree of fields, with overrides on top.

    Args:
        root: A mapping.
        name: Name of the model unless the config has one.
        source: Name of the source.
        mistakes: Diagnostics found so far.
        overrides: Each ``key=value``.
        keys: The file's key of each dotted field, for another library's config.

    Raises:
        ConfigError: If anything is wrong; holds every mistake found.
        UsageError: If an override is not ``key=value``.
    """
    written = flatten(root.plain())
    for override in overrides:
        _apply(override, root, mistakes)
    contradiction = expand_attention_kind(root)
    if contradiction is not None:
        mistakes.append(contradiction)
    if overrides:
        _drop_superseded(written, root)
    config, found = _validate(root, source, keys or {})
    mistakes.extend(found)
    if config is None or mistakes:
        raise refusal(mistakes)
    if overrides and not _nominal_params_apply(written, root, config):
        config = _without_nominal_params(config, root)
    return LoadedConfig(config.name or name, source, config, _origins(root, config))


def _apply(override: str, root: Node, mistakes: list[Diagnostic]) -> None:
    """Set one ``key=value`` in the tree; the value is parsed as YAML."""
    key, equals, value = override.partition("=")
    if not equals or not key.strip() or not key.isprintable():
        raise UsageError(f"--set {override}: expected key=value", help="for example --set n_layers=8")
    if len(value.strip().splitlines()) > 1:
        raise UsageError(f"--set {key}: the value spans several lines", help="set one field per --set")
    source = Source(SET, value, line_text=override, shift=len(key) + 1)
    key_span = Span(SET, 1, 1, len(key) + 1, override)
    if _is_text(key.strip(), value):
        text = Node(source.span(0, len(value)), written=value, quoted=True)
        text.scalar = value
        node: Node | None = text
    else:
        document = read_yaml(source)
        mistakes.extend(document.diagnostics)
        node = document.root
    node = node or Node(Span(SET, 1, len(key) + 2, len(key) + 3, override))
    *blocks, last = key.strip().split(".", 2)  # never deeper than the schema
    target = root
    for block in blocks:
        assert target.entries is not None
        entry = target.entries.get(block)
        if entry is None or (entry.value.entries is None and block not in BLOCKS):
            entry = target.entries[block] = Entry(key_span, Node(key_span, entries={}))
        if entry.value.entries is None:
            return  # the diagnostic about this block is enough
        target = entry.value
    assert target.entries is not None
    target.entries[last] = Entry(key_span, node)


def _is_text(name: str, value: str) -> bool:
    """Return whether an override sets a text field to an unquoted value, which may contain ``: ``."""
    field = fields().get(name)
    return field is not None and field.kind == "text" and value[:1] not in ("", "'", '"') and value != "null"


def _drop_superseded(written: Mapping[str, Any], root: Node) -> None:
    """Drop the fields of the file that had an effect and lose it because an override changed another field.

    ``attention.kind=latent`` on a file with ``n_kv_heads: 8`` is latent attention, which has no such field.

    Args:
        written: Dotted fields as the file has them, before any override.
        root: The tree with the overrides in it.
    """
    from tinylm_cli.config.dependencies import REQUIREMENTS, defaults

    now = {**defaults(), **flatten(root.plain())}
    before = {**defaults(), **written}
    for name in written.keys() & REQUIREMENTS.keys():
        block, _, last = name.rpartition(".")
        entry = (root.entries or {}).get(block)
        node = entry.value if entry is not None and entry.value.entries is not None else None
        if node is None or node.entries is None or last not in node.entries:
            continue
        if node.entries[last].value.span.source != SET and any(
            need.field in now and need.met(before[need.field]) and not need.met(now[need.field])
            for need in REQUIREMENTS[name]
        ):
            del node.entries[last]


def _validate(root: Node, source: str, keys: Mapping[str, str]) -> tuple[ModelConfig | None, list[Diagnostic]]:
    """Validate every field, and every rule between valid fields."""
    plain = root.plain()
    try:
        return ModelConfig.model_validate(plain), []
    except ValidationError as error:
        from tinylm_cli.config.validation_errors import diagnose

        return None, diagnose(error, root, plain, source, keys)


def _nominal_params_apply(written: dict[str, Any], root: Node, config: ModelConfig) -> bool:
    """Return whether ``nominal_params`` still applies: it is an override, or no override changes the parameter count.

    Args:
        written: Dotted fields as the file has them, before any override.
        root: The tree with the overrides in it.
        config: The config it gives.
    """
    entry = root.entries.get("nominal_params") if root.entries is not None else None
    if entry is None or entry.value.span.source == SET:
        return True
    uncounted = _NOT_COUNTED if config.position.kind == "learned" else _NOT_COUNTED | {"max_len"}
    now = flatten(root.plain())
    return all(
        now.get(name, field.default) == written.get(name, field.default)
        for name, field in fields().items()
        if name not in uncounted
    )


def _without_nominal_params(config: ModelConfig, root: Node) -> ModelConfig:
    """Remove ``nominal_params`` and ``budget.nominal_tolerance`` from the tree and the config."""
    assert root.entries is not None
    root.entries.pop("nominal_params", None)
    budget = root.entries.get("budget")
    if budget is not None and budget.value.entries is not None:
        budget.value.entries.pop("nominal_tolerance", None)
    left = config.budget.model_copy(update={"nominal_tolerance": None})
    return config.model_copy(update={"nominal_params": None, "budget": left})


def _origins(root: Node, config: ModelConfig) -> dict[str, Span | None]:
    origins: dict[str, Span | None] = {}
    for name in flatten(config.model_dump()):
        node: Node | None = root
        for part in name.split("."):
            entry = node.entries.get(part) if node is not None and node.entries is not None else None
            node = entry.value if entry is not None else None
        origins[name] = node.span if node is not None else None
    return origins


def _empty(source: Source) -> Diagnostic:
    return diagnostic(
        "empty-document", "the config is empty", source.name,
        help="tinylm new NAME writes one to start from",
    )  # fmt: skip


def _model_name(source: str) -> str:
    if source in shipped():  # names have dots: qwen3-0.6b
        return source
    return "stdin" if source == STDIN else Path(source).stem
