"""The catalog of diagnostic codes, and the constructor of diagnostics and of the error that carries them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tinylm_cli.errors import ConfigError, Diagnostic, Fix, Label, Severity, Span
from tinylm_cli.quantities import counted
from tinylm_cli.wording import SET

MAX_REPORTED = 50

_MAX_QUOTED = 40

CODES = {
    "alias": "A YAML alias (`*name`); write the value where it belongs.",
    "anchor": "A YAML anchor (`&name`); write the value where it belongs.",
    "assertion-syntax": "An assertion that is not `FIGURE OPERATOR BOUND`.",
    "contradiction": "Two fields that are valid individually but contradict each other.",
    "control-character": "A character that YAML forbids, such as NUL or ESC.",
    "data-gap": "Bytes of a file of weights that belong to no tensor, or too few between two tensors.",
    "data-overlap": "Two tensors of a file of weights that share bytes.",
    "duplicate-key": "A key that appears twice in one block. YAML forbids it, and many readers silently keep the last.",
    "duplicate-tensor": "A tensor that is in two files of a checkpoint.",
    "empty-document": "A config with nothing but blank lines and comments.",
    "expert-groups": "Expert groups of unequal size, or with fewer experts than the router selects from them.",
    "failed-assertion": "An assertion that does not hold for a config.",
    "heads-do-not-divide": "`d_model` is not divisible by `n_heads`, or the sizes of a mixer by its heads or groups.",
    "index-mismatch": "A tensor that is not in the file that the index of a checkpoint names, or not in the index.",
    "index-total-size": "A total in an index or in a split GGUF file that differs from the tensors.",
    "json-syntax": "Text that starts like JSON but is not valid JSON.",
    "key-not-a-name": "A list or a mapping as a key.",
    "kv-heads-do-not-divide": "`n_heads` is not divisible by `attention.n_kv_heads`.",
    "layers-do-not-divide": "A pattern of layer kinds that does not divide the layers that it repeats over.",
    "merge-key": "A merge key (`<<`), which YAML 1.2 removed.",
    "missing-file": "Files of a checkpoint that are not there.",
    "missing-key": "A required field is missing.",
    "missing-tensor": "A tensor that a config implies, but its checkpoint does not contain.",
    "needs-field": "A field without another field that it requires.",
    "not-a-mapping": "A document that is a list, a number or text instead of `key: value` lines.",
    "not-finite": "An infinity or NaN in a number field.",
    "not-utf8": "A file that is not UTF-8 text.",
    "number-too-long": "A number with more digits than any field can hold.",
    "odd-rotary-width": "An odd number of rotary dimensions per head. RoPE rotates pairs of dimensions.",
    "odd-sinusoidal-width": "An odd `d_model` with sinusoidal positions, which pair each sine with a cosine.",
    "out-of-range": "A number outside the range of its field.",
    "over-budget": "A figure that exceeds the `budget` of its config.",
    "several-documents": "More than one YAML document in a file.",
    "tag": "A YAML tag (`!name`). The schema determines the type of each value; tinylm never executes tags.",
    "tensor-bytes": "A tensor with more or fewer bytes of data than its shape and dtype take.",
    "tensor-dtype": "A tensor of another dtype than its config names, or than the same tensor of other layers.",
    "tensor-shape": "A tensor of another shape than its config implies.",
    "too-deep": "Lists or mappings that nest too deep.",
    "too-many-errors": "More errors than are shown; the others are only counted.",
    "too-many-values": "More than 10,000 keys and values.",
    "top-k-above-experts": "A token selects more experts than there are.",
    "truncated-file": "A file of weights that ends before the data of its tensors.",
    "undefined-kind": "A layer of a kind that `layers.kinds` does not define.",
    "unknown-choice": "A value that is not one of the choices of its field.",
    "unknown-family": "A Hugging Face config with a `model_type` that tinylm does not support.",
    "unknown-figure": "An unknown figure of an assertion or a sweep.",
    "unknown-gpu": "A GPU that is neither in the built-in table nor in the hardware file.",
    "unknown-key": "A key that the schema does not have in this place.",
    "unknown-setting": "A Hugging Face key that tinylm does not know and that may change the model.",
    "unknown-tensor": "A tensor of a checkpoint that its config does not imply.",
    "unreadable-header": "A file of a checkpoint whose header cannot be read.",
    "unsupported-setting": "A Hugging Face setting that a tinylm config cannot express.",
    "without-effect": "A field that has no effect because of the value of another field.",
    "wrong-type": "A value of the wrong type, such as text in a number field.",
    "yaml-syntax": "Text that is not valid YAML.",
}
"""The meaning of each code, in one line of markdown; ``docs/diagnostics.md`` adds an example of each."""


def meaning(code: str) -> str:
    """Return the meaning of a code of this catalog or of that of ``tinylm lint``, in one line of markdown.

    Raises:
        KeyError: If it is in neither.
    """
    if code in CODES:
        return CODES[code]
    from tinylm_cli.config.lint_codes import LINT_CODES  # which other commands do not load

    return LINT_CODES[code].meaning


def diagnostic(
    code: str,
    message: str,
    source: str,
    span: Span | None = None,
    *,
    field: str = "",
    help: str = "",  # noqa: A002 - the label in the output
    labels: tuple[Label, ...] = (),
    fix: Fix | None = None,
    severity: Severity = "error",
) -> Diagnostic:
    """Return a ``Diagnostic`` whose code is in a catalog.

    Raises:
        KeyError: If it is in none.
    """
    meaning(code)
    return Diagnostic(code, message, source, span, field, help, labels, fix, severity)


def clip(text: str) -> str:
    """Return ``text`` shortened to one line, to quote it in a message."""
    text = text.replace("\n", "\\n").replace("\r", "\\r")
    return text if len(text) <= _MAX_QUOTED else f"{text[: _MAX_QUOTED - 1]}…"


def quote(text: str) -> str:
    """Return ``text`` shortened and in quotes, to quote input in a message."""
    return f'"{clip(text)}"'


def either(words: Sequence[object]) -> str:
    """Return a list of alternatives: ``a, b or c``."""
    *others, last = map(str, words)
    return f"{', '.join(others)} or {last}" if others else last


def config_error(errors: Iterable[Diagnostic]) -> ConfigError:
    """Return a ConfigError with the diagnostics in source order; after 50, only their number."""
    ordered = sorted(errors, key=_sort_key)
    shown, hidden = ordered[:MAX_REPORTED], len(ordered) - MAX_REPORTED
    if hidden > 0:
        message = f"{counted(hidden, 'more error')} {'are' if hidden > 1 else 'is'} not shown"
        help_ = "a model config is about a page of YAML"
        shown.append(diagnostic("too-many-errors", message, shown[0].source, help=help_))
    return ConfigError(tuple(shown))


def _sort_key(error: Diagnostic) -> tuple[bool, bool, int, int]:
    """Sort by place: the file first, then ``--set``, then diagnostics without a place."""
    span = error.span
    return (True, False, 0, 0) if span is None else (False, span.source == SET, span.line, span.column)
