"""Small models with random weights in every parameter, biases and norms included."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM

SMALL: dict[str, Any] = {
    "vocab_size": 29,
    "d_model": 24,
    "n_heads": 3,
    "n_layers": 3,
    "d_ff": 56,
    "max_len": 16,
    "dropout": 0.0,
}


def build(seed: int = 1, **fields: Any) -> TinyTransformerLM:
    """Return a small model whose biases and norm weights are random too."""
    model = TinyTransformerLM.from_config(ModelConfig.model_validate(SMALL | fields))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return model.eval()


def randomize(model: nn.Module) -> None:
    """Fill a model of ours or of transformers with random values: all parameters, corrections of expert
    scores, and scalars of layers."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.2, generator=generator)
        for name, buffer in model.named_buffers():
            if name.endswith(("score_correction", "e_score_correction_bias")):
                buffer.uniform_(0.0, 0.3, generator=generator)
            elif name.endswith(("layer_scalar", "layer_scalar.value")):
                buffer.uniform_(0.5, 1.5, generator=generator)


def ids(batch: int = 2, length: int = 9, seed: int = 0) -> Tensor:
    return torch.randint(29, (batch, length), generator=torch.Generator().manual_seed(seed))


def assert_same_logits(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


def tiny_tokenizer() -> Tokenizer:
    """Return a byte-level BPE tokenizer of 256 bytes, a special token and a few merges."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["once upon a time, and once more upon a time"], trainer)
    return tokenizer
