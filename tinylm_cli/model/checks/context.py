"""What a law is tried on: the model, what is known about it, and a batch of tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.machine import require_memory
from tinylm_cli.model.initialization import STD
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.state_dict import unique_params

BATCH = 2
LENGTH = 16
MOST_LOGITS = 1 << 24
"""Logits of one batch, 64 MiB in float32: a very large vocabulary is tried on shorter sequences."""

TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""How far apart two ways to compute the same logits may end up, over the largest of them: a few roundings in the half
precisions, whose sums are taken in float32, and some hundred in the others."""

WIDE = 64
"""Dimensions from which the part that a new block adds is larger than half precision rounds."""


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """A description of the model made without it.

    Attributes:
        shapes: Shape of each parameter by its full name, shared ones under each of their names.
        total_params: Elements of all of them, shared ones counted once.
    """

    shapes: Mapping[str, tuple[int, ...]]
    total_params: int


@dataclass(frozen=True, slots=True)
class Context:
    """The model under test.

    Attributes:
        model: With storage, in evaluation mode.
        seed: What new weights are drawn from.
        drawn: Whether the model's were drawn from it; else they were loaded.
        closed_form: What the model should consist of.
        tokens: Ids (B, T), the same for every model with this vocabulary and max_len.
    """

    model: TinyTransformerLM
    seed: int
    drawn: bool
    closed_form: ClosedForm
    tokens: Tensor

    @property
    def config(self) -> ModelConfig:
        """What the model is."""
        return self.model.config

    @property
    def dtype(self) -> torch.dtype:
        """Storage type of the weights."""
        return self.model.lm_head.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.lm_head.weight.device

    @property
    def rigid(self) -> bool:
        """Whether the norms leave a vector next to nothing to say."""
        return self.is_rigid(self.config.d_model)

    def is_rigid(self, width: int) -> bool:
        """Return whether a norm over so many dimensions gives much the same whatever it reads.

        LayerNorm maps every vector of 1 dimension to 0 and of 2 to ±(1, -1), RMSNorm of 1 to ±1.
        """
        return width <= (2 if self.config.norm.kind == "layernorm" else 1)

    @property
    def squashed(self) -> bool:
        """Whether the head's soft-cap is below the spread of new logits, 0.02 · √d_model, where tanh is all but flat.

        What the model makes of its tokens then hardly reaches the logits, and no slope leads back.
        """
        cap = self.config.head.logit_softcap
        return cap is not None and cap < STD * math.sqrt(self.config.d_model)

    @property
    def responsive(self) -> bool:
        """Whether a change to a token must be felt by the tokens after it.

        A new block adds to a vector about 0.02² · d_model of its size, which half precision rounds away in a narrow
        model.
        """
        config, attention = self.config, self.config.attention
        half = self.dtype.itemsize < torch.float32.itemsize
        if all(config.window(layer) == 1 for layer in range(config.n_layers)):  # each sees itself alone
            return False
        mute = attention.kind == "latent" and self.is_rigid(attention.kv_rank)  # values come from one such vector
        return not self.rigid and not mute and not self.squashed and not (half and config.d_model < WIDE)

    def logits(self, tokens: Tensor) -> Tensor:
        """Return the logits (B, T, V) of ids (B, T), without gradients."""
        with torch.no_grad():
            logits: Tensor = self.model(tokens)  # (B, T, V)
        return logits

    def tolerance(self, largest_logit: float) -> float:
        """Return how far logits computed in another way may be, the largest of which is as given.

        Under a soft-cap what counts is how large they are before it: it keeps differences as they are near 0.
        """
        if self.config.head.logit_softcap is not None:
            with torch.no_grad():
                largest_logit = largest(self.model.lm_head(self.model.hidden(self.tokens)))
        return TOLERANCE[self.dtype] * largest_logit

    def blind(self, limit: float) -> str | None:
        """Return why logits within ``limit`` of each other say nothing, or None where they do."""
        cap = self.config.head.logit_softcap
        if cap is None or limit < cap:
            return None
        name = str(self.dtype).removeprefix("torch.")
        return f"head.logit_softcap {cap:g} keeps logits closer together than {name} rounds them"

    def require(self, bytes_per_param: int, what: str) -> None:
        """Refuse work that allocates so much for each parameter, if it does not fit in this machine.

        Raises:
            CapacityError: Names what is needed and what is left.
        """
        require_memory(unique_params(self.model) * bytes_per_param, what, device=self.device.type)


def sample_tokens(config: ModelConfig, device: torch.device) -> Tensor:
    """Return ids (B, T), of a length that suits the model; no sequence repeats a single id if there are others."""
    longest = max(MOST_LOGITS // (BATCH * config.vocab_size), 2)
    shape = (BATCH, min(config.max_len, LENGTH, longest))
    generator = torch.Generator(device="cpu").manual_seed(0)
    tokens = torch.randint(config.vocab_size, shape, generator=generator, device="cpu")  # (B, T)
    tokens[:, 1:2] = (tokens[:, :1] + 1) % config.vocab_size
    return tokens.to(device)


def largest(*tensors: Tensor) -> float:
    """Return the largest magnitude in ``tensors``, nan if one holds a nan, and 0 if all are empty."""
    peaks = [tensor.detach().abs().amax().cpu().double() for tensor in tensors if tensor.numel()]
    return float(torch.stack(peaks).amax()) if peaks else 0.0
