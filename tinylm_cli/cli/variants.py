"""The models of ``tinylm compare``, and the completed command if a change requires further changes."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tinylm_cli.cli.wording import as_options, worded
from tinylm_cli.config.fields import fields
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.errors import ConfigError, Diagnostic, Span, UsageError
from tinylm_cli.interop.key_effects import KeyPolicy
from tinylm_cli.interop.load import READ_ALL, ConfigText, parse_config_text, read_config_text
from tinylm_cli.interop.variants import Variant, distinct_names, parse_variant, require_few_kinds, require_few_models
from tinylm_cli.shell_quoting import shell_join
from tinylm_cli.wording import SET, Setting

_PROPOSAL = re.compile(r"([a-z_]+(?:\.[a-z_]+)*)(?:: |=)([^\s,]+)")
"""Matches fields and values in the help of a diagnostic: ``position.kind: rope, or attention.kind: multi_head``."""

_MEANT = re.compile(r"did you mean (\S+)\?")

MAX_COMPLETING_CHANGES = 3
"""Maximum number of further changes tried to make an invalid change valid."""


def parse_variants(arguments: Sequence[str], overrides: Sequence[str]) -> list[Variant]:
    """Parse the arguments of ``tinylm compare``.

    ``A@key=value`` is A with that change, ``@key=value`` the first model with it. With several models, overrides apply
    to each. A single model is compared with its overridden variant or, without overrides, with its unchanged config.

    Raises:
        InputError: If there is nothing to compare the first model with, and it cannot be read either.
        UsageError: If there is nothing to compare, or more than ``MAX_COMPARED`` models.
    """
    require_few_models(len(arguments))
    first, *others = arguments
    base = parse_variant(first, Variant(""))
    if not base.reference:
        raise UsageError(f"{first} has no model", help=f"write the model before the change: small{first}")
    if others:
        variants = (base, *(parse_variant(argument, base) for argument in others))
        return [variant._replace(shared=tuple(overrides)) for variant in variants]
    if not overrides and base.changes:
        return [Variant(base.reference), base]
    if not overrides:
        read_config_text(base.reference)  # a config that cannot be read is the first error to correct
        suggested = shell_join(("tinylm", "compare", base.reference, "@n_layers=8"))
        raise UsageError(f"nothing to compare {first} with", help=f"add another model or a change: {suggested}")
    return [base, Variant(base.reference, (*base.changes, *overrides), n_set=len(overrides))]


def load_variants(variants: Sequence[Variant], policy: KeyPolicy = READ_ALL) -> list[LoadedConfig]:
    """Load each model under a distinct name; each file is read once.

    Args:
        variants: The models.
        policy: Which keys of Hugging Face configs to leave out.

    Raises:
        ConfigError: If configs or changes are invalid; holds the errors of all of them. If a change requires
            further ones, its help shows the complete command.
        InputError: If a config cannot be read.
        UsageError: If a change is not ``key=value``.
    """
    references = dict.fromkeys(each.reference for each in variants)
    texts = {reference: read_config_text(reference)._replace(policy=policy) for reference in references}
    errors: dict[Diagnostic, None] = {}
    loaded = []
    for index, variant in enumerate(variants):
        try:
            loaded.append(parse_config_text(texts[variant.reference], variant.all_changes))
            require_few_kinds(each.config for each in loaded)
        except ConfigError as error:
            completed = _completed(texts[variant.reference], variant, error)
            command = _command([*variants[:index], completed, *variants[index + 1 :]]) if completed else ""
            errors |= dict.fromkeys(_as_typed(each, variant, command) for each in error.diagnostics)
    if errors:
        raise ConfigError(tuple(errors))
    names = distinct_names(variants, [each.name for each in loaded])
    return [each._replace(name=name) for each, name in zip(loaded, names, strict=True)]


def _completed(text: ConfigText, variant: Variant, error: ConfigError) -> Variant | None:
    """Return the variant made valid with the fewest further changes that its diagnostics propose, or None."""
    queue = deque([(variant, error)])
    while queue:
        partial, error = queue.popleft()
        for more in _repairs(error, partial):
            try:
                parse_config_text(text, more.all_changes)
            except ConfigError as unfinished:
                if len(more.changes) - len(variant.changes) < MAX_COMPLETING_CHANGES:
                    queue.append((more, unfinished))
            else:
                return more
    return None


def _repairs(error: ConfigError, variant: Variant) -> Iterator[Variant]:
    """Yield the variant with each change that a diagnostic proposes: another field's value, or a corrected value."""
    changed = {change.partition("=")[0].strip(): change for change in variant.changes}
    for each in error.diagnostics if changed else ():
        remedy = worded(each.help)
        proposed = dict(_PROPOSAL.findall(remedy))
        if each.code == "unknown-choice" and each.field in changed:
            meant = _MEANT.search(remedy)
            proposed |= {each.field: meant[1]} if meant else {}
            if each.field in proposed:
                yield _with(variant, proposed, instead_of=changed[each.field])
            continue
        for field, value in proposed.items():
            if field in fields() and field not in changed:
                yield _with(variant, {field: value})


def _with(variant: Variant, proposed: Mapping[str, str], instead_of: str = "") -> Variant:
    """Return the variant with more changes, in the form (``@`` or ``--set``) of its other changes."""
    kept = tuple(change for change in variant.changes if change != instead_of)
    added = tuple(f"{field}={value}" for field, value in proposed.items())
    n_set = len(kept) + len(added) if variant.n_set == len(variant.changes) else variant.n_set
    at = len(kept) if n_set > variant.n_set else len(kept) - n_set
    return variant._replace(changes=(*kept[:at], *added, *kept[at:]), n_set=n_set)


def _command(variants: Iterable[Variant]) -> str:
    """Return the command that compares the variants."""
    variants = list(variants)
    overrides = variants[0].shared or variants[-1].changes[len(variants[-1].changes) - variants[-1].n_set :]
    first, *others = variants
    arguments = [first.argument]
    for variant in others:
        is_first_changed = variant.argument.startswith(f"{first.argument}@")
        if not variant.n_set:
            arguments.append(variant.argument.removeprefix(first.argument) if is_first_changed else variant.argument)
    options = [word for override in overrides for word in ("--set", override)]
    return shell_join(("tinylm", "compare", *arguments, *options))


def _as_typed(error: Diagnostic, variant: Variant, command: str) -> Diagnostic:
    """Return a diagnostic that shows ``@`` changes as typed, with ``command``, if any, as the help."""
    span = error.span and _after_at(error.span, variant)
    labels = tuple(label._replace(span=_after_at(label.span, variant)) for label in error.labels)
    help_ = worded(error.help).replace(f"{as_options(Setting('set'))} ", "@") if span != error.span else error.help
    source = span.source if span and error.span and error.source == error.span.source else error.source
    return error._replace(source=source, span=span, labels=labels, help=command or help_)


def _after_at(span: Span, variant: Variant) -> Span:
    typed = variant.changes[: len(variant.changes) - variant.n_set]
    if span.source != SET or span.text not in typed:
        return span
    return span._replace(source="MODEL", column=span.column + 1, end_column=span.end_column + 1, text=f"@{span.text}")
