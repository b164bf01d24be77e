"""Models as a comparison names them, and what they are called there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tinylm_cli.cli.variants import Variant, load_variants, parse_variants
from tinylm_cli.errors import ConfigError, InputError, UsageError


def names(*words: str, overrides: tuple[str, ...] = ()) -> list[str]:
    return [loaded.name for loaded in load_variants(parse_variants(words, overrides))]


@pytest.mark.parametrize(
    ("word", "variant"),
    [
        ("small", Variant("small")),
        ("small@n_layers=8", Variant("small", ("n_layers=8",))),
        ("small@n_layers=8@norm.kind=rmsnorm", Variant("small", ("n_layers=8", "norm.kind=rmsnorm"))),
        ("HEAD@{1}:a.yaml", Variant("HEAD@{1}:a.yaml")),
        ("HEAD@{1}:a.yaml@n_layers=8", Variant("HEAD@{1}:a.yaml", ("n_layers=8",))),
        ("@:a.yaml", Variant("@:a.yaml")),
        ("me@home/a.yaml", Variant("me@home/a.yaml")),
        ("small@n_layers=a@b", Variant("small", ("n_layers=a@b",))),
        ("HEAD:a:b@n_layers=3.yaml", Variant("HEAD:a:b@n_layers=3.yaml")),
    ],
)
def test_what_a_word_names(word: str, variant: Variant) -> None:
    assert parse_variants(["tiny", word], ()) == [Variant("tiny"), variant]


def test_changes_alone_are_to_the_first_model() -> None:
    assert parse_variants(["tiny@d_ff=8", "@n_layers=2"], ()) == [
        Variant("tiny", ("d_ff=8",)),
        Variant("tiny", ("d_ff=8", "n_layers=2")),
    ]
    with pytest.raises(UsageError, match="@n_layers=2 changes no model"):
        parse_variants(["@n_layers=2", "tiny"], ())


def test_overrides_make_the_second_of_one_and_change_all_of_several() -> None:
    assert parse_variants(["tiny"], ("n_layers=2",)) == [
        Variant("tiny"),
        Variant("tiny", ("n_layers=2",), optional=1),
    ]
    first, second = parse_variants(["tiny", "small@n_layers=3"], ("n_layers=2",))
    assert (first.all_changes, second.all_changes) == (("n_layers=2",), ("n_layers=2", "n_layers=3"))
    with pytest.raises(UsageError, match="nothing to compare tiny with") as caught:
        parse_variants(["tiny"], ())
    assert "tinylm compare tiny --set n_layers=8" in caught.value.help
    with pytest.raises(UsageError) as caught:
        parse_variants(["tiny@n_layers=8@d_ff=9"], ())
    assert "tinylm compare tiny @n_layers=8@d_ff=9" in caught.value.help


@pytest.mark.usefixtures("folder")
def test_a_file_with_such_a_name_is_that_file() -> None:
    Path("toy@n_layers=8").write_text(Path("toy.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert parse_variants(["tiny", "toy@n_layers=8"], ())[1] == Variant("toy@n_layers=8")


@pytest.mark.parametrize(
    ("words", "called"),
    [
        (("tiny", "small"), ["tiny", "small"]),
        (("tiny", "@n_layers=2", "@n_layers=3"), ["tiny", "n_layers=2", "n_layers=3"]),
        (("tiny", "@n_layers=2@d_ff=8"), ["tiny", "n_layers=2@d_ff=8"]),
        (("tiny", "small@n_layers=2"), ["tiny", "small@n_layers=2"]),
        (("tiny@n_layers=2", "tiny"), ["tiny@n_layers=2", "tiny"]),
        (("tiny@n_layers=2", "@d_ff=8"), ["tiny@n_layers=2", "d_ff=8"]),
        (("tiny@n_layers=2", "tiny@d_ff=8"), ["tiny@n_layers=2", "tiny@d_ff=8"]),
        (("toy.yaml", "there/toy.yaml@d_ff=8"), ["toy.yaml", "there/toy.yaml@d_ff=8"]),
        (("toy.yaml", "there/toy.yaml", "tiny"), ["toy.yaml", "there/toy.yaml", "tiny"]),
        (("toy.yaml", "toy.yaml", "toy.yaml"), ["toy.yaml", "toy.yaml (2)", "toy.yaml (3)"]),
        (("tiny", "@n_layers=2", "@n_layers=2"), ["tiny", "tiny@n_layers=2", "tiny@n_layers=2 (2)"]),
    ],
)
def test_names_are_short_and_differ(words: tuple[str, ...], called: list[str], folder: Path) -> None:
    (folder / "there").mkdir()
    (folder / "there" / "toy.yaml").write_text(Path("toy.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert names(*words) == called
    assert names(*words, overrides=("dropout=0.5",)) == called, "what all share sets nothing apart"


def test_a_name_keeps_its_revision_and_two_files_are_never_called_alike(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    (folder / "there").mkdir()
    (folder / "there" / "toy.yaml").write_text((folder / "toy.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "one"], ["branch", "feat/long"]):
        subprocess.run(["git", *words], check=True, capture_output=True)
    assert names("HEAD:toy.yaml", "toy.yaml@d_ff=64") == ["HEAD:toy", "toy@d_ff=64"]
    assert names("feat/long:toy.yaml", "HEAD:toy.yaml", "@d_ff=8") == ["feat/long:toy", "HEAD:toy", "d_ff=8"]
    assert names("HEAD:toy.yaml", "HEAD:there/toy.yaml") == ["HEAD:toy.yaml", "HEAD:there/toy.yaml"]
    assert names(":toy.yaml", "toy.yaml") == [":toy", "toy"]


def test_the_mistakes_of_all_are_told_at_once_and_each_once() -> None:
    with pytest.raises(ConfigError) as caught:
        names("tiny@n_layers=x", "small@d_ff=y", "@n_heads=3")
    found = [(each.field, each.source) for each in caught.value.diagnostics]
    assert [field for field, _ in found].count("n_layers") == 1
    assert {"n_layers", "d_ff"} <= {field for field, _ in found}
    with pytest.raises(InputError, match="absent"):
        names("tiny", "absent")
    with pytest.raises(UsageError, match="expected key=value"):
        names("tiny", overrides=("n_layers",))
