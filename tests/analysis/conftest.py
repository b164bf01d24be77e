"""Fixtures of the analysis tests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from tinylm_cli.config.schema import ModelConfig


@pytest.fixture(scope="session")
def configs() -> st.SearchStrategy[ModelConfig]:
    """Draw small configs of every combination of these fields."""

    def build(values: dict[str, Any]) -> ModelConfig:
        heads, head_width = values.pop("heads")
        blocks = {
            "position": {"kind": values.pop("position")},
            "norm": {"kind": values.pop("norm")},
            "attention": {"bias": values.pop("attention_bias")},
            "feed_forward": {"bias": values.pop("feed_forward_bias")},
        }
        return ModelConfig.model_validate({**values, **blocks, "n_heads": heads, "d_model": 2 * heads * head_width})

    return st.fixed_dictionaries(
        {
            "vocab_size": st.integers(1, 300),
            "heads": st.tuples(st.integers(1, 4), st.integers(1, 8)),
            "n_layers": st.integers(1, 5),
            "d_ff": st.integers(1, 90),
            "max_len": st.integers(1, 64),
            "tie_weights": st.booleans(),
            "position": st.sampled_from(["sinusoidal", "learned", "none"]),
            "norm": st.sampled_from(["layernorm", "rmsnorm"]),
            "attention_bias": st.booleans(),
            "feed_forward_bias": st.booleans(),
        }
    ).map(build)
