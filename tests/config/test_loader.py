"""From a name to a config: presets, files, standard input, ``--set``, and where each value came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm_cli.cli.wording import worded
from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.layers import flatten_kinds
from tinylm_cli.config.loader import LoadedConfig, load_yaml_config, parse_config
from tinylm_cli.config.schema import ModelConfig, flatten
from tinylm_cli.config.source import STDIN, Source
from tinylm_cli.config.yaml_scalar import scalar
from tinylm_cli.config.yaml_writer import to_yaml
from tinylm_cli.errors import ConfigError, InputError, TinylmError, UsageError
from tinylm_cli.wording import SET


def _parse(text: str, *overrides: str) -> LoadedConfig:
    return parse_config(Source("x.yaml", text), overrides)


def test_a_preset_by_name() -> None:
    loaded = load_yaml_config("small")
    assert (loaded.name, loaded.source, loaded.config.d_model) == ("small", "small", 256)
    span = loaded.origins["d_model"]
    assert span is not None
    assert span.source == "small"
    assert loaded.origins["norm.eps"] is None


def test_a_file_by_path(tmp_path: Path, minimal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").write_text(minimal)
    loaded = load_yaml_config(str(tmp_path / "mine.yaml"))
    assert (loaded.name, loaded.source) == ("mine", str(tmp_path / "mine.yaml"))
    monkeypatch.chdir(tmp_path)
    assert load_yaml_config("mine.yaml").config == loaded.config


def test_preset_before_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny").write_text("nonsense")
    monkeypatch.chdir(tmp_path)
    assert load_yaml_config("tiny").config.d_model == 128
    with pytest.raises(ConfigError):
        load_yaml_config("./tiny")


def test_json_is_yaml(minimal: str) -> None:
    config = _parse('{"vocab_size": 256, "d_model": 128, "n_heads": 4, "n_layers": 4, "d_ff": 512}').config
    assert config == _parse(minimal).config


def test_standard_input_has_a_name() -> None:
    assert parse_config(Source(STDIN, to_yaml(load_yaml_config("tiny").config))).name == "stdin"


@pytest.mark.parametrize(
    ("reference", "message", "help_"),
    [
        ("tinny", "no such preset or file: tinny", "did you mean tiny?"),
        ("mni.yaml", "no such preset or file: mni.yaml", "did you mean mine.yaml?"),
        (
            "zzz",
            "no such preset or file: zzz",
            "the presets are tiny, small, medium, base; tinylm list --gallery lists more",
        ),
        ("zzz.yaml", "no such file: zzz.yaml", ""),
        ("nosuch.yaml", "no such file: nosuch.yaml", ""),  # an ending alone is no likeness
        ("tinny.yaml", "no such preset or file: tinny.yaml", "did you mean tiny?"),
        ("", "the config name is empty", "is a shell variable unset?"),
        ("no/such.yaml", "no such file: no/such.yaml", ""),
    ],
)
def test_unknown_name(
    reference: str, message: str, help_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as raised:
        load_yaml_config(reference)
    assert (raised.value.message, worded(raised.value.help)) == (message, help_)


def test_a_block_set_to_null_is_removed(minimal: str) -> None:
    text = minimal + "norm: {eps: 0.1}\nlayers: {pattern: a, kinds: {a: {n_heads: 2}}}\n"
    assert _parse(text, "layers=null", "norm=null").config == _parse(minimal).config
    assert _parse(text, "layers=null", "layers.pattern=b", "layers.kinds.b.n_heads=1").config.layers.names == {"b"}


def test_origins_in_kinds_of_layers(minimal: str) -> None:
    kinds = "layers: {pattern: full, kinds: {full: {norm: {eps: 0.1}}}}\n"
    loaded = _parse(minimal + kinds, "layers.kinds.full.norm.kind=rmsnorm")
    eps, kind = (loaded.origins[f"layers.kinds.full.norm.{name}"] for name in ("eps", "kind"))
    assert eps is not None
    assert kind is not None
    assert (eps.source, eps.column, kind.source) == ("x.yaml", kinds.index("0.1") + 1, SET)


def test_origins_point_at_the_value(minimal: str) -> None:
    loaded = _parse(minimal + "norm: {eps: 0.1}\n", "n_layers=7", "norm.kind=rmsnorm")
    dumped = flatten(loaded.config.model_dump())
    assert set(loaded.origins) == {*dumped, *flatten_kinds(dumped["layers.kinds"])}
    places = {name: (s.source, s.line, s.column) for name, s in loaded.origins.items() if s is not None}
    assert places == {
        "vocab_size": ("x.yaml", 1, 13),
        "d_model": ("x.yaml", 2, 10),
        "n_heads": ("x.yaml", 3, 10),
        "n_layers": (SET, 1, 10),
        "d_ff": ("x.yaml", 5, 7),
        "norm.eps": ("x.yaml", 6, 13),
        "norm.kind": (SET, 1, 11),
    }


@pytest.mark.parametrize(
    ("override", "pointed", "column"),
    [
        ("n_layers=many", "many", 10),
        ("n_layers= many", "many", 11),
        ("n_layers=0", "0", 10),
        ("n_layers=[1, 2]", "[1, 2]", 10),
        ("d_ff=1 2", "1 2", 6),
        ("norm.eps=-1", "-1", 10),
        ("norm={kind: x}", "x", 13),
        ("norm=rmsnorm", "rmsnorm", 6),
        ("n_lay=3", "n_lay", 1),
        ("norm.x=1", "norm.x", 1),
        ("x.y=1", "x.y", 1),
        ("n_layers=", "", 10),
        ("norm.eps='a", "'", 10),
    ],
)
def test_span_of_an_override(minimal: str, override: str, pointed: str, column: int) -> None:
    """The carets are as wide as the wrong value or key; for a missing value, there is one after the text."""
    with pytest.raises(ConfigError) as raised:
        _parse(minimal, override)
    (found,) = raised.value.diagnostics
    assert found.span is not None
    assert (found.span.source, found.span.line, found.span.text) == (SET, 1, override)
    assert (found.span.column, found.span.end_column) == (column, column + max(len(pointed), 1))
    assert override[column - 1 : found.span.end_column - 1] == pointed


@settings(max_examples=30)
@given(st.data())
def test_set_is_the_same_as_editing_the_file(
    valid_values: st.SearchStrategy[dict[str, Any]], data: st.DataObject
) -> None:
    before = ModelConfig.model_validate(data.draw(valid_values))
    after = ModelConfig.model_validate(data.draw(valid_values))
    overrides = [f"{name}={scalar(value)}" for name, value in flatten(after.model_dump()).items()]
    shuffled = data.draw(st.permutations(overrides))
    assert _parse(to_yaml(before), *shuffled).config == after
    assert _parse("", *shuffled).config == after


@given(
    st.sampled_from(["n_layers", "dropout", "tie_weights", "norm.eps", "norm.kind", "nominal_params", "x", "norm.x"]),
    st.sampled_from(["1", "0.5", "true", "yes", "null", "'1'", "[1]", "{a: 1}", "125M", "rmsnorm", "-1", "1e400"]),
)
def test_override_errors(minimal: str, name: str, value: str) -> None:
    block, _, last = name.rpartition(".")
    line = f"{block}:\n  {last}: {value}\n" if block else f"{last}: {value}\n"
    text = minimal.replace("n_layers: 4\n", "") if name == "n_layers" else minimal
    assert _outcome(text + line) == _outcome(minimal, f"{name}={value}")


def _outcome(text: str, *overrides: str) -> Any:
    try:
        return _parse(text, *overrides).config
    except ConfigError as error:
        return [(found.code, found.field, found.message) for found in error.diagnostics]


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("max_len=8k", 8192),
        ("max_len=1M", 1024**2),
        ("attention.window=2k", 2048),
        ("vocab_size=32K", 32_000),
        ("vocab_size=1.5k", 1500),
    ],
)
def test_set_takes_amounts(minimal: str, override: str, value: int) -> None:
    name = override.partition("=")[0]
    assert flatten(_parse(minimal, override).config.model_dump())[name] == value


@pytest.mark.parametrize("override", ["d_model=1k", "max_len='8k'", "max_len=8x", "vocab_size=32kk"])
def test_set_rejects_other_amounts(minimal: str, override: str) -> None:
    with pytest.raises(ConfigError, match="must be an integer"):
        _parse(minimal, override)


HYBRID = """
mamba2: {d_state: 16}
layers:
  pattern: recurrent, full
  kinds:
    recurrent: {block: {mixer: mamba2}}
    full: {}
