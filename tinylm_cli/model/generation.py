"""Decoding: one token after the other, each read with everything before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from tinylm_cli.machine import require_memory
from tinylm_cli.model.eval_mode import evaluating
from tinylm_cli.model.input_checks import checked_tokens
from tinylm_cli.model.kv_cache import KVCache
from tinylm_cli.model.sampling import Sampling, is_integer
from tinylm_cli.quantities import counted

if TYPE_CHECKING:
    from tinylm_cli.model.lm import TinyTransformerLM


class Step(NamedTuple):
    """One step of decoding: the tokens chosen (B,) and the logits (B, V) they were chosen from."""

    tokens: Tensor
    logits: Tensor


def decode(
    model: TinyTransformerLM,
    start_tokens: Tensor,
    max_new_tokens: int,
    *,
    sampling: Sampling,
    stop_token: int | None = None,
    use_cache: bool = True,
) -> Iterator[Step]:
    """Check the arguments, then return an iterator that decodes a step each time it is asked.

    The logits of every step are those of ``model(tokens[:, -max_len:])[:, -1]`` in evaluation mode. While all tokens
    fit in max_len, the keys and values of earlier ones are kept; after that the window slides, every token in it has a
    new position, and each step reads the whole window. It also does where rotary positions stretch with the length: at
    each step beyond the original length if dynamic, once if longrope.

    Every submodule is in evaluation mode during a step only, and in the mode it was found in between steps.

    Args:
        model: The model, with storage.
        start_tokens: Ids (B, T), T >= 1, of an integer dtype; T may be over max_len.
        max_new_tokens: Steps to take, >= 0.
        sampling: How each token is chosen.
        stop_token: Ends a sequence: later tokens of it are the same, and decoding ends when all sequences have ended.
        use_cache: Whether to keep keys and values; without, every step reads the whole window.

    Raises:
        ValueError: If start_tokens, max_new_tokens or stop_token do not fit the model, or it is on meta.
        CapacityError: If the keys and values do not fit in this machine.
    """
    config = model.config
    tokens = checked_tokens(start_tokens, vocab_size=config.vocab_size, max_len=None).long()  # (B, T)
    if tokens.device.type == "meta" or model.lm_head.weight.device.type == "meta":
        raise ValueError("a model on meta has no weights to decode with")
    if not is_integer(max_new_tokens) or max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be an integer >= 0, not {max_new_tokens!r}")
    if stop_token is not None and (not is_integer(stop_token) or not 0 <= stop_token < config.vocab_size):
        raise ValueError(f"stop_token must be an id in 0..{config.vocab_size - 1} or None, not {stop_token!r}")
    longest = max(tokens.shape[1] + max_new_tokens - 1, 1)
    capacity = min(longest, config.max_len)
    cached = use_cache and max_new_tokens > 1 and tokens.shape[1] < config.max_len
    cache = _new_cache(model, batch_size=tokens.shape[0], capacity=capacity) if cached else None
    return _steps(model, tokens, max_new_tokens, sampling=sampling, stop_token=stop_token, cache=cache)


def _steps(
    model: TinyTransformerLM,
    tokens: Tensor,
    max_new_tokens: int,
    *,
    sampling: Sampling,
    stop_token: int | None,
    cache: KVCache | None,
) -> Iterator[Step]:
    max_len = model.config.max_len
    modules = tuple(model.modules())
    generator = sampling.generator(tokens.device)
    ended = torch.zeros(tokens.shape[0], dtype=torch.bool, device=tokens.device)  # (B,)
    window = [tokens[:, -max_len:]]  # pieces (B, t) that make up what the model sees
    length = window[0].shape[1]
    unread = window[0]  # (B, T), the part of the window that the cache does not hold
    for _ in range(max_new_tokens):
        with torch.inference_mode(), evaluating(modules):
            hidden = model.hidden(unread, cache=cache)  # (B, T, D)
            logits = model.logits(hidden[:, -1])  # (B, V)
        logits = logits.clone()  # (B, V), a tensor that autograd may use
        chosen = sampling.choose(logits, generator)  # (B,)
        if stop_token is not None:
            chosen = chosen.masked_fill(ended, stop_token)  # (B,)
            ended = ended | (chosen == stop_token)  # (B,)
        yield Step(chosen, logits)
        if stop_token is not None and bool(ended.all()):
            return
        window.append(chosen[:, None])  # (B, 1)
        length += 1
        if cache is not None and length > max_len:  # the window slides: what was read stands elsewhere now
            cache = None
        if cache is not None and model.regime(length) == model.regime(length - 1):
            unread = window[-1]  # (B, 1)
        else:  # no cache, or one whose keys were turned in another way
            unread = torch.cat(window, dim=1)[:, -max_len:]  # (B, T)
            window = [unread]
            if cache is not None:
                cache.clear()


def _new_cache(model: TinyTransformerLM, *, batch_size: int, capacity: int) -> KVCache:
    """Return a cache of ``capacity`` positions, having refused one that does not fit."""
    config, weight = model.config, model.lm_head.weight
    meta = torch.device("meta")
    needed_bytes = KVCache(config, batch_size=batch_size, capacity=capacity, device=meta, dtype=weight.dtype).nbytes
    work = f"decoding {batch_size:,} × {counted(capacity, 'token')}"
    require_memory(needed_bytes, work, device=weight.device.type)
    with torch.inference_mode():
        return KVCache(config, batch_size=batch_size, capacity=capacity, device=weight.device, dtype=weight.dtype)
