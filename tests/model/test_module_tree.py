from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from time import perf_counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.random_configs import small_configs
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.module_tree import module_tree
from tinylm_cli.model.state_dict import unique_params
from tinylm_cli.reports.architecture import ModuleNode

Make = Callable[..., ModelConfig]
EMBEDDING = "embedding.token_embedding.embedding"


def meta(config: ModelConfig) -> TinyTransformerLM:
    return TinyTransformerLM.from_config(config, device="meta")


def lines(node: ModuleNode, depth: int = 0) -> Iterator[str]:
    times = f" x{node.count}" if node.count > 1 else ""
    tied = f" -> {node.tied_to}" if node.tied_to else ""
    yield f"{'  ' * depth}{node.name} {node.kind}{times} {node.shape} {node.params}{tied}"
    for child in node.children:
        yield from lines(child, depth + 1)


def walk(node: ModuleNode, path: str = "") -> Iterator[tuple[str, ModuleNode]]:
    yield path, node
    for child in node.children:
        yield from walk(child, f"{path}.{child.name}" if path else child.name)


def test_the_tree_of_a_course_model(make_config: Make) -> None:
    assert list(lines(module_tree(meta(make_config())))) == [
        "TinyTransformerLM TinyTransformerLM None 7864",
        "  embedding TransformerEmbedding None 368",
        "    token_embedding.embedding EmbeddingTable (23, 16) 368",
        "    positional_encoding SinusoidalPosition None 0",
        "  blocks ModuleList None 7464",
        "    0..2 TransformerBlock x3 None 7464",
        "      ln_1 LayerNorm (16,) 32",
        "      attention SelfAttention None 1088",
        "        q_proj Linear (16, 16) 272",
        "        k_proj Linear (16, 16) 272",
        "        v_proj Linear (16, 16) 272",
        "        o_proj Linear (16, 16) 272",
        "      ln_2 LayerNorm (16,) 32",
        "      feed_forward FeedForward None 1336",
        "        up_proj Linear (40, 16) 680",
        "        down_proj Linear (16, 40) 656",
        "  ln_f LayerNorm (16,) 32",
        f"  lm_head Linear (23, 16) 0 -> {EMBEDDING}",
    ]


def test_untied_with_learned_positions(make_config: Make) -> None:
    tree = dict(walk(module_tree(meta(make_config(tie_weights=False, position={"kind": "learned"})))))
    head, positions = tree["lm_head"], tree["embedding.positional_encoding"]
    assert (head.params, head.tied_to) == (23 * 16, None)
    assert (positions.kind, positions.shape, positions.params) == ("LearnedPosition", (12, 16), 12 * 16)


@pytest.mark.parametrize(("kind", "name"), [("sinusoidal", "SinusoidalPosition"), ("none", "NoPosition")])
def test_positions_without_parameters(make_config: Make, kind: str, name: str) -> None:
    node = dict(walk(module_tree(meta(make_config(position={"kind": kind})))))["embedding.positional_encoding"]
    assert (node.kind, node.shape, node.params, node.share) == (name, None, 0, 0.0)


def test_dropout_is_not_shown(make_config: Make) -> None:
    assert "Dropout" not in {node.kind for _, node in walk(module_tree(meta(make_config(dropout=0.5))))}


def test_single_layer(make_config: Make) -> None:
    tree = dict(walk(module_tree(meta(make_config(n_layers=1)))))
    assert tree["blocks.0"].count == 1


def test_expanded_paths(make_config: Make) -> None:
    model = meta(make_config())
    tree = dict(walk(module_tree(model, expand=True)))
    assert [path for path in tree if path.startswith("blocks.") and path.count(".") == 1] == [
        "blocks.0", "blocks.1", "blocks.2",
    ]  # fmt: skip
    for path, node in tree.items():
        assert type(model.get_submodule(path)).__name__ == node.kind


def test_different_layers_are_separate_nodes(make_config: Make) -> None:
    model = meta(make_config(n_layers=6))
    model.blocks[3] = meta(make_config(d_ff=41)).blocks[0]
    names = [child.name for child in dict(walk(module_tree(model)))["blocks"].children]
    assert names == ["0..2, 4..5", "3"]