"""


@pytest.mark.parametrize(("pattern", "dropped"), [("full", "recurrent"), ("recurrent", "full")])
def test_set_drops_unused_kinds(minimal: str, pattern: str, dropped: str) -> None:
    config = _parse(minimal + HYBRID, f"layers.pattern={pattern}").config
    assert {kind.block.mixer for kind in layer_pattern(config).kinds} == {
        "mamba2" if pattern == "recurrent" else "attention"
    }
    with pytest.raises(ConfigError, match=f"kinds.{dropped} has no effect"):
        _parse((minimal + HYBRID).replace("pattern: recurrent, full", f"pattern: {pattern}"))


def test_set_of_an_undefined_kind(minimal: str) -> None:
    with pytest.raises(ConfigError, match=r"lists other, which layers\.kinds does not define"):
        _parse(minimal + HYBRID, "layers.pattern=other")


def test_the_last_of_equal_options_wins(minimal: str) -> None:
    assert _parse(minimal, "n_layers=2", "n_layers=3").config.n_layers == 3


def test_set_replaces_wrong_values(minimal: str) -> None:
    assert _parse(minimal.replace("n_heads: 4", "n_heads: five"), "n_heads=8").config.n_heads == 8
    assert _parse(minimal.replace("n_heads: 4\n", ""), "n_heads=8").config.n_heads == 8


@pytest.mark.parametrize(
    ("overrides", "known_by"),
    [
        ([], 5_000_000),
        (["dropout=0.5", "norm.eps=0.01", "feed_forward.activation=relu", "max_len=9"], 5_000_000),
        (["n_layers=4", "tie_weights=true", "norm.kind=layernorm"], 5_000_000),  # as it was, or by default
        (["n_layers=5"], None),
        (["norm.kind=rmsnorm"], None),
        (["position={kind: learned}"], None),
        (["n_layers=5", "nominal_params=6M"], 6_000_000),
        (["nominal_params=5M", "n_layers=5"], 5_000_000),
        (["budget.max_params=6M", "budget.seq_len=9"], 5_000_000),
    ],
)
def test_nominal_params_dropped(minimal: str, overrides: list[str], known_by: int | None) -> None:
    loaded = _parse(minimal + "nominal_params: 5M\n", *overrides)
    assert loaded.config.nominal_params == known_by
    assert (loaded.origins["nominal_params"] is None) == (known_by is None)


def test_learned_positions_count_max_len(minimal: str) -> None:
    text = minimal + "nominal_params: 5M\nposition: {kind: learned}\n"
    assert _parse(text, "dropout=0").config.nominal_params == 5_000_000
    assert _parse(text, "max_len=9").config.nominal_params is None


def test_tolerance_dropped(minimal: str) -> None:
    text = minimal + "nominal_params: 5M\nbudget: {max_params: 6M, nominal_tolerance: 0.1}\n"
    assert _parse(text, "dropout=0").config.budget.nominal_tolerance == 0.1
    loaded = _parse(text, "n_layers=5")
    assert (loaded.config.budget.nominal_tolerance, loaded.origins["budget.nominal_tolerance"]) == (None, None)
    assert loaded.config.budget.max_params == 6_000_000
    assert ModelConfig.model_validate(loaded.config.model_dump()) == loaded.config
    assert _parse(text, "n_layers=5", "nominal_params=6M").config.budget.nominal_tolerance == 0.1


def test_nominal_params_of_a_tolerance(minimal: str) -> None:
    config = _parse(minimal + "budget: {nominal_tolerance: 0.1}\n", "nominal_params=6M").config
    assert (config.nominal_params, config.budget.nominal_tolerance) == (6_000_000, 0.1)


@pytest.mark.parametrize("wrong", ["many", "[1]", "{a: 1}"])
def test_set_beside_invalid_value(wrong: str, minimal: str) -> None:
    with pytest.raises(ConfigError) as raised:
        _parse(minimal + f"feed_forward: {{n_experts: 8, n_groups: {wrong}, top_k_groups: 2}}\n", "n_layers=2")
    assert [found.field for found in raised.value.diagnostics] == ["feed_forward.n_groups"]


def test_set_leaves_the_rest_of_a_block(minimal: str) -> None:
    config = _parse(minimal + "norm:\n  kind: rmsnorm\n", "norm.eps=0.01").config
    assert (config.norm.kind, config.norm.eps) == ("rmsnorm", 0.01)


def test_set_takes_a_whole_block(minimal: str) -> None:
    assert _parse(minimal, "norm={kind: rmsnorm, eps: 0.01}").config.norm.kind == "rmsnorm"


@pytest.mark.parametrize("override", ["n_layers", "=8", " = 8", "", "n\x1bl=8", "\udcff=1"])
def test_malformed_overrides(override: str, minimal: str) -> None:
    with pytest.raises(UsageError, match="expected key=value"):
        _parse(minimal, override)


@pytest.mark.parametrize(
    ("override", "code"),
    [
        ("n_layers=", "wrong-type"),
        ("n_layers=[", "yaml-syntax"),
        ("n_layers=&a 1", "anchor"),
        ("n_layers=!!int 1", "tag"),
        ("n_layers.x=1", "wrong-type"),
        ("norm.eps.x=1", "wrong-type"),
        ("optimizer.lr=1", "unknown-key"),
        (".=1", "unknown-key"),
        ("a." * 5000 + "b=1", "unknown-key"),
        ("norm." * 5000 + "b=1", "unknown-key"),
    ],
)
def test_override_diagnostic(override: str, code: str, minimal: str) -> None:
    with pytest.raises(ConfigError) as raised:
        _parse(minimal, override)
    (found,) = raised.value.diagnostics
    assert found.code == code
    assert found.span is not None
    assert found.span.source == SET


@given(st.lists(st.text(max_size=12).map(lambda text: f"{text}={text}"), max_size=3))
def test_fuzz_overrides(minimal: str, overrides: list[str]) -> None:
    try:
        _parse(minimal, *overrides)
    except TinylmError:
        return


def test_empty_file_with_overrides() -> None:
    with pytest.raises(ConfigError, match="the config is empty"):
        _parse("# nothing\n")
    required = ["vocab_size=256", "d_model=128", "n_heads=4", "n_layers=4", "d_ff=512"]
    assert _parse("# nothing\n", *required).config.d_model == 128


def test_error_message() -> None:
    with pytest.raises(ConfigError) as raised:
        _parse("vocab_size: x\nd_model: 128\nn_heads: 4\nn_layers: 0\nd_ff: 512\n")
    assert raised.value.message.startswith("x.yaml:1:13: vocab_size must be an integer")
    assert raised.value.message.endswith("(and 1 more)")


def test_name(minimal: str) -> None:
    text = f"name: My model\ndescription: A baseline.\n{minimal}"
    named, plain = (parse_config(Source("dir/x.yaml", each)) for each in (text, minimal))
    assert (named.name, plain.name) == ("My model", "x")
    assert parse_config(Source("x.yaml", minimal), ["name=Other"]).name == "Other"
    assert named.config.description == "A baseline."
    for value, read in (("a: b # c", "a: b # c"), ("7", "7"), ("'7'", "7"), ("null", None)):
        assert parse_config(Source("x.yaml", text), [f"description={value}"]).config.description == read
    assert canonical_fields(named.config) == canonical_fields(plain.config)
    kept = parse_config(Source("x.yaml", f"{text}nominal_params: 1M\n"), ["name=Other"]).config
    assert kept.nominal_params == 10**6, "another name is no other model"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("name: 7", "name must be text on one line, not 7"),
        ('name: ""', 'name must be text on one line, not ""'),
        ('name: "a\\nb"', r'name must be text on one line, not "a\nb"'),
        ("description: [a]", "description must be text, not [a]"),
    ],
)
def test_invalid_name(line: str, message: str, minimal: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config(Source("x.yaml", f"{line}\n{minimal}"))
    assert [each.message for each in refused.value.diagnostics] == [message]
