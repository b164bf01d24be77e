"""The tensor table: every tensor once, identical layers together, in the order of the model."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinylm_cli.analysis.params import total_params, untied_params
from tinylm_cli.analysis.tensor import COMPONENTS
from tinylm_cli.analysis.tensor_table import TOKEN_EMBEDDING, expand, tensor_table
from tinylm_cli.config.schema import ModelConfig

TINY: dict[str, Any] = {"vocab_size": 256, "d_model": 128, "n_heads": 4, "n_layers": 4, "d_ff": 512}


def _config(**changes: Any) -> ModelConfig:
    return ModelConfig.model_validate({**TINY, **changes})


LAYER = [
    ("ln_1.weight", (128,), "norm"),
    ("ln_1.bias", (128,), "norm"),
    ("attention.q_proj.weight", (128, 128), "attention"),
    ("attention.q_proj.bias", (128,), "attention"),
    ("attention.k_proj.weight", (128, 128), "attention"),
    ("attention.k_proj.bias", (128,), "attention"),
    ("attention.v_proj.weight", (128, 128), "attention"),
    ("attention.v_proj.bias", (128,), "attention"),
    ("attention.o_proj.weight", (128, 128), "attention"),
    ("attention.o_proj.bias", (128,), "attention"),
    ("ln_2.weight", (128,), "norm"),
    ("ln_2.bias", (128,), "norm"),
    ("feed_forward.up_proj.weight", (512, 128), "feed_forward"),
    ("feed_forward.up_proj.bias", (512,), "feed_forward"),
    ("feed_forward.down_proj.weight", (128, 512), "feed_forward"),
    ("feed_forward.down_proj.bias", (128,), "feed_forward"),
]


def test_course_model() -> None:
    embedding, layers, head = tensor_table(_config())
    assert embedding.layers is None
    assert [tensor[:3] for tensor in embedding.tensors] == [(TOKEN_EMBEDDING, (256, 128), "token_embedding")]
    assert layers.layers is not None
    assert list(layers.layers) == [0, 1, 2, 3]
    assert [tensor[:3] for tensor in layers.tensors] == LAYER
    assert [tensor[:4] for tensor in head.tensors] == [
        ("ln_f.weight", (128,), "norm", None),
        ("ln_f.bias", (128,), "norm", None),
        ("lm_head.weight", (256, 128), "lm_head", TOKEN_EMBEDDING),
    ]


def test_each_field_changes_its_tensors() -> None:
    def names(**changes: Any) -> set[str]:
        return {name for name, _ in expand(tensor_table(_config(n_layers=1, **changes)))}

    course = names()
    assert names(position={"kind": "learned"}) - course == {"embedding.positional_encoding.weight"}
    assert names(position={"kind": "none"}) == names(position={"kind": "sinusoidal"}) == course
    assert course - names(norm={"kind": "rmsnorm"}) == {"blocks.0.ln_1.bias", "blocks.0.ln_2.bias", "ln_f.bias"}
    assert course - names(attention={"bias": False}) == {f"blocks.0.attention.{p}_proj.bias" for p in "qkvo"}
    assert course - names(feed_forward={"bias": False}) == {
        f"blocks.0.feed_forward.{p}_proj.bias" for p in ("up", "down")
    }
    assert names(tie_weights=False) == names(feed_forward={"activation": "relu"}) == course


def test_expand() -> None:
    names = [name for name, _ in expand(tensor_table(_config(n_layers=12)))]
    assert names[0] == TOKEN_EMBEDDING
    assert names[-1] == "lm_head.weight"
    numbers = [int(name.split(".")[1]) for name in names if name.startswith("blocks.")]
    assert numbers == [layer for layer in range(12) for _ in LAYER]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("n_layers", [1, 4, 10_000])
def test_layers_share_a_section(n_layers: int) -> None:
    table = tensor_table(_config(n_layers=n_layers))
    assert [section.repeats for section in table] == [1, n_layers, 1]
    assert sum(len(section.tensors) for section in table) == 20
    layers = table[1]
    first = layers.tensors[0]
    together = "blocks.0" if n_layers == 1 else f"blocks.{{0..{n_layers - 1}}}"
    assert layers.full_name(first) == f"{together}.ln_1.weight"
    assert layers.full_name(first, n_layers - 1) == f"blocks.{n_layers - 1}.ln_1.weight"


@given(st.data())
def test_folds_agree_with_expanded_table(configs: st.SearchStrategy[ModelConfig], data: st.DataObject) -> None:
    config = data.draw(configs)
    table = tensor_table(config)
    tensors = [tensor for _, tensor in expand(table)]
    assert total_params(table) == sum(tensor.params for tensor in tensors)
    assert untied_params(table) == sum(tensor.elements for tensor in tensors)
    assert untied_params(table) - total_params(table) == config.tie_weights * config.vocab_size * config.d_model
    assert {tensor.component for tensor in tensors} <= set(COMPONENTS)
    owners = {name for name, tensor in expand(table) if tensor.tied_to is None}
    assert all(tensor.tied_to is None or tensor.tied_to in owners for tensor in tensors)
