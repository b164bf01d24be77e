"""LAuReL, compared with Gemma 3n's module in transformers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from transformers.models.gemma3n.configuration_gemma3n import Gemma3nTextConfig
from transformers.models.gemma3n.modeling_gemma3n import Gemma3nTextLaurelBlock

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.laurel import Laurel


def test_equals_transformers(
    make_config: Callable[..., ModelConfig], randomized: Callable[[nn.Module], nn.Module]
) -> None:
    ours = Laurel(make_config(norm={"kind": "rmsnorm"}), 5)
    randomized(ours)
    theirs = Gemma3nTextLaurelBlock(Gemma3nTextConfig(hidden_size=16, laurel_rank=5, rms_norm_eps=ours.norm.eps))
    theirs.load_state_dict(
        {
            "linear_left.weight": ours.down.weight,
            "linear_right.weight": ours.up.weight,
            "post_laurel_norm.weight": ours.norm.weight,
        }
    )
    x = torch.randn(2, 7, 16)
    torch.testing.assert_close(ours(x), theirs(x))
