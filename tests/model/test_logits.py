"""Logits compared with transformers' GPT-2 and with a second model written from the papers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.small_models import assert_same_logits, build, ids
from tinylm_cli.model import TinyTransformerLM


def transposed(tensor: Tensor) -> Tensor:
    """Return a weight the way GPT-2 stores it; a bias is left as it is."""
    return tensor if tensor.dim() == 1 else tensor.T


def gpt2_twin(model: TinyTransformerLM) -> Any:
    """Return transformers' GPT-2 with the weights of ``model``, the scale of the embedding folded into its table."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = model.config
    gpt2: Any = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_embd=config.d_model,
            n_head=config.n_heads,
            n_layer=config.n_layers,
            n_inner=config.d_ff,
            n_positions=config.max_len,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    ours = model.state_dict()
    theirs = {
        "transformer.wte.weight": ours["embedding.token_embedding.embedding.weight"] * math.sqrt(config.d_model),
        "transformer.wpe.weight": ours["embedding.positional_encoding.weight"],
        "transformer.ln_f.weight": ours["ln_f.weight"],
        "transformer.ln_f.bias": ours["ln_f.bias"],
        "lm_head.weight": ours["lm_head.weight"],
    }
    for i in range(config.n_layers):
        mine, its = f"blocks.{i}", f"transformer.h.{i}"
        for part in ("weight", "bias"):
            qkv = torch.cat([ours[f"{mine}.attention.{name}_proj.{part}"] for name in "qkv"])
            theirs |= {
                f"{its}.ln_1.{part}": ours[f"{mine}.ln_1.{part}"],
                f"{its}.ln_2.{part}": ours[f"{mine}.ln_2.{part}"],
                f"{its}.attn.c_attn.{part}": transposed(qkv),
                f"{its}.attn.c_proj.{part}": transposed(ours[f"{mine}.attention.o_proj.{part}"]),
                f"{its}.mlp.c_fc.{part}": transposed(ours[f"{mine}.feed_forward.up_proj.{part}"]),
                f"{its}.mlp.c_proj.{part}": transposed(ours[f"{mine}.feed_forward.down_proj.{part}"]),
            }
    gpt2.load_state_dict(theirs)
    return gpt2.eval()


def test_equals_gpt2() -> None:
    model = build(position={"kind": "learned"}, feed_forward={"activation": "gelu_tanh"}, tie_weights=False)
    with torch.no_grad():
        assert_same_logits(model(ids()), gpt2_twin(model)(ids()).logits)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: x.clamp(min=0),
    "silu": lambda x: x / (1 + torch.exp(-x)),
}


class Reference:
    """The same model a second time: float64, one sequence, one head at a time, written from the papers."""

    def __init__(self, model: TinyTransformerLM) -> None:
        self.config = model.config
        self.weights: dict[str, Tensor] = {name: tensor.double() for name, tensor in model.state_dict().items()}

    def linear(self, x: Tensor, name: str) -> Tensor:
        bias = self.weights.get(f"{name}.bias")
        out = torch.einsum("ti,oi->to", x, self.weights[f"{name}.weight"])
        return out if bias is None else out + bias

    def norm(self, x: Tensor, name: str) -> Tensor:
        if self.config.norm.kind == "layernorm":
            x = x - x.mean(-1, keepdim=True)
        size = torch.sqrt((x * x).mean(-1, keepdim=True) + self.config.norm.eps)  # (T, 1)
        x = x / size * self.weights[f"{name}.weight"]
        return x + self.weights.get(f"{name}.bias", torch.zeros_like(x))

    def positions(self, length: int) -> Tensor:
        if self.config.position.kind == "learned":
            return self.weights["embedding.positional_encoding.weight"][:length]
        table = torch.zeros(length, self.config.d_model, dtype=torch.float64)
        if self.config.position.kind == "sinusoidal":
            for t in range(length):
                for i in range(0, self.config.d_model, 2):
                    angle = t / 10_000 ** (i / self.config.d_model)
                    table[t, i], table[t, i + 1] = math.sin(angle), math.cos(angle)
        return table

    def attention(self, x: Tensor, name: str) -> Tensor:
        length, size = len(x), self.config.d_head
        q, k, v = (self.linear(x, f"{name}.{part}_proj") for part in "qkv")
        out = torch.zeros_like(q)
        for head in range(self.config.n_heads):
            part = slice(head * size, head * size + size)
            for t in range(length):
                scores = torch.stack([q[t, part] @ k[s, part] / math.sqrt(size) for s in range(t + 1)])
                odds = torch.exp(scores - scores.max())
                out[t, part] = (odds / odds.sum()) @ v[: t + 1, part]
        return self.linear(out, f"{name}.o_proj")

    def __call__(self, tokens: Tensor) -> Tensor:
        table = self.weights["embedding.token_embedding.embedding.weight"]
        x = table[tokens] * math.sqrt(self.config.d_model) + self.positions(len(tokens))
        for i in range(self.config.n_layers):
            x = x + self.attention(self.norm(x, f"blocks.{i}.ln_1"), f"blocks.{i}.attention")
            hidden = self.linear(self.norm(x, f"blocks.{i}.ln_2"), f"blocks.{i}.feed_forward.up_proj")
            hidden = ACTIVATIONS[self.config.feed_forward.activation](hidden)
            x = x + self.linear(hidden, f"blocks.{i}.feed_forward.down_proj")
        logits: Tensor = self.norm(x, "ln_f") @ self.weights["lm_head.weight"].T
        return logits


@pytest.mark.parametrize("tie_weights", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("position", ["sinusoidal", "learned", "none"])
def test_matches_the_published_model(position: str, norm: str, activation: str, *, tie_weights: bool) -> None:
    model = build(
        position={"kind": position},
        norm={"kind": norm, "eps": 0.01},
        feed_forward={"activation": activation, "bias": norm == "layernorm"},
        attention={"bias": activation != "relu"},
        tie_weights=tie_weights,
    )
    [tokens] = ids(batch=1, length=7)
    with torch.no_grad():
        assert_same_logits(model(tokens[None])[0].double(), Reference(model)(tokens))


@settings(max_examples=40, deadline=None)
@given(
    heads=st.integers(1, 4),
    d_head=st.integers(1, 4).map(lambda n: 2 * n),
    layers=st.integers(1, 3),
    hidden=st.integers(1, 20),
    vocab=st.integers(1, 30),
    length=st.integers(1, 8),
    batch=st.integers(1, 3),
)
def test_any_sizes(heads: int, d_head: int, layers: int, hidden: int, vocab: int, length: int, batch: int) -> None:
    model = build(vocab_size=vocab, d_model=heads * d_head, n_heads=heads, n_layers=layers, d_ff=hidden, max_len=8)
    tokens = torch.randint(vocab, (batch, length))
    with torch.no_grad():
        logits = model(tokens)
    assert logits.shape == (batch, length, vocab)
    assert logits.isfinite().all()
    assert_same_logits(logits[-1].double(), Reference(model)(tokens[-1]), 1e-4)


def test_generation_matches_gpt2s_own() -> None:
    model = build(position={"kind": "learned"}, feed_forward={"activation": "gelu_tanh"}, tie_weights=False)
    gpt2 = gpt2_twin(model)
    tokens = ids(batch=1, length=4)
    expected = gpt2.generate(
        tokens,
        max_new_tokens=12,
        do_sample=False,
        attention_mask=torch.ones_like(tokens),
        eos_token_id=None,
        pad_token_id=0,
    )
    assert torch.equal(model.generate(tokens, 12, temperature=0), expected)
