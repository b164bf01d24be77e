"""Time the model against transformers' GPT-2 of the same sizes, activation and attention kernel.

Both run on two threads in float32 with random weights, in evaluation mode and without gradients.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from benchmarks.measure import Options, Row, Target, alternate, call

PRESETS = ("tiny", "small", "medium", "base")
SIZES = ((1, 128), (4, 256))
PROMPT, NEW_TOKENS = 16, 64
FASTER = {"tiny": 2.0, "base": 1.2}
THREADS = 2
ENOUGH_SECONDS = 0.15


def forward(options: Options) -> Iterator[Row]:
    """Time a forward pass."""
    rounds = options.rounds_or(9)
    for preset in ("tiny",) if options.quick else PRESETS:
        ours, theirs = _models(preset)
        for batch, length in SIZES:
            tokens = _tokens(ours, batch, length)
            programs = {
                "ours": call(_forward(ours, tokens), at_least_seconds=ENOUGH_SECONDS),
                "theirs": call(_forward(theirs, tokens, use_cache=False), at_least_seconds=ENOUGH_SECONDS),
            }
            figures = alternate(programs, rounds)
            name = f"forward {preset}, {batch} × {length}"
            yield Row(name, "GPT2LMHeadModel", "s", rounds, figures["ours"], figures["theirs"], Target(1.0))


def generation(options: Options) -> Iterator[Row]:
    """Time greedy decoding of one sequence with a key-value cache."""
    rounds = options.rounds_or(7)
    for preset in ("tiny",) if options.quick else FASTER:
        ours, theirs = _models(preset)
        start = _tokens(ours, 1, PROMPT)
        programs = {"ours": call(_decode_ours(ours, start)), "theirs": call(_decode_theirs(theirs, start))}
        figures = alternate(programs, rounds)
        target = Target(FASTER[preset], at_least=True)
        note = f"{NEW_TOKENS / figures['ours'].median:,.0f} tokens per second"
        name = f"generate {preset}, {NEW_TOKENS} tokens"
        yield Row(name, "GPT2LMHeadModel", "s", rounds, figures["ours"], figures["theirs"], target, note)


def _models(preset: str) -> tuple[Any, Any]:
    """Return tinylm's model of a preset and transformers' of the same sizes, ready to run."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from tinylm_cli.config.loader import load_yaml_config
    from tinylm_cli.model import TinyTransformerLM

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    config = load_yaml_config(preset).config
    sizes: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "n_positions": config.max_len,
        "n_embd": config.d_model,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_inner": config.d_ff,
        "activation_function": "gelu",
        "attn_implementation": "sdpa",
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 0,
    }
    theirs: Any = GPT2LMHeadModel(GPT2Config(**sizes))
    assert theirs.config._attn_implementation == "sdpa"
    return TinyTransformerLM.from_config(config).eval(), theirs.eval()


def _tokens(model: Any, batch: int, length: int) -> Any:
    import torch

    return torch.randint(model.config.vocab_size, (batch, length), generator=torch.Generator().manual_seed(0))


def _forward(model: Any, tokens: Any, **options: Any) -> Any:
    import torch

    def work() -> None:
        with torch.no_grad():
            model(tokens, **options)

    return work


def _decode_ours(model: Any, start: Any) -> Any:
    def work() -> None:
        assert model.generate(start, NEW_TOKENS, temperature=0.0).shape[1] == PROMPT + NEW_TOKENS

    return work


def _decode_theirs(model: Any, start: Any) -> Any:
    import torch

    mask = torch.ones_like(start)

    def work() -> None:
        out = model.generate(start, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False, use_cache=True)
        assert out.shape[1] == PROMPT + NEW_TOKENS

    return work
