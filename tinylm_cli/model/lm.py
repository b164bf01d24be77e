"""The assembled language model."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Self

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.attention_mask import look
from tinylm_cli.model.block import TransformerBlock
from tinylm_cli.model.embedding import TransformerEmbedding
from tinylm_cli.model.generation import decode
from tinylm_cli.model.initialization import initialize
from tinylm_cli.model.input_checks import checked_mask, checked_tokens
from tinylm_cli.model.kv_cache import KVCache
from tinylm_cli.model.linear import Linear
from tinylm_cli.model.materialize import materialize
from tinylm_cli.model.norm import build_norm
from tinylm_cli.model.rotary import RotaryPosition
from tinylm_cli.model.sampling import Sampling


class TinyTransformerLM(nn.Module):
    """A decoder-only transformer: embedding, blocks, final norm, head.

    Built this way it is the course's architecture, on the device of an active ``torch.device`` context, filled from
    torch's global generator: ``torch.manual_seed`` makes it reproducible. :meth:`from_config` builds every other one.

    Args:
        vocab_size: Number of different tokens, V.
        d_model: Width of each token's vector, D.
        n_heads: Attention heads per block, H; divides d_model.
        n_layers: Number of blocks.
        d_ff: Hidden width of each block's feed-forward network, F.
        max_len: Longest sequence it reads at once.
        dropout: Share of activations zeroed while training, 0 <= dropout < 1.
        tie_weights: Whether the head uses the token embedding's table.

    Attributes:
        config: What the model is.

    Raises:
        pydantic.ValidationError: A ValueError, if an argument is wrong; names each one that is.
        CapacityError: If the weights do not fit in this machine.

    References:
        Vaswani et al. 2017, https://arxiv.org/abs/1706.03762;
        Press and Wolf 2017 (tied weights), https://arxiv.org/abs/1608.05859
    """

    config: ModelConfig
    embedding: TransformerEmbedding
    blocks: nn.ModuleList
    lm_head: Linear

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        n_heads: int,
        n_layers: int,
        d_ff: int,
        max_len: int = 1024,
        dropout: float = 0.1,
        tie_weights: bool = True,  # noqa: FBT001, FBT002 - the course's own signature
    ) -> None:
        config = ModelConfig(
            vocab_size=vocab_size,
            d_model=d_model,
            n_heads=n_heads,
            n_layers=n_layers,
            d_ff=d_ff,
            max_len=max_len,
            dropout=dropout,
            tie_weights=tie_weights,
        )
        self._assemble(config)
        device = torch.get_default_device()
        materialize(self, device=device, dtype=torch.get_default_dtype())
        if device.type != "meta":
            initialize(self, seed=int(torch.empty((), dtype=torch.int64, device="cpu").random_()))

    @classmethod
    def from_config(
        cls,
        config: ModelConfig,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """Build the model that ``config`` describes.

        Args:
            config: A validated model configuration.
            seed: Any integer; the same seed gives the same weights on every device.
            device: Where the weights go; on ``meta`` they have shapes and no storage.
            dtype: Floating type of the weights.

        Raises:
            CapacityError: If the weights do not fit in this machine.
        """
        model = cls.__new__(cls)
        model._assemble(config)
        device = torch.device(device)
        materialize(model, device=device, dtype=dtype)
        if device.type != "meta":
            initialize(model, seed=seed)
        return model

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Predict each next token.

        Args:
            tokens: Ids (B, T), T <= max_len, int64 or another integer dtype.
            mask: Replaces the causal rule and every window: boolean (True may attend) or added to the scores; (T, T),
                (B, T, T) or (B, 1, T, T). A row of a boolean mask that may attend to nothing gets zeros from attention.

        Returns:
            Logits (B, T, V).

        Raises:
            ValueError: If tokens or mask are of a wrong dtype or shape, or an id is outside the vocabulary.
        """
        tokens = checked_tokens(tokens, vocab_size=self.config.vocab_size, max_len=self.config.max_len)
        if mask is not None:
            mask = checked_mask(mask, tokens=tokens, dtype=self.lm_head.weight.dtype)
        return self.logits(self.hidden(tokens, mask))  # (B, T, V)

    def logits(self, hidden: Tensor) -> Tensor:
        """Map vectors (..., D) that left the final norm to logits (..., V)."""
        logits: Tensor = self.lm_head(hidden)  # (..., V)
        cap = self.config.head.logit_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)  # (..., V)

    def hidden(self, tokens: Tensor, mask: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Return what the head reads, without checking the arguments.

        Args:
            tokens: Ids (B, T), int64 or int32.
            mask: Replaces the causal rule and every window; (B or 1, 1, T, T).
            cache: Positions read before ``tokens``, to which those of ``tokens`` are appended.

        Returns:
            Vectors (B, T, D) after the final norm.
        """
        start, length = cache.length if cache else 0, tokens.shape[1]
        x = self.embedding(tokens, start)  # (B, T, D)
        position = self.embedding.positional_encoding
        sights = look(self.config, position, start=start, length=length, device=x.device, dtype=x.dtype, mask=mask)
        layers = cache.extend(length) if cache else repeat(None)
        for block, sight, layer in zip(self.blocks, sights, layers, strict=False):
            x = block(x, sight, layer)  # (B, T, D)
        out: Tensor = self.ln_f(x)  # (B, T, D)
        return out

    def regime(self, length: int) -> int:
        """Return which way positions are read in sequences of ``length``: what is kept is of use within one only."""
        position = self.embedding.positional_encoding
        return position.regime(length) if isinstance(position, RotaryPosition) else 0

    def generate(
        self,
        start_tokens: Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop_token: int | None = None,
    ) -> Tensor:
        """Continue each sequence by sampling, in evaluation mode whatever mode the model is in.

        Args:
            start_tokens: Ids (B, T) of an integer dtype; past max_len the model reads the last max_len of them.
            max_new_tokens: Tokens to add, n >= 0.
            temperature: Divides the logits; at 0 the most likely token is taken.
            top_k: Keep this many of the most likely tokens.
            top_p: Of those, keep the fewest whose probabilities sum to at least this.
            seed: Of a random stream of its own; None draws from torch's global one.
            stop_token: Ends a sequence, which is then filled up with it; n is smaller when all have ended.

        Returns:
            Ids (B, T + n), int64, on the device of ``start_tokens``.

        Raises:
            ValueError: If an argument is of a wrong type, shape or range, or the model is on meta.
            CapacityError: If the keys and values do not fit in this machine.
        """
        steps = self.stream(start_tokens, max_new_tokens, temperature, top_k, top_p, seed, stop_token)
        added = [tokens[:, None] for tokens in steps]  # n × (B, 1)
        return torch.cat([start_tokens.long(), *added], dim=1)  # (B, T + n)

    def stream(
        self,
        start_tokens: Tensor,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop_token: int | None = None,
    ) -> Iterator[Tensor]:
        """Yield the new tokens (B,) of each step of :meth:`generate` as soon as they are chosen.

        Arguments and errors are those of :meth:`generate`; errors are raised by the call, not by the first step.
        """
        sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        steps = decode(self, start_tokens, max_new_tokens, sampling=sampling, stop_token=stop_token)
        return (step.tokens for step in steps)

    def extra_repr(self) -> str:
        """Say what the printed tree of modules does not show."""
        return f"tie_weights={self.config.tie_weights}"

    def _assemble(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        with _collector_paused():
            self.embedding = TransformerEmbedding(config)
            self.blocks = nn.ModuleList(TransformerBlock(config, layer) for layer in range(config.n_layers))
            self.ln_f = build_norm(config)
            self.lm_head = Linear(config.d_model, config.vocab_size, bias=config.head.bias)
        self._tie()
        self.register_load_state_dict_post_hook(_tie_after_load)  # type: ignore[no-untyped-call]  # torch leaves it so

    def _tie(self) -> None:
        if self.config.tie_weights:
            self.lm_head.weight = self.embedding.token_embedding.embedding.weight

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's
        """Convert or move every tensor once, a tied one too, and keep it tied."""
        if self.config.tie_weights:
            self.lm_head.register_parameter("weight", None)
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it so
            return self
        finally:
            self._tie()


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from walking a deep model again and again while it grows, half of the time spent."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _tie_after_load(model: nn.Module, _: object) -> None:
    """Tie again after ``load_state_dict(assign=True)``, which gives each name a parameter of its own."""
    assert isinstance(model, TinyTransformerLM)
    model._tie()
