"""JUnit XML: a suite for each file, a test for each error and each assertion, counts that add up."""

from __future__ import annotations

from xml.etree import ElementTree

from tinylm_cli.config.assertion import ASSERT
from tinylm_cli.errors import ConfigError, Diagnostic, InputError, Span
from tinylm_cli.render.junit import junit_failure, to_junit
from tinylm_cli.reports.validate import Assertion, FileResult

SPAN = Span("w.yaml", 2, 3, 5, "a: <b> & 'c' \"d\" \x1b")
WRONG = Diagnostic("wrong-type", 'not <b> & "d" \x1b', "w.yaml", SPAN, "a", "write 1")


def suites(text: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    for whole in (root, *root):
        for name, kind in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            assert int(whole.attrib[name]) == len(list(whole.iter(kind)))
    return list(root)


def test_statuses() -> None:
    files = [
        FileResult("v.yaml", "valid", 1, "", "", ()),
        FileResult("w.yaml", "invalid", None, "", "", (WRONG, WRONG._replace(span=None))),
        FileResult("u.yaml", "unreadable", None, "no such file", "h", ()),
    ]
    valid, wrong, unreadable = suites(to_junit(files, "tinylm validate"))
    assert [suite.attrib["name"] for suite in (valid, wrong, unreadable)] == ["v.yaml", "w.yaml", "u.yaml"]
    assert [list(case) for case in valid] == [[]]
    assert [case.attrib["name"] for case in wrong] == ["wrong-type at 2:3", "wrong-type"]
    assert [case.get("line") for case in wrong] == ["2", None]
    failure = wrong[0][0]
    assert failure.attrib == {"type": "wrong-type", "message": 'not <b> & "d" \\x1b'}
    assert failure.text is not None
    assert " --> w.yaml:2:3" in failure.text
    assert [(case[0].tag, case[0].attrib["message"]) for case in unreadable] == [("error", "no such file")]


def test_file_that_is_not_text() -> None:
    found = Diagnostic("not-utf8", "byte 0xff is not valid UTF-8", "u.yaml")
    ((case,),) = suites(to_junit([FileResult("u.yaml", "unreadable", None, "", "", (found,))], "tinylm validate"))
    assert (case[0].tag, case[0].attrib["type"]) == ("error", "not-utf8")


def test_assertions() -> None:
    held = [Assertion(ASSERT, f"total_params < {n}", "total_params", "params", 5, "<", n, n > 5) for n in (4, 6, 3)]
    broken = tuple(Diagnostic("failed-assertion", f"5 is over {n}", "w.yaml") for n in (4, 3))
    (suite,) = suites(to_junit([FileResult("w.yaml", "failed", 5, "", "", broken, tuple(held))], "tinylm validate"))
    outcomes = [(case.attrib["name"], [each.attrib["message"] for each in case]) for case in suite]
    assert outcomes == [
        ("total_params < 4", ["5 is over 4"]),
        ("total_params < 6", []),
        ("total_params < 3", ["5 is over 3"]),
    ]


def test_failure() -> None:
    for error in (InputError("m <", help="h"), ConfigError((WRONG,))):
        (suite,) = suites(junit_failure(error, "tinylm validate"))
        assert [each.tag for case in suite for each in case] == ["error"]


def test_option_is_in_no_file() -> None:
    option = Diagnostic("unknown-figure", "m", ASSERT, Span(ASSERT, 1, 1, 2, "x"))
    command, config = suites(junit_failure(ConfigError((option, WRONG)), "tinylm validate"))
    assert [(case.get("file"), case.get("line")) for case in command] == [(None, None)]
    assert [case.get("file") for case in config] == ["w.yaml"]
