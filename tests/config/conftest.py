"""What the tests of the config room share: strategies for valid configs, and a minimal one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from tinylm_cli.config.schema import BLOCKS

MINIMAL = "vocab_size: 256\nd_model: 128\nn_heads: 4\nn_layers: 4\nd_ff: 512\n"


@pytest.fixture(scope="session")
def minimal() -> str:
    """The shortest valid config: the required fields."""
    return MINIMAL


@pytest.fixture(scope="session")
def valid_values() -> st.SearchStrategy[dict[str, Any]]:
    """Draw valid configs as nested values, any optional field or block left out at times."""
    kinds = {"position": ["sinusoidal", "learned", "none"], "norm": ["layernorm", "rmsnorm"]}
    blocks: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "position": {"kind": st.sampled_from(kinds["position"])},
        "norm": {
            "kind": st.sampled_from(kinds["norm"]),
            "eps": st.floats(min_value=0, max_value=0.1, exclude_min=True, allow_subnormal=True),
        },
        "attention": {"bias": st.booleans()},
        "feed_forward": {"activation": st.sampled_from(["gelu", "gelu_tanh", "relu", "silu"]), "bias": st.booleans()},
    }
    assert set(blocks) == set(BLOCKS)
    return _widths().flatmap(
        lambda width: st.fixed_dictionaries(
            {
                "vocab_size": st.integers(1, 10**8),
                "d_model": st.just(width[0]),
                "n_heads": st.just(width[1]),
                "n_layers": st.integers(1, 10**5),
                "d_ff": st.integers(1, 2**24),
            },
            optional={
                "max_len": st.integers(1, 10**9),
                "dropout": st.floats(min_value=0, max_value=1, exclude_max=True),
                "tie_weights": st.booleans(),
                "nominal_params": st.integers(1, 10**18),
                **{name: st.fixed_dictionaries({}, optional=inner) for name, inner in blocks.items()},
            },
        )
    )


def _widths() -> st.SearchStrategy[tuple[int, int]]:
    """Draw d_model and n_heads that fit each other, d_model even as sinusoidal positions want it."""
    heads = st.integers(1, 512)
    return st.tuples(heads, st.integers(1, 512)).map(lambda drawn: (2 * drawn[0] * drawn[1], drawn[0]))
