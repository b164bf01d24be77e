from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertPredictionHeadTransform

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.head_transform import HeadTransform

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]


@pytest.mark.parametrize("activation", ["gelu", "relu", "silu"])
def test_transform_of_bert(make_config: Make, randomized: Randomize, activation: str) -> None:
    ours = HeadTransform(make_config(norm={"eps": 0.1}, head={"dense": True, "dense_activation": activation}))
    randomized(ours)
    config = BertConfig(hidden_size=16, hidden_act=activation, layer_norm_eps=0.1)
    theirs = BertPredictionHeadTransform(config)  # type: ignore[no-untyped-call]  # untyped in transformers
    theirs.dense.load_state_dict(ours.dense.state_dict())
    theirs.LayerNorm.load_state_dict(ours.norm.state_dict())
    x = torch.randn(2, 3, 16)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(("kind", "names"), [("lm", ["lm_head.weight"]), ("token_classification", ["score.weight"])])
def test_it_precedes_the_head(make_config: Make, kind: str, names: list[str]) -> None:
    head = {"kind": kind, "dense": True, "dense_bias": False, "n_labels": 3} if kind != "lm" else {"dense": True}
    model = TinyTransformerLM.from_config(make_config(head=head)).eval()
    assert [name for name, _ in model.named_parameters(remove_duplicate=False)][-1:] == names
    x = torch.randn(2, 16)
    map_to_outputs = model.lm_head if kind == "lm" else model.score
    torch.testing.assert_close(model.logits(x), map_to_outputs(model.head_transform(x)))
