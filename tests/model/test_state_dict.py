from __future__ import annotations

from collections.abc import Callable

import torch

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.state_dict import buffer_dtypes, parameter_shapes, unique_params, unique_state_dict

Make = Callable[..., ModelConfig]
EMBEDDING = "embedding.token_embedding.embedding.weight"
ROUTED = {"n_experts": 4, "top_k": 2, "router": "sigmoid", "score_correction": True}


def meta(config: ModelConfig, dtype: torch.dtype = torch.float32) -> TinyTransformerLM:
    return TinyTransformerLM.from_config(config, device="meta", dtype=dtype)


def test_tied_shapes_listed_twice(make_config: Make) -> None:
    model = meta(make_config())
    shapes = parameter_shapes(model)
    assert shapes[EMBEDDING] == shapes["lm_head.weight"] == (23, 16)
    assert set(shapes) == set(dict(model.named_parameters(remove_duplicate=False)))
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == unique_params(model) + 23 * 16


def test_tied_weight_stored_once(make_config: Make) -> None:
    assert "lm_head.weight" not in unique_state_dict(meta(make_config()))
    assert "lm_head.weight" in unique_state_dict(meta(make_config(tie_weights=False)))


def test_tables_are_not_stored(make_config: Make) -> None:
    for kind in ("sinusoidal", "rope"):
        model = meta(make_config(position={"kind": kind}))
        assert dict(model.named_buffers())
        assert unique_state_dict(model).keys() == dict(model.named_parameters()).keys()


def test_correction_biases_are_stored_in_float32(make_config: Make) -> None:
    model = meta(make_config(feed_forward=ROUTED), torch.bfloat16)
    names = [name for name, _ in model.named_buffers() if name.endswith("score_correction")]
    assert len(names) == 3
    assert set(names) < unique_state_dict(model).keys()
    assert buffer_dtypes(model) == dict.fromkeys(names, torch.float32)


def test_values_are_detached_views(make_config: Make) -> None:
    model = TinyTransformerLM.from_config(make_config())
    stored = unique_state_dict(model)
    assert not any(tensor.requires_grad for tensor in stored.values())
    assert stored["ln_f.weight"].data_ptr() == model.ln_f.weight.data_ptr()
