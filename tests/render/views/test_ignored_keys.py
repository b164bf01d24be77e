"""The notes on keys that a report leaves out."""

from __future__ import annotations

from tinylm_cli.render.blocks import Note
from tinylm_cli.render.views.ignored_keys import ignored_key_notes, with_ignored_keys
from tinylm_cli.reports.compare import ComparedModel, CompareReport
from tinylm_cli.reports.presets import ShowReport


def test_notes_by_reason() -> None:
    keys = {"b": "requested", "eps": "no_effect_here", "a": "requested"}
    report = ShowReport("m", "m.json", {}, (), keys)
    assert [note.text for note in ignored_key_notes(report)] == [
        "Keys left out on request: b, a.",
        "Keys that are not understood, without effect on this report: eps.",
    ]


def test_keys_of_several_models() -> None:
    models = tuple(ComparedModel(name, name, (), 8, {"x": "requested", name: "requested"}) for name in ("m", "n"))
    report = CompareReport(models, equal=True, batch_size=1, seq_len=8, dtype="bfloat16", fields=(), figures=())
    assert with_ignored_keys((), report) == (Note("Keys left out on request: x, m, n."),)


def test_nothing_left_out() -> None:
    assert with_ignored_keys((), ShowReport("m", "m.json", {}, ())) == ()
