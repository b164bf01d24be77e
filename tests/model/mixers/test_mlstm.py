"""mLSTM: in chunks and in steps, compared with transformers' module and with the recurrence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.xlstm.configuration_xlstm import xLSTMConfig
from transformers.models.xlstm.modeling_xlstm import xLSTMLayer

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.mixers.mlstm import Mlstm, MlstmState, chunked_mlstm

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]

D, H, K, V, T = 16, 2, 4, 8, 23
STORED = {
    "q_proj": "q",
    "k_proj": "k",
    "v_proj": "v",
    "i_proj": "igate_preact",
    "f_proj": "fgate_preact",
    "gate_proj": "ogate_preact",
    "o_norm": "multihead_norm",
    "o_proj": "out_proj",
}


def mlstm(make_config: Make, randomized: Randomize, **fields: object) -> Mlstm:
    sizes: dict[str, object] = {"n_heads": H, "d_key": K, "d_value": V, "o_norm_eps": 1e-6, "chunk_len": 8}
    module = Mlstm(make_config(block={"mixer": "mlstm"}, mlstm=sizes | fields))
    randomized(module)
    return module


def empty_state(batch_size: int, dtype: torch.dtype = torch.float32) -> MlstmState:
    return MlstmState(torch.zeros(batch_size, H, K, V + 1, dtype=dtype), torch.zeros(batch_size, H, dtype=dtype))


@pytest.mark.parametrize("softcap", [15.0, 2.0])
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_equals_transformers(make_config: Make, randomized: Randomize, softcap: float, scale: float) -> None:
    """Large inputs of the gates reach the soft-cap, and memories of another scale."""
    ours = mlstm(make_config, randomized, gate_softcap=softcap)
    config = xLSTMConfig(
        hidden_size=D, num_heads=H, num_hidden_layers=1, qk_dim_factor=0.5, chunk_size=8, gate_soft_cap=softcap
    )
    theirs = xLSTMLayer(config)
    theirs.load_state_dict(
        {f"{STORED[module]}.{name}": tensor for (module, name), tensor in by_module(ours.state_dict()).items()}
    )
    x, state = scale * torch.randn(2, T, D), empty_state(2)
    with torch.no_grad():
        expected, (memory, normalizer, maximum) = theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours(x, cache=state), expected, rtol=1e-5, atol=1e-5)
    kept = torch.cat([memory, normalizer[..., None]], dim=-1)
    torch.testing.assert_close(state.memory, kept, rtol=1e-5, atol=1e-5 * float(kept.abs().max()))
    torch.testing.assert_close(state.maximum, maximum[..., 0], rtol=1e-5, atol=1e-5)


def by_module(tensors: dict[str, Tensor]) -> dict[tuple[str, str], Tensor]:
    """Return tensors by the names of their module and of their parameter."""
    split = {name: name.partition(".") for name in tensors}
    return {(module, parameter): tensors[name] for name, (module, _, parameter) in split.items()}


@pytest.mark.parametrize("lengths", [[T], [1] * T, [9, 1, 1, T - 11]])
def test_steps_equal_the_chunked_form(make_config: Make, randomized: Randomize, lengths: list[int]) -> None:
    module = mlstm(make_config, randomized)
    x, state = torch.randn(2, T, D), empty_state(2)
    with torch.no_grad():
        pieces = [module(piece, cache=state) for piece in torch.split(x, lengths, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), module(x), rtol=1e-5, atol=1e-5)


def drawn(length: int) -> tuple[Tensor, ...]:
    """Return queries, keys, values with a last one of 1, and both gates, in float64."""
    torch.manual_seed(0)
    q, k = torch.randn(2, 2, H, length, K, dtype=torch.float64)
    v = functional.pad(torch.randn(2, H, length, V, dtype=torch.float64), (0, 1), value=1.0)
    added, kept = torch.randn(2, 2, H, length, dtype=torch.float64)
    return tuple(each.requires_grad_() for each in (q, k, v, 3 * added, functional.logsigmoid(kept)))


@pytest.mark.parametrize("chunk_len", [1, 2, 5, 7, 64])
def test_chunks_equal_the_recurrence(chunk_len: int) -> None:
    """Each position as the recurrence is written, without a maximum; the sums are scaled back."""
    q, k, v, added, kept = drawn(7)
    state = empty_state(2, torch.float64)
    sums, maximum = chunked_mlstm(q, k, v, added, kept, chunk_len=chunk_len, state=state)
    memory = torch.zeros(2, H, K, V + 1, dtype=torch.float64)
    for t in range(7):
        written = added[:, :, t, None, None].exp() * k[:, :, t, :, None] * v[:, :, t, None]
        memory = kept[:, :, t, None, None].exp() * memory + written
        found = sums[:, :, t] * maximum[:, :, t, None].exp()
        torch.testing.assert_close(found, torch.einsum("bhkv,bhk->bhv", memory, q[:, :, t]))
    torch.testing.assert_close(state.memory * state.maximum[..., None, None].exp(), memory)


def test_gradients_ignore_the_maximum() -> None:
    """Of ratios of sums, which the maximum does not change, chunks give the gradients of a single chunk."""
    found = []
    for chunk_len in (7, 2):
        inputs = drawn(7)
        sums, _ = chunked_mlstm(*inputs, chunk_len=chunk_len)
        loss = (sums[..., :-1] / sums[..., -1:]).square().sum()
        found.append(torch.autograd.grad(loss, inputs))
    for whole, chunked in zip(*found, strict=True):
        torch.testing.assert_close(chunked, whole)


def test_strong_gates_do_not_overflow() -> None:
    """exp(i) exceeds the largest float, and the product of forget gates over a chunk is below the smallest float."""
    ones = torch.ones(1, 1, 130, 1)
    gates = torch.full((1, 1, 130), 100.0)
    sums, maximum = chunked_mlstm(ones, ones, functional.pad(ones, (0, 1), value=1.0), gates, -gates, chunk_len=64)
    torch.testing.assert_close(sums, torch.ones(1, 1, 130, 2))
    torch.testing.assert_close(maximum, gates)


def test_initial_values(make_config: Make) -> None:
    """Gates that do not depend on the token: almost closed to inputs, and open to the memory."""
    config = make_config(block={"mixer": "mlstm"}, mlstm={"n_heads": 4, "d_key": K, "d_value": V})
    values = TinyTransformerLM.from_config(config).state_dict()
    for gate, bias in (("i_proj", [-10.0] * 4), ("f_proj", [3.0, 4.0, 5.0, 6.0])):
        assert values[f"blocks.0.mlstm.{gate}.weight"].eq(0).all()
        assert values[f"blocks.0.mlstm.{gate}.bias"].tolist() == bias
