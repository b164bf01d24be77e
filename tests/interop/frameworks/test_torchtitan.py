"""Export to torchtitan: a Python file that compiles, the parameters that it builds, and what it cannot express."""

from __future__ import annotations

import ast

import pytest

from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import UnableError
from tinylm_cli.interop.frameworks.framework import Document, FrameworkConfig, to_framework
from tinylm_cli.interop.frameworks.torchtitan import TORCHTITAN, read
from tinylm_cli.interop.load import load_config

EXPORTED = {
    "llama-2-7b": 6_738_415_616,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.2-1b": 1_235_814_400,
    "qwen3-0.6b": 596_049_920,
    "qwen3-8b": 8_190_735_360,
}
"""Published models and their parameters, which torchtitan 0.3.0 builds on the meta device, too."""


def exported(name: str, *changes: str) -> FrameworkConfig:
    return to_framework(load_config(name, changes).config, name, TORCHTITAN)


def params_of_decoder(document: Document) -> int:
    """Return the parameters of ``Decoder``, GQAttention and FeedForward of torchtitan/models/common, without biases."""
    names = ("dim", "n_layers", "n_heads", "n_kv_heads", "head_dim", "hidden_dim", "vocab_size")
    dim, layers, heads, kv_heads, head, hidden, rows = (int(document[name]) for name in names)
    attention = dim * (heads + 2 * kv_heads) * head + heads * head * dim
    qk_norms = 2 * head if document["model"] == "qwen3" else 0
    tables = rows * dim * (1 if document["enable_weight_tying"] else 2)
    return layers * (attention + qk_norms + 3 * dim * hidden + 2 * dim) + dim + tables


@pytest.mark.parametrize("name", EXPORTED)
def test_parameters(name: str) -> None:
    made = exported(name)
    assert params_of_decoder(made.document) == EXPORTED[name] == total_params(tensor_table(made.config))


@pytest.mark.parametrize("name", EXPORTED)
def test_file(name: str) -> None:
    """The file defines the flavor by keyword arguments alone, with the sizes of the model."""
    made = exported(name)
    module = ast.parse(TORCHTITAN.to_text(made.document))
    function = next(node for node in module.body if isinstance(node, ast.FunctionDef))
    assert function.name == "model_config"
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    given = {word.arg: word.value for call in calls for word in call.keywords}
    sizes = {
        name: ast.literal_eval(given[name]) for name in ("n_layers", "n_heads", "n_kv_heads", "hidden_dim", "theta")
    }
    assert sizes == {name: made.document[name] for name in sizes}
    imported = {alias.name for node in module.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    used = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    assert imported <= used
    assert used - imported <= {"attn_backend", "tp_gemm_backend", "str"}


def test_names_are_text() -> None:
    """The name of a model, from outside, is only ever a literal."""
    config = load_config("qwen3-8b").config
    text = TORCHTITAN.to_text(to_framework(config, 'x"""\nimport os', TORCHTITAN).document)
    module = ast.parse(text)
    assert not [node for node in ast.walk(module) if isinstance(node, ast.Import)]
    (flavor,) = (node for node in module.body if isinstance(node, ast.Assign))
    assert ast.literal_eval(flavor.value) == 'x"""\nimport os'


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llama-3-8b", ["n_layers=3", "position.scaling=llama3", "position.scaling_factor=4",
                        "position.original_max_len=4096", "position.low_freq_factor=2"]),
        ("llama-3-8b", ["position.pairing=adjacent", "tie_weights=true"]),
        ("qwen3-8b", ["attention.d_head=64", "attention.n_kv_heads=2"]),
    ],
)  # fmt: skip
def test_read_back(name: str, changes: list[str]) -> None:
    made = exported(name, *changes)
    assert canonical_fields(made.config) == canonical_fields(ModelConfig.model_validate(read(made.document)))


def test_reordered_pairs() -> None:
    assert exported("llama-3-8b").changes == ("position.pairing: half → adjacent",)
    assert exported("qwen3-8b").changes == ()


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("mixtral-8x7b", [], "feed_forward.n_experts 8"),
        ("mistral-7b", ["attention.window=4096"], "attention.window_pattern"),
        ("llama-3-8b", ["norm.eps=1e-6"], "norm.eps 1e-06"),
        ("llama-3-8b", ["attention.d_head=64"], "attention.d_head 64"),
        ("qwen3-8b", ["position.scaling=linear", "position.scaling_factor=2"], "position.scaling linear"),
        ("qwen2.5-0.5b", [], "attention.bias true"),
        ("gemma-2-2b", [], "norm.placement sandwich"),
    ],
)
def test_refused(name: str, changes: list[str], field: str) -> None:
    with pytest.raises(UnableError, match=r"torchtitan 0\.3\.0 cannot express this model") as raised:
        exported(name, *changes)
    assert field in str(raised.value)
