"""Autoregressive decoding with a KV cache: one new token per sequence and step, or one of each codebook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import WeightsError
from tinylm_cli.machine import require_memory
from tinylm_cli.model.eval_mode import eval_mode
from tinylm_cli.model.input_checks import checked_tokens
from tinylm_cli.model.kv_cache import KVCache
from tinylm_cli.model.sampling import SamplingParams, is_integer
from tinylm_cli.quantities import counted


class CausalLM(Protocol):
    """The interface that decoding needs; implemented by :class:`tinylm_cli.model.lm.TinyTransformerLM`."""

    config: ModelConfig

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the weights."""

    def modules(self) -> Iterator[nn.Module]:
        """Yield every module of the model."""

    def hidden(self, tokens: Tensor, mask: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Map ids (B, T) or (B, T, C) to vectors (B, T, D) after the final norm."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Map vectors (..., D) to logits (..., V) or (..., C, V)."""

    def rope_scaling_key(self, length: int) -> tuple[int, ...]:
        """Return a key that identifies the RoPE frequencies at this sequence length."""


class DecodingStep(NamedTuple):
    """One step of decoding.

    Attributes:
        tokens: The new tokens (B), or (B, C) with several codebooks.
        logits: The logits (B, V) or (B, C, V) that they were sampled from.
    """

    tokens: Tensor
    logits: Tensor


def decode(
    model: CausalLM,
    start_tokens: Tensor,
    max_new_tokens: int,
    *,
    sampling: SamplingParams,
    stop_token: int | None = None,
    use_cache: bool = True,
) -> Iterator[DecodingStep]:
    """Check the arguments, then return an iterator of decoding steps.

    Each step's logits equal ``model(tokens[:, -max_len:])[:, -1]`` in evaluation mode. The KV cache is used while all
    tokens fit in max_len. Beyond that, the context window slides, every token gets a new position, and each step
    processes the full window. A step also processes the full window when RoPE scaling changes the frequencies: with
    dynamic NTK scaling at every step beyond the original length, with LongRoPE once.

    The tokens of a step are sampled independently, each from the logits of its codebook; no delay pattern is applied.
    All modules are in evaluation mode during a step; their modes are restored between steps.

    Args:
        model: The model, with storage.
        start_tokens: Ids (B, T) or (B, T, C), T >= 1, of an integer dtype; T may exceed max_len.
        max_new_tokens: Maximum number of steps, >= 0.
        sampling: How each token is chosen.
        stop_token: Ends a sequence, which is then padded with it; decoding ends when all sequences have ended. With
            several codebooks, all of them must have it at once.
        use_cache: Whether to use the KV cache; without it, every step processes the full window.

    Raises:
        ValueError: If start_tokens, max_new_tokens or stop_token is invalid, or the model is on meta or has no LM head.
        CapacityError: If the KV cache exceeds this machine's memory.
        WeightsError: In a step, if the logits are not finite.
    """
    config = model.config
    if not config.has_lm_head:
        raise ValueError(f"a model with head.kind {config.head.kind} does not predict next tokens")
    tokens = checked_tokens(start_tokens, config, max_len=None).long()  # (B, T) or (B, T, C)
    if tokens.device.type == "meta" or model.device.type == "meta":
        raise ValueError("a model on meta has no weights to decode with")
    if not is_integer(max_new_tokens) or max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be an integer >= 0, not {max_new_tokens!r}")
    if stop_token is not None and (not is_integer(stop_token) or not 0 <= stop_token < config.vocab_size):
        raise ValueError(f"stop_token must be an id in 0..{config.vocab_size - 1} or None, not {stop_token!r}")
    longest = max(tokens.shape[1] + max_new_tokens - 1, 1)
    capacity = min(longest, config.max_len)
    cached = use_cache and max_new_tokens > 1 and tokens.shape[1] < config.max_len
    cache = _allocate_cache(model, batch_size=tokens.shape[0], capacity=capacity) if cached else None
    return _steps(model, tokens, max_new_tokens, sampling=sampling, stop_token=stop_token, cache=cache)


def _steps(
    model: CausalLM,
    tokens: Tensor,
    max_new_tokens: int,
    *,
    sampling: SamplingParams,
    stop_token: int | None,
    cache: KVCache | None,
) -> Iterator[DecodingStep]:
    max_len = model.config.max_len
    modules = tuple(model.modules())
    generator = sampling.generator(tokens.device)
    ended = torch.zeros(tokens.shape[0], dtype=torch.bool, device=tokens.device)  # (B)
    window = [tokens[:, -max_len:]]  # pieces (B, t) or (B, t, C) of the context window
    length = window[0].shape[1]
    unread = window[0]  # (B, T) or (B, T, C), the part of the window not in the cache
    for _ in range(max_new_tokens):
        with torch.inference_mode(), eval_mode(modules):
            hidden = model.hidden(unread, cache=cache)  # (B, T, D)
            logits = model.logits(hidden[:, -1])  # (B, V) or (B, C, V)
        logits = logits.clone()  # (B, V) or (B, C, V), a normal tensor instead of an inference tensor
        if not logits.isfinite().all():
            raise WeightsError(
                "the logits are not finite, so no token can be chosen",
                help="the weights contain NaN or infinity, or values too large for their dtype",
            )
        new = sampling.sample(logits, generator)  # (B) or (B, C)
        if stop_token is not None:
            new[ended] = stop_token
            ended = ended | (new == stop_token).view(len(new), -1).all(-1)  # (B)
        yield DecodingStep(new, logits)
        if stop_token is not None and bool(ended.all()):
            return
        window.append(new[:, None])  # (B, 1) or (B, 1, C)
        length += 1
        if cache is not None and length > max_len:  # the window slides, which invalidates all cached positions
            cache = None
        if cache is not None and model.rope_scaling_key(length) == model.rope_scaling_key(length - 1):
            unread = window[-1]  # (B, 1) or (B, 1, C)
        else:  # no cache, or cached keys were rotated with other frequencies
            unread = torch.cat(window, dim=1)[:, -max_len:]  # (B, T) or (B, T, C)
            window = [unread]
            if cache is not None:
                cache.reset()


def _allocate_cache(model: CausalLM, *, batch_size: int, capacity: int) -> KVCache:
    """Return a KV cache of ``capacity`` positions.

    Raises:
        CapacityError: If it exceeds this machine's memory.
    """
    config, device, dtype = model.config, model.device, model.dtype
    meta = torch.device("meta")
    needed_bytes = KVCache(config, batch_size=batch_size, capacity=capacity, device=meta, dtype=dtype).nbytes
    work = f"decoding {batch_size:,} × {counted(capacity, 'token')}"
    require_memory(needed_bytes, work, device=device.type)
    with torch.inference_mode():
        return KVCache(config, batch_size=batch_size, capacity=capacity, device=device, dtype=dtype)
