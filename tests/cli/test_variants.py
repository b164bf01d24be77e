"""Model variants: their syntax, and their names in a comparison."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tinylm_cli.cli.variants import MAX_COMPLETING_CHANGES, load_variants, parse_variants
from tinylm_cli.errors import ConfigError, InputError, Span, UsageError
from tinylm_cli.interop.variants import MAX_COMPARED, Variant
from tinylm_cli.wording import SET

TOY = "vocab_size: 256\nd_model: 8\nn_heads: 2\nn_layers: 3\nd_ff: 16\nmax_len: 32\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty current folder with one config, toy.yaml."""
    (tmp_path / "toy.yaml").write_text(TOY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*words: str, overrides: tuple[str, ...] = ()) -> list[str]:
    return [loaded.name for loaded in load_variants(parse_variants(words, overrides))]


@pytest.mark.parametrize(
    ("word", "variant"),
    [
        ("small", Variant("small")),
        ("small@n_layers=8", Variant("small", ("n_layers=8",))),
        ("small@n_layers=8@norm.kind=rmsnorm", Variant("small", ("n_layers=8", "norm.kind=rmsnorm"))),
        ("small@n_layers=8,d_ff=9", Variant("small", ("n_layers=8", "d_ff=9"))),
        ("small@norm.kind=rmsnorm,eps=1e-6,d_ff=9", Variant("small", ("norm.kind=rmsnorm", "norm.eps=1e-6", "d_ff=9"))),
        (
            "small@position.long_factors=[1,2],kind=rope",
            Variant("small", ("position.long_factors=[1,2]", "position.kind=rope")),
        ),
        ("small@embedding.norm=true,norm.kind=rmsnorm", Variant("small", ("embedding.norm=true", "norm.kind=rmsnorm"))),
        ("small@attention.kv_rnk=8,windw=9", Variant("small", ("attention.kv_rnk=8", "attention.windw=9"))),
        ("HEAD@{1}:a.yaml", Variant("HEAD@{1}:a.yaml")),
        ("HEAD@{1}:a.yaml@n_layers=8", Variant("HEAD@{1}:a.yaml", ("n_layers=8",))),
        ("@:a.yaml", Variant("@:a.yaml")),
        ("me@home/a.yaml", Variant("me@home/a.yaml")),
        ("small@n_layers=a@b", Variant("small", ("n_layers=a@b",))),
        ("HEAD:a:b@n_layers=3.yaml", Variant("HEAD:a:b@n_layers=3.yaml")),
    ],
)
def test_parse_variant(word: str, variant: Variant) -> None:
    assert parse_variants(["tiny", word], ()) == [Variant("tiny"), variant]


def test_changes_alone() -> None:
    assert parse_variants(["tiny@d_ff=8", "@n_layers=2"], ()) == [
        Variant("tiny", ("d_ff=8",)),
        Variant("tiny", ("d_ff=8", "n_layers=2")),
    ]
    with pytest.raises(UsageError, match="@n_layers=2 has no model"):
        parse_variants(["@n_layers=2", "tiny"], ())


def test_overrides() -> None:
    assert parse_variants(["tiny"], ("n_layers=2",)) == [
        Variant("tiny"),
        Variant("tiny", ("n_layers=2",), n_set=1),
    ]
    first, second = parse_variants(["tiny", "small@n_layers=3"], ("n_layers=2",))
    assert (first.all_changes, second.all_changes) == (("n_layers=2",), ("n_layers=2", "n_layers=3"))
    with pytest.raises(UsageError, match="nothing to compare tiny with") as caught:
        parse_variants(["tiny"], ())
    assert caught.value.help == "add another model or a change: tinylm compare tiny @n_layers=8"


def test_single_changed_model() -> None:
    assert parse_variants(["tiny@n_layers=8,d_ff=9"], ()) == [
        Variant("tiny"),
        Variant("tiny", ("n_layers=8", "d_ff=9")),
    ]
    assert names("llama-3-8b@attention.kind=latent,kv_rank=512") == ["llama-3-8b", "attention.kind=latent,kv_rank=512"]


def test_kind_of_attention() -> None:
    assert names("llama-3-8b@kind=mla,kv_rank=512") == ["llama-3-8b", "attention.kind=mla,kv_rank=512"]
    assert parse_variants(["gpt2@norm.kind=rmsnorm,kind=layernorm"], ())[-1].changes == (
        "norm.kind=rmsnorm",
        "norm.kind=layernorm",
    )


