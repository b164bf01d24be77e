"""Several codebooks: the model equals MusicGen's decoder, and each step decodes one token of each codebook."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import MusicgenForCausalLM
from transformers.models.musicgen.configuration_musicgen import MusicgenDecoderConfig

from tests.small_models import build, randomize
from tinylm_cli.model import TokenEmbedding
from tinylm_cli.model.forward_trace import run_forward
from tinylm_cli.model.generation import decode
from tinylm_cli.model.sampling import SamplingParams

C, V = 3, 29
CODEBOOKS = {"n_codebooks": C}


def ids(batch: int = 2, length: int = 9) -> Tensor:
    return torch.randint(V, (batch, length, C), generator=torch.Generator().manual_seed(0))


def test_musicgen() -> None:
    """The logits and the loss of transformers' decoder, run without an encoder; its positions are a fixed table."""
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "ffn_dim": 56}
    settings: dict[str, Any] = {"vocab_size": V, "pad_token_id": V, "bos_token_id": V, "num_codebooks": C, **sizes}
    theirs: Any = MusicgenForCausalLM(MusicgenDecoderConfig(max_position_embeddings=16, **settings))
    theirs.eval()
    randomize(theirs)
    decoder = theirs.model.decoder
    ours = build(
        n_layers=2,
        tie_weights=False,
        embedding={**CODEBOOKS, "multiplier": 1.0},
        position={"kind": "learned"},
        attention={"bias": False},
        feed_forward={"bias": False},
    )
    state = {
        "embedding.token_embedding.embedding.weight": torch.cat([table.weight[:V] for table in decoder.embed_tokens]),
        "embedding.positional_encoding.weight": decoder.embed_positions.weights,
        "lm_head.weight": torch.cat([head.weight for head in theirs.lm_heads]),
    }
    names = {
        "self_attn_layer_norm": "ln_1", "self_attn.q_proj": "attention.q_proj", "self_attn.k_proj": "attention.k_proj",
        "self_attn.v_proj": "attention.v_proj", "self_attn.out_proj": "attention.o_proj",
        "final_layer_norm": "ln_2", "fc1": "feed_forward.up_proj", "fc2": "feed_forward.down_proj",
    }  # fmt: skip
    for name, tensor in decoder.named_parameters():
        parts = name.split(".")
        if parts[0] == "layer_norm":
            state[f"ln_f.{parts[1]}"] = tensor
        elif parts[0] == "layers" and (own := names.get(".".join(parts[2:-1]))):
            state[f"blocks.{parts[1]}.{own}.{parts[-1]}"] = tensor
    ours.load_state_dict(state)
    tokens, labels = ids(), ids().flip(0)
    with torch.no_grad():
        logits = ours(tokens)  # (B, T, C, V)
        expected = theirs(tokens.transpose(1, 2).flatten(0, 1), labels=labels)  # ids (B · C, T)
    torch.testing.assert_close(logits, expected.logits.unflatten(0, (2, C)).transpose(1, 2))
    torch.testing.assert_close(functional.cross_entropy(logits.flatten(0, 2), labels.flatten()), expected.loss)


def test_one_codebook_by_default() -> None:
    assert TokenEmbedding(V, 4).embedding.weight.shape == (V, 4)
    assert TokenEmbedding(V, 4, n_codebooks=C).embedding.weight.shape == (C * V, 4)


@pytest.mark.parametrize("tied", [True, False])
def test_tables_and_heads(tied: bool) -> None:
    """Each codebook has its own rows; with tied weights, its head has the same ones."""
    model = build(tie_weights=tied, embedding=CODEBOOKS, position={"kind": "none"})
    tokens, table = ids(), model.embedding.token_embedding.embedding.weight
    summed = sum(table[V * codebook + tokens[..., codebook]] for codebook in range(C))
    torch.testing.assert_close(model.embedding(tokens), summed * math.sqrt(24))
    hidden = model.hidden(tokens)
    head = (table if tied else model.lm_head.weight).view(C, V, 24)
    torch.testing.assert_close(model.logits(hidden), torch.einsum("btd,cvd->btcv", hidden, head))


def test_greedy_decoding() -> None:
    model = build(embedding=CODEBOOKS)
    start = ids(length=4)
    found = model.generate(start, 5, temperature=0.0)
    assert found.shape == (2, 9, C)
    with torch.no_grad():
        assert torch.equal(found[:, 4:], model(found)[:, 3:-1].argmax(-1))


def test_sampling_of_each_codebook() -> None:
    """One codebook has a certain next token, the others are uniform."""
    model = build(tie_weights=False, embedding=CODEBOOKS, head={"bias": True})
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.bias.zero_().view(C, V)[1, 7] = 100.0
    found = model.generate(ids(batch=400, length=1), 1, seed=3)[:, 1]  # (B, C)
    assert (found[:, 1] == 7).all()
    for codebook in (0, 2):
        assert len(set(found[:, codebook].tolist())) == V
    assert not torch.equal(found[:, 0], found[:, 2])


def test_stop_token_of_all_codebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence ends once all its codebooks have the token at once, and is then padded with it."""
    model = build(embedding=CODEBOOKS)
    steps = iter([[[9, 9, 1], [9, 9, 9]], [[9, 9, 9], [5, 5, 5]], [[1, 1, 1], [1, 1, 1]]])
    monkeypatch.setattr(model, "logits", lambda _: functional.one_hot(torch.tensor(next(steps)), V).float())
    found = decode(model, ids(), 5, sampling=SamplingParams(temperature=0.0), stop_token=9)
    assert [step.tokens.tolist() for step in found] == [[[9, 9, 1], [9, 9, 9]], [[9, 9, 9], [9, 9, 9]]]


def test_report_of_a_pass() -> None:
    """The loss is the mean over codebooks, and each codebook has next tokens."""
    model = build(embedding=CODEBOOKS)
    tokens = ids(batch=1)
    report = run_forward(model, tokens, name="mine", source="mine.yaml", untrained=True, top_k=2)
    with torch.no_grad():
        logits = model(tokens)
    losses = [functional.cross_entropy(logits[0, :-1, each], tokens[0, 1:, each]) for each in range(C)]
    assert report.loss == pytest.approx(float(torch.stack(losses).mean()))
    best = logits[0, -1].topk(2).indices.flatten().tolist()
    assert [each.token for each in report.next_tokens] == best
    assert [each.codebook for each in report.next_tokens] == [0, 0, 1, 1, 2, 2]
    assert report.tokens == (tuple(tokens.flatten().tolist()),)
    assert (report.batch_size, report.seq_len, report.n_codebooks) == (1, 9, C)
