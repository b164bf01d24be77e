"""Settings and commands in reports and errors are worded as options and command lines."""

from __future__ import annotations

import pytest

from tinylm_cli.cli.wording import as_options, worded, worded_error
from tinylm_cli.errors import ConfigError, Diagnostic, ExitCode, Label, Span, UsageError
from tinylm_cli.reports.sweep import SweepPoint
from tinylm_cli.wording import SET, Argument, Command, Reference, Setting, ShellNote, Text


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (Setting("full"), "--full"),
        (Setting("full", True), "--full"),
        (Setting("tie", False), "--no-tie"),
        (Setting("hardware", metavar="FILE"), "--hardware FILE"),
        (Setting("for_", "serving"), "--for serving"),
        (Setting("serving_batch_size", 8), "--serving-batch-size 8"),
        (Setting("gpu", "my gpu"), "--gpu 'my gpu'"),
        (Setting("set", ("a=1", "b=x y")), "--set a=1 --set 'b=x y'"),
        (Setting("d_head", (16, 32)), "--d-head 16,32"),
        (Setting("d_model", range(32, 257, 32)), "--d-model 32..256:32"),
        (Setting("n_layers", range(2, 17)), "--n-layers 2..16"),
        (Command("list", (Setting("hardware", True),)), "tinylm list --hardware"),
        (Command("new", ("my model",)), "tinylm new 'my model'"),
        (ShellNote("in quotes"), "in quotes"),
    ],
)
def test_as_options(reference: Reference, words: str) -> None:
    assert as_options(reference) == words
    assert as_options(reference, Setting("gpus", 2)) == f"{words} --gpus 2"


def test_errors() -> None:
    text = Text("add ", Setting("gpus", 2))
    usage = worded_error(UsageError(Text(Setting("set"), " x: expected key=value"), help=text))
    assert (usage.message, usage.help) == ("--set x: expected key=value", "add --gpus 2")
    gpu = Span(Argument("<gpu>"), 1, 1, 3, "h9")
    found = Diagnostic("unknown-gpu", "m", gpu.source, gpu, help=text, labels=(Label(Span(SET, 1, 1, 2, "x"), "l"),))
    error = worded_error(ConfigError((found,)))
    (diagnostic,) = error.diagnostics
    assert (error.message, error.help, error.exit_code) == ("--gpu:1:1: m", "add --gpus 2", ExitCode.UNABLE)
    assert diagnostic.span is not None
    assert [diagnostic.source, diagnostic.span.source, diagnostic.labels[0].span.source] == ["--gpu", "--gpu", "--set"]
    assert diagnostic.is_usage
    assert not worded(found._replace(source=SET)).is_usage


def test_records() -> None:
    point = SweepPoint(("8",), None, "m", Text("add ", Setting("gpus", 2)))
    assert worded([point][0]).help == "add --gpus 2"
    unchanged = SweepPoint(("8",), {"total_params": 1}, "m", "h")
    assert worded(unchanged) is unchanged