@pytest.mark.usefixtures("folder")
def test_existing_file_wins() -> None:
    Path("toy@n_layers=8").write_text(Path("toy.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert parse_variants(["tiny", "toy@n_layers=8"], ())[1] == Variant("toy@n_layers=8")


@pytest.mark.parametrize(
    ("words", "called"),
    [
        (("tiny", "small"), ["tiny", "small"]),
        (("tiny", "@n_layers=2", "@n_layers=3"), ["tiny", "n_layers=2", "n_layers=3"]),
        (("tiny", "@n_layers=2@d_ff=8"), ["tiny", "n_layers=2@d_ff=8"]),
        (("tiny", "@attention.window=2@attention.n_kv_heads=2"), ["tiny", "attention.window=2,n_kv_heads=2"]),
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
def test_distinct_names(words: tuple[str, ...], called: list[str], folder: Path) -> None:
    (folder / "there").mkdir()
    (folder / "there" / "toy.yaml").write_text(Path("toy.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert names(*words) == called
    assert names(*words, overrides=("dropout=0.5",)) == called, "what all share sets nothing apart"


def test_names_of_revisions_and_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_errors_of_all_models() -> None:
    with pytest.raises(ConfigError) as caught:
        names("tiny@n_layers=x", "small@d_ff=y", "@n_heads=3")
    found = [(each.field, each.source) for each in caught.value.diagnostics]
    assert [field for field, _ in found].count("n_layers") == 1
    assert {"n_layers", "d_ff"} <= {field for field, _ in found}
    with pytest.raises(InputError, match="absent"):
        names("tiny", "absent")
    with pytest.raises(UsageError, match="expected key=value"):
        names("tiny", overrides=("n_layers",))


def completed(*words: str, overrides: tuple[str, ...] = ()) -> str:
    """Return the help of an error: the command that completes a change."""
    with pytest.raises(ConfigError) as caught:
        names(*words, overrides=overrides)
    return caught.value.diagnostics[0].help


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("small", "@attention.kind=latent"), "small @attention.kind=latent@position.kind=rope"),
        (
            ("tiny", "small@attention.kind=latent,kv_rank=64", "base"),
            "tiny small@attention.kind=latent,kv_rank=64@position.kind=rope base",
        ),
        (("llama-3-8b", "@attention.kind=grouped_query"), "llama-3-8b @attention.n_kv_heads=2,kind=gqa"),
        (("small", "@attention.kind=gqa"), "small @attention.kind=gqa,n_kv_heads=2"),
        (("small", "@feed_forward.top_k=3"), "small @feed_forward.top_k=3,n_experts=8"),
        (
            ("small", "@position.scaling=yarn"),
            "small @position.scaling=yarn,kind=rope,scaling_factor=8,original_max_len=128",
        ),
    ],
)
def test_completing_command(words: tuple[str, ...], command: str) -> None:
    assert completed(*words) == f"tinylm compare {command}"
    names(*command.split())


def test_completing_set() -> None:
    command = "tinylm compare small --set attention.kind=latent --set position.kind=rope"
    assert completed("small", overrides=("attention.kind=latent",)) == command
    assert names("small", overrides=("attention.kind=latent", "position.kind=rope"))


def test_no_completing_command() -> None:
    assert completed("tiny", "@n_layers=0") == "for example @n_layers=4"


def test_too_many_completing_changes() -> None:
    """YaRN requires three more fields, and ``top_k`` a fourth."""
    assert MAX_COMPLETING_CHANGES == 3
    separate = "omit position.scaling, or write position.kind: rope"
    assert completed("small", "@position.scaling=yarn@feed_forward.top_k=3") == separate


def test_places_of_errors() -> None:
    with pytest.raises(ConfigError) as caught:
        names("tiny@d_ff=x", overrides=("n_layers=x",))
    spans = {each.field: each.span for each in caught.value.diagnostics}
    assert spans == {"d_ff": Span("MODEL", 1, 7, 8, "@d_ff=x"), "n_layers": Span(SET, 1, 10, 11, "n_layers=x")}


@pytest.mark.parametrize(
    ("model", "change", "dropped"),
    [
        ("llama-3-8b", "attention.kind=latent", "attention.n_kv_heads"),
        ("mixtral-8x7b", "feed_forward.n_experts=null", "feed_forward.top_k"),
        ("qwen3-0.6b", "attention.kind=latent", "attention.qk_norm"),
        ("llama-3.1-8b", "position.scaling=none", "position.scaling_factor"),
    ],
)
def test_changed_kind_drops_fields(model: str, change: str, dropped: str) -> None:
    before, after = load_variants(parse_variants([model, f"@{change}"], ()))
    assert before.origins[dropped] is not None
    assert after.origins[dropped] is None
    with pytest.raises(ConfigError, match=dropped):
        load_variants(parse_variants([model, f"@{change}@{dropped}=4"], ()))


def test_too_many_models() -> None:
    arguments = ["small", *(f"@n_layers={n}" for n in range(1, MAX_COMPARED))]
    assert len(parse_variants(arguments, ())) == MAX_COMPARED
    with pytest.raises(UsageError, match=f"{MAX_COMPARED + 1} models to compare; the limit is {MAX_COMPARED}"):
        parse_variants([*arguments, "tiny"], ())
