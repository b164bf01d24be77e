"""The notes on keys of a Hugging Face config that a report leaves out, the same for every command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tinylm_cli.render.blocks import Note, View

_REASONS = {
    "requested": "Keys left out on request",
    "no_effect_here": "Keys that are not understood, without effect on this report",
}
"""The beginning of a note, by the reason of the keys that it lists."""

_MODELS = ("model", "models", "files", "configs", "comparison")
"""Fields of reports that contain reports on models."""


def with_ignored_keys(view: View, report: object) -> View:
    """Return a view with a note on the keys that its report leaves out, if there are any."""
    return (*view, *ignored_key_notes(report))


def ignored_key_notes(report: object) -> Iterator[Note]:
    """Yield a note for each reason to leave keys out, which lists the keys of every model of a report."""
    found = [*_ignored_keys(report)]
    for reason, words in _REASONS.items():
        keys = dict.fromkeys(key for keys in found for key, why in keys.items() if why == reason)
        if keys:
            yield Note(f"{words}: {', '.join(keys)}.")


def _ignored_keys(report: object) -> Iterator[Mapping[str, str]]:
    """Yield the keys that a report or a loaded config leaves out, and those of the models in a report."""
    yield getattr(report, "ignored_keys", {})
    for name in _MODELS:
        inner = getattr(report, name, None) or ()
        for each in inner if isinstance(inner, tuple) else (inner,):
            yield from _ignored_keys(each)
