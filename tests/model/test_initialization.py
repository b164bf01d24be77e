from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM, initialization
from tinylm_cli.model.initialization import CHUNK, STD, fill

Make = Callable[..., ModelConfig]


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def weights(config: ModelConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return TinyTransformerLM.from_config(config, seed=seed, dtype=dtype).state_dict()


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_weights_are_small_biases_zero_and_norms_one(make_config: Make) -> None:
    for name, tensor in weights(make_config(d_model=64, d_ff=256, vocab_size=500)).items():
        if name.endswith("bias"):
            assert not tensor.any()
        elif "ln_" in name:
            assert (tensor == 1).all()
        else:
            assert tensor.std() == pytest.approx(STD, rel=0.05)
            assert abs(tensor.mean()) < 4 * STD / tensor.numel() ** 0.5


def test_learned_positions_are_drawn_too(make_config: Make) -> None:
    table = weights(make_config(d_model=64, max_len=200, position={"kind": "learned"}))[
        "embedding.positional_encoding.weight"
    ]
    assert table.std() == pytest.approx(STD, rel=0.05)


def test_a_seed_decides_every_weight(make_config: Make) -> None:
    config = make_config()
    assert equal(weights(config, seed=5), weights(config, seed=5))
    first, second = weights(config, seed=5), weights(config, seed=6)
    assert not any(torch.equal(first[name], second[name]) for name in first if first[name].dim() > 1)


def test_torchs_global_generator_is_left_alone(make_config: Make) -> None:
    state = torch.random.get_rng_state()
    weights(make_config())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_threads_change_nothing(make_config: Make, threads: Callable[[int], None]) -> None:
    config = make_config(vocab_size=4000)
    threads(1)
    alone = weights(config)
    threads(4)
    assert equal(weights(config), alone)


def test_order_changes_nothing(make_config: Make) -> None:
    config = make_config()
    whole = weights(config)
    for name, tensor in reversed(whole.items()):
        if name != "lm_head.weight":  # tied, so drawn by the embedding's name
            again = torch.empty_like(tensor)
            constant = None if tensor.dim() > 1 else 0.0 if name.endswith("bias") else 1.0
            fill(again, name=name, seed=0, constant=constant)
            assert torch.equal(again, tensor)


def test_layers_and_tying_leave_the_other_tensors_as_they_are(make_config: Make) -> None:
    tied, deeper = weights(make_config()), weights(make_config(n_layers=5, tie_weights=False))
    assert all(torch.equal(tied[name], deeper[name]) for name in tied if name != "lm_head.weight")
    assert not torch.equal(deeper["lm_head.weight"], tied["lm_head.weight"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_hold_the_rounded_float32_values(make_config: Make, dtype: torch.dtype) -> None:
    config = make_config(vocab_size=CHUNK // 16 + 3, position={"kind": "learned"})
    wide = {name: tensor.to(dtype) for name, tensor in weights(config).items()}
    assert equal(weights(config, dtype=dtype), wide)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(2, 200), chunk=st.integers(1, 8).map(lambda n: 16 * n))
def test_chunks_are_pieces_of_one_stream(size: int, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initialization, "CHUNK", chunk)
        direct, cast = torch.empty(size, 1), torch.empty(size, 1, dtype=torch.float64)
        fill(direct, name="weight", seed=3)
        fill(cast, name="weight", seed=3)
    assert torch.equal(direct.double(), cast)


def test_the_first_values_are_pinned() -> None:
    values = torch.empty(16, 1)
    fill(values, name="embedding.token_embedding.embedding.weight", seed=0)
    torch.testing.assert_close(values[:3, 0], torch.tensor(PINNED), atol=1e-7, rtol=0)


PINNED = [0.0038856955, -0.0082815941, -0.0164596103]