@pytest.mark.parametrize(
    ("pattern", "n_layers", "expected"),
    [
        ("L", 4, {"0..3": {"window": 2}}),
        ("LG", 4, {"0, 2": {"window": 2}, "1, 3": {}}),
        ("LG", 6, {"0, 2, 4": {"window": 2}, "1, 3, 5": {}}),
        ("LG", 7, {"0, 2, 4, 6": {"window": 2}, "1, 3, 5": {}}),
        ("LLG", 8, {"0..1, 3..4, 6..7": {"window": 2}, "2, 5": {}}),
        ("LG", 10, {"0, 2, …, 8": {"window": 2}, "1, 3, …, 9": {}}),
        ("LLLLLG", 26, {"0..4, 6..10, …, 24..25": {"window": 2}, "5, 11, 17, 23": {}}),
        ("GL", 1, {"0": {}}),
    ],
)
def test_local_and_global_layers(
    pattern: str, n_layers: int, expected: dict[str, dict[str, int]], make_config: Make
) -> None:
    config = make_config(n_layers=n_layers, attention={"window": 2, "window_pattern": pattern})
    model = meta(config)
    blocks = dict(walk(module_tree(model)))["blocks"]
    assert {child.name: child.settings for child in blocks.children} == expected
    assert sum(child.count for child in blocks.children) == n_layers
    expanded = dict(walk(module_tree(model, expand=True)))["blocks"].children
    windows = [2 if letter == "L" else None for letter in (pattern * n_layers)[:n_layers]]
    assert [child.settings.get("window") for child in expanded] == windows
    assert ("window=2" in str(model)) == ("L" in pattern[:n_layers])


@pytest.mark.parametrize("change", [{"dropout": 0.5}, {"n_heads": 2}, {"norm": {"eps": 0.1}}])
def test_other_settings(make_config: Make, change: dict[str, object]) -> None:
    model = meta(make_config())
    model.blocks[2] = meta(make_config(**change)).blocks[0]
    assert [child.name for child in dict(walk(module_tree(model)))["blocks"].children] == ["0..1", "2"]


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "relu", "silu"])
def test_other_activation(make_config: Make, activation: str) -> None:
    model = meta(make_config())
    model.blocks[0] = meta(make_config(feed_forward={"activation": activation})).blocks[0]
    expected = ["0..2"] if activation == "gelu" else ["0", "1..2"]
    assert [child.name for child in dict(walk(module_tree(model)))["blocks"].children] == expected


def test_shared_layer_tensor(make_config: Make) -> None:
    model = meta(make_config())
    for block in list(model.blocks)[1:]:
        block.attention = model.blocks[0].attention
    tree = dict(walk(module_tree(model)))
    assert [child.name for child in tree["blocks"].children] == ["0", "1..2"]
    assert tree["blocks.1..2.attention.q_proj"].tied_to == "blocks.0.attention.q_proj"
    assert tree[""].params == unique_params(model) == 7864 - 2 * 1088


def test_tree_in_every_state(make_config: Make) -> None:
    model = TinyTransformerLM.from_config(make_config())
    tree = module_tree(model)
    assert module_tree(model.eval()) == tree
    assert module_tree(copy.deepcopy(model)) == tree
    assert module_tree(meta(make_config())) == tree


def test_any_module() -> None:
    assert list(lines(module_tree(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1, bias=False))))) == [
        "Sequential Sequential None 12",
        "  0 Linear (3, 2) 9",
        "  2 Linear (1, 3) 3",
    ]
    assert module_tree(nn.ReLU()) == ModuleNode("ReLU", "ReLU", 1, None, 0, 0.0, None, {}, "", ())


