"""Which targets can express a model, by the Hugging Face families that express it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import Diagnostic, UnableError
from tinylm_cli.interop.engines import ENGINES, Engine
from tinylm_cli.interop.export_config import ExportedConfig, all_exports, nearest_family
from tinylm_cli.interop.frameworks import FRAMEWORKS
from tinylm_cli.interop.frameworks.framework import Framework, blocking_fields, to_framework
from tinylm_cli.reports.lint import Expression, Target
from tinylm_cli.wording import Setting, Text

_MAX_FIELDS = 5
"""Maximum number of fields in the way that are listed."""


def express_for(loaded: LoadedConfig, targets: Iterable[Target]) -> tuple[Expression, ...]:
    """Return how each target expresses a model, or what stands in the way.

    Args:
        loaded: The config, with the position of each value.
        targets: The targets.
    """
    targets = tuple(targets)
    exports: Sequence[ExportedConfig] = ()
    problems: tuple[Diagnostic, ...] = ()
    if any(target in ENGINES for target in targets):
        try:
            exports = tuple(all_exports(loaded.config))
        except UnableError:
            problems = tuple(_unsupported(loaded))
    return tuple(_expression(loaded, target, exports, problems) for target in targets)


def _expression(
    loaded: LoadedConfig, target: Target, exports: Sequence[ExportedConfig], problems: tuple[Diagnostic, ...]
) -> Expression:
    """Return how one target expresses a model, given the families that express it, or what keeps all of them."""
    if target not in ENGINES:
        return _in_framework(loaded, target, FRAMEWORKS[target])
    if not exports:
        return Expression(target, ENGINES[target].title, "", problems)
    return _expressed(loaded, target, ENGINES[target], exports)


def _in_framework(loaded: LoadedConfig, target: Target, framework: Framework) -> Expression:
    """Return how a framework without classes of transformers expresses a model."""
    fields = blocking_fields(loaded.config, framework)
    remedy = Text("change it with ", Setting("set"), ", if the model may change")
    problems = tuple(
        loaded.diagnostic_at(
            "unsupported-field", field, f"{framework.title} does not support {field} {value}", remedy=remedy
        )
        for field, value in [*fields.items()][:_MAX_FIELDS]
    )
    if problems:
        return Expression(target, framework.title, "", problems)
    changes = to_framework(loaded.config, loaded.name, framework).changes
    found: tuple[Diagnostic, ...] = ()
    if changes:
        message = f"exported to {framework.title} with other fields and the same logits: {'; '.join(changes)}"
        field = changes[0].partition(":")[0]
        found = (loaded.diagnostic_at("rewritten-fields", field, message, severity="warning"),)
    return Expression(target, framework.title, framework.model, found)


def _unsupported(loaded: LoadedConfig) -> Iterator[Diagnostic]:
    """Yield the fields that the nearest Hugging Face family lacks."""
    nearest = nearest_family(loaded.config)
    begin = f"no Hugging Face family can express this model: the nearest, {nearest.family},"
    remedy = Text("change it with ", Setting("set"), ", if the model may change")
    fields = nearest.unsupported_values()
    for field, value in [*fields.items()][:_MAX_FIELDS]:
        yield loaded.diagnostic_at(
            "unsupported-field", field, f"{begin} does not support {field} {value}", remedy=remedy
        )
    if not fields:
        yield loaded.diagnostic_at("unsupported-field", "", f"{begin} {nearest.lacks()}", remedy=remedy)


def _expressed(loaded: LoadedConfig, target: Target, engine: Engine, exports: Sequence[ExportedConfig]) -> Expression:
    """Return how a target expresses a model that some families express."""
    classes = {_class_of(each): each for each in exports}
    found: tuple[Diagnostic, ...] = ()
    if engine.classes is None:
        name, chosen = exports[0].family, exports[0]
    else:
        native = [each for each in classes if each in engine.classes]
        name = native[0] if native else ""
        if not native:
            name, problem = _without_implementation(loaded, engine, [*classes])
            found = (problem,)
        chosen = classes.get(name, exports[0])
    if chosen.changes:
        message = f"exported as {chosen.family}, with other fields and the same logits: {'; '.join(chosen.changes)}"
        field = chosen.changes[0].partition(":")[0]
        found = (*found, loaded.diagnostic_at("rewritten-fields", field, message, severity="warning"))
    if name in engine.ignores_windows:
        found = (*found, *_ignored_windows(loaded, engine))
    return Expression(target, engine.title, name, found, splits_tensors=name not in engine.unsplit)


def _ignored_windows(loaded: LoadedConfig, engine: Engine) -> Iterator[Diagnostic]:
    """Yield a sliding window that an engine ignores, if sequences may be longer."""
    window, max_len = loaded.config.attention.window, loaded.config.max_len
    if window is not None and window < max_len:
        message = f"{engine.title} ignores attention.window {window:,}: after so many tokens, its logits differ"
        remedy = Text("write ", Setting("set", f"max_len={window}"))
        yield loaded.diagnostic_at("ignored-window", "attention.window", message, remedy=remedy)


def _without_implementation(loaded: LoadedConfig, engine: Engine, classes: Sequence[str]) -> tuple[str, Diagnostic]:
    """Return the class that an engine runs with the code of transformers, or an empty name, and the finding."""
    listed = [each for each in classes if each in engine.through_transformers]
    tried = [] if engine.refused is None else [each for each in classes if each not in engine.refused]
    if listed:
        message = f"{engine.title} has no implementation of {listed[0]}: it runs the code of transformers"
        return listed[0], loaded.diagnostic_at("transformers-backend", "", message, severity="warning")
    if tried:
        message = (
            f"{engine.title} does not list {tried[0]}: it tries to run the code of transformers, which may not work"
        )
        return tried[0], loaded.diagnostic_at("transformers-backend", "", message, severity="warning")
    message = f"{engine.title} does not implement {' or '.join(classes[:3])}, which express this model"
    if len(classes) == 1:
        message = f"{engine.title} does not implement {classes[0]}, which expresses this model"
    return "", loaded.diagnostic_at("no-implementation", "", message)


def _class_of(exported: ExportedConfig) -> str:
    (name,) = exported.document["architectures"]
    return str(name)
