"""The catalog of diagnostic codes, and the one place where diagnostics come to life."""

from __future__ import annotations

from collections.abc import Iterable

from tinylm_cli.errors import SET, ConfigError, Diagnostic, Fix, Label, Span
from tinylm_cli.quantities import counted

MOST_REPORTED = 50

_MOST_QUOTED = 40

CODES = {
    "alias": "An alias (`*name`): a config says every value where it belongs.",
    "anchor": "An anchor (`&name`): a config says every value where it belongs.",
    "assertion-syntax": "An `--assert` that is not a figure, a relation and a bound.",
    "contradiction": "Two fields that are each sound and cannot both hold.",
    "control-character": "A character that YAML forbids, such as NUL or ESC.",
    "duplicate-key": "A key that its block already has; YAML forbids it, and many readers drop one in silence.",
    "empty-document": "Nothing but blank lines and comments.",
    "expert-groups": "Groups of experts that do not hold equally many, or fewer than are to be chosen from them.",
    "failed-assertion": "An `--assert` that does not hold of a config.",
    "heads-do-not-divide": "`d_model` is not a multiple of `n_heads`: no whole number of dimensions for each head.",
    "json-syntax": "A text that opens like JSON and is not.",
    "key-not-a-name": "A list or a block in the place of a key.",
    "kv-heads-do-not-divide": "`n_heads` is not a multiple of `attention.n_kv_heads`: groups would differ in size.",
    "merge-key": "A merge key (`<<`), which YAML 1.2 no longer has.",
    "missing-key": "A required field is absent.",
    "needs-field": "A field that says nothing without another, which is absent.",
    "not-a-mapping": "The document is a list, a number or a text, not `key: value` lines.",
    "not-finite": "A number field that is infinite or not a number.",
    "not-utf8": "The bytes are not UTF-8 text.",
    "number-too-long": "A number written with more characters than any quantity here can need.",
    "odd-rotary-width": "An odd number of dimensions per head would rotate, and rotation turns pairs of them.",
    "odd-sinusoidal-width": "`d_model` is odd, and sinusoidal positions pair each sine with a cosine.",
    "out-of-range": "A number outside the bounds of its field.",
    "over-budget": "A figure beyond what the `budget` of its config allows.",
    "several-documents": "More than one YAML document in one file.",
    "tag": "A tag (`!name`): the type of a value comes from the schema, and nothing here is ever executed.",
    "too-deep": "Lists or blocks nested deeper than any config needs.",
    "too-many-mistakes": f"The mistakes after the first {MOST_REPORTED} are counted, not shown.",
    "too-many-values": "More keys and values than any config has: some 10,000.",
    "top-k-above-experts": "More experts are to be chosen for each token than there are.",
    "unknown-choice": "A word that is not among those its field may take.",
    "unknown-family": "A Hugging Face config whose `model_type` is not among those tinylm reads.",
    "unknown-figure": "A figure that there is not, in an `--assert` or after `--figure`.",
    "unknown-gpu": "A GPU that neither the table that ships nor the file of `--hardware` has.",
    "unknown-key": "A key that the schema does not have in this place.",
    "unknown-setting": "A key of a Hugging Face config that may change the model, in a way tinylm does not know.",
    "unsupported-setting": "A setting of a Hugging Face config that no config of tinylm can say.",
    "without-effect": "A field that means nothing beside the value of another.",
    "wrong-type": "A value of another type than its field's: text for a number, a number for a block.",
    "yaml-syntax": "Text that is not YAML.",
}
"""What each code stands for, in one line of markdown; ``docs/diagnostics.md`` adds an example of each."""


def diagnostic(
    code: str,
    message: str,
    source: str,
    span: Span | None = None,
    *,
    field: str = "",
    help: str = "",  # noqa: A002 - the word the user reads
    labels: tuple[Label, ...] = (),
    fix: Fix | None = None,
) -> Diagnostic:
    """Return a ``Diagnostic`` whose code is in the catalog."""
    assert code in CODES, f"{code} is not in the catalog"
    return Diagnostic(code, message, source, span, field, help, labels, fix)


def clip(text: str) -> str:
    """Return ``text`` as a message can quote it: on one line, and short."""
    text = text.replace("\n", "\\n").replace("\r", "\\r")
    return text if len(text) <= _MOST_QUOTED else f"{text[: _MOST_QUOTED - 1]}…"


def refusal(mistakes: Iterable[Diagnostic]) -> ConfigError:
    """Return the error that carries ``mistakes``: at least one, in source order; at most 50, then how many more."""
    ordered = sorted(mistakes, key=_place)
    shown, hidden = ordered[:MOST_REPORTED], len(ordered) - MOST_REPORTED
    if hidden > 0:
        message = f"{counted(hidden, 'more mistake')} {'are' if hidden > 1 else 'is'} not shown"
        help_ = "a model config is a page of YAML: is this one?"
        shown.append(diagnostic("too-many-mistakes", message, shown[0].source, help=help_))
    return ConfigError(tuple(shown))


def _place(mistake: Diagnostic) -> tuple[bool, bool, int, int]:
    """Sort by place: the file, then ``--set``, then what has no place."""
    span = mistake.span
    return (True, False, 0, 0) if span is None else (False, span.source == SET, span.line, span.column)