@given(
    n_layers=st.integers(1, 5), heads=st.integers(1, 3), bias=st.booleans(), tied=st.booleans(), expand=st.booleans(),
    kind=st.sampled_from(["sinusoidal", "learned", "none"]), norm=st.sampled_from(["layernorm", "rmsnorm"]),
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_parts_sum_to_total(
    n_layers: int, heads: int, bias: bool, tied: bool, expand: bool, kind: str, norm: str
) -> None:
    config = ModelConfig.model_validate({
        "vocab_size": 7, "d_model": 2 * heads, "n_heads": heads, "n_layers": n_layers, "d_ff": 5, "max_len": 3,
        "tie_weights": tied, "position": {"kind": kind}, "norm": {"kind": norm}, "attention": {"bias": bias},
    })  # fmt: skip
    model = meta(config)
    tree = module_tree(model, expand=expand)
    assert tree.params == unique_params(model) == sum(parameter.numel() for parameter in model.parameters())
    assert tree.share == 1.0
    for _, node in walk(tree):
        if node.children:
            own = sum(child.params for child in node.children)
            assert own * node.count == node.params
        assert node.share == node.params / tree.params


@given(config=small_configs(), expand=st.booleans())
@settings(max_examples=40, deadline=None)
def test_params_add_up(config: ModelConfig, expand: bool) -> None:
    model = TinyTransformerLM.from_config(config, device="meta")
    tree = module_tree(model, expand=expand)
    assert tree.params == unique_params(model)
    for _, node in walk(tree):
        beside = () if node.shape is not None or not node.children else node.children
        if beside:
            assert sum(child.params for child in beside) * node.count == node.params, node.name


def test_settings_not_visible_in_shapes() -> None:
    found = {}
    for name in ("gpt-oss-20b", "deepseek-v2-lite", "tiny"):
        config = load_config(name).config.model_copy(update={"n_layers": 2})
        tree = module_tree(TinyTransformerLM.from_config(config, device="meta"))
        found[name] = {node.name: (node.settings, node.shape) for _, node in walk(tree)}
    assert found["gpt-oss-20b"]["attention"][0] == {"n_heads": 64, "n_kv_heads": 8}
    assert found["gpt-oss-20b"]["feed_forward"][0] == {"n_experts": 32, "top_k": 4}
    assert found["gpt-oss-20b"]["sinks"] == ({}, (64,))
    assert found["deepseek-v2-lite"]["attention"][0] == {"n_heads": 16, "kv_rank": 512}
    assert found["tiny"]["attention"][0] == {"n_heads": 4}
    assert found["tiny"]["feed_forward"][0] == {}


def test_linear_time(make_config: Make) -> None:
    def seconds(model: TinyTransformerLM) -> float:
        times = []
        for _ in range(3):
            start = perf_counter()
            module_tree(model)
            times.append(perf_counter() - start)
        return min(times)

    small, large = (meta(make_config(n_layers=n_layers)) for n_layers in (60, 960))
    assert seconds(large) < 6 * 16 * seconds(small)
    assert len(dict(walk(module_tree(large)))["blocks"].children) == 1


def test_named_kinds_of_layers() -> None:
    """Layers of equal modules are apart if their kinds have names: one has RoPE, the other has not."""
    values = {"vocab_size": 8, "d_model": 8, "n_heads": 2, "n_layers": 6, "d_ff": 8, "position": {"kind": "rope"}}
    layers = {"pattern": "2 rope, nope", "kinds": {"rope": {}, "nope": {"position": {"kind": "none"}}}}
    with torch.device("meta"):
        tree = module_tree(TinyTransformerLM.from_config(ModelConfig.model_validate({**values, "layers": layers})))
    blocks = next(node for node in tree.children if node.name == "blocks")
    found = [(node.name, node.count, node.layer_kind) for node in blocks.children]
    assert found == [("0..1, 3..4", 4, "rope"), ("2, 5", 2, "nope")]
    assert {node.layer_kind for group in blocks.children for node in group.children} == {""}


@pytest.mark.parametrize("mixer", ["lightning_attention", "attention", "rwkv"])
def test_equal_shapes(mixer: str) -> None:
    """The decays of lightning attention, the factors of differential attention and some initial values differ."""
    overrides = ["n_layers=6", f"block.mixer={mixer}", "position.kind=none"]
    if mixer == "rwkv":
        overrides.append("feed_forward.channel_mixing=true")
    if mixer == "attention":
        overrides.append("attention.differential=true")
    model = TinyTransformerLM.from_config(load_config("tiny", overrides).config, device="meta")
    (blocks,) = [node for node in module_tree(model).children if node.name == "blocks"]
    assert [node.count for node in blocks.children] == [6]
