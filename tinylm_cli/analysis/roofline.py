"""Time from work: FLOPs at a peak, bytes at a bandwidth, and the longer of the two.

A roofline is a bound: no kernel is faster, and most are slower. Training is therefore given at a stated share of the
peak, and serving as the least time there can be.

References:
    Williams, Waterman and Patterson 2009, the roofline, https://doi.org/10.1145/1498765.1498785
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from tinylm_cli.analysis.quantization import stored_bytes
from tinylm_cli.analysis.setups import UNQUANTIZED, QuantizationConfig, ServingSetup, TrainingSetup
from tinylm_cli.analysis.tensor_table import DTYPE_BYTES, TOKEN_EMBEDDING, Tensor, tensor_table
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import UsageError
from tinylm_cli.reports.time import PassTime, ServingTime, TrainingTime


class Weights(NamedTuple):
    """Bytes of weights that a decoding step may read.

    Attributes:
        dense_bytes: Read whatever the token.
        expert_bytes: Of all routed experts together.
        n_experts: Routed experts of a layer.
        top_k: How many of them a token is sent to.
    """

    dense_bytes: int
    expert_bytes: int = 0
    n_experts: int = 1
    top_k: int = 1

    def read_bytes(self, tokens: int) -> int:
        """Return the bytes read, on average, by a pass over ``tokens`` whose experts are chosen evenly and apart.

        An expert is spared when no token is sent to it, by chance ``(1 - top_k / n_experts) ** tokens``; of one token
        that is all but ``top_k``.
        """
        if tokens == 1:
            return self.dense_bytes + self.expert_bytes * self.top_k // self.n_experts
        if self.top_k >= self.n_experts:
            return self.dense_bytes + self.expert_bytes
        hit = -math.expm1(tokens * math.log1p(-self.top_k / self.n_experts))
        return self.dense_bytes + round(self.expert_bytes * hit)


class DecodingStep(NamedTuple):
    """What a decoding step takes.

    Attributes:
        weights: Read once for the whole batch.
        flops_per_sequence: Of the one token of one sequence.
        cache_bytes_per_sequence: Keys and values read and written for it.
    """

    weights: Weights
    flops_per_sequence: int
    cache_bytes_per_sequence: int

    def flops(self, batch_size: int) -> int:
        """Return the FLOPs of a step over ``batch_size`` sequences."""
        return batch_size * self.flops_per_sequence

    def moved_bytes(self, batch_size: int) -> int:
        """Return the bytes that a step over ``batch_size`` sequences moves."""
        return self.weights.read_bytes(batch_size) + batch_size * self.cache_bytes_per_sequence


def decoding_weights(config: ModelConfig, dtype: str, quantization: QuantizationConfig = UNQUANTIZED) -> Weights:
    """Return the weights that decoding reads, as they are stored.

    A table that is looked up is not read whole: the token embedding, unless the head reads it too, and positions.

    Args:
        config: A validated config.
        dtype: A key of ``DTYPE_BYTES``, of what is not rounded.
        quantization: What is rounded, and how.
    """
    dense = experts = 0
    for section in tensor_table(config):
        for tensor in section.tensors:
            if _is_looked_up(tensor, config, quantization):
                continue
            size = section.repeats * stored_bytes(tensor, DTYPE_BYTES[dtype], quantization)
            dense, experts = (dense + size, experts) if tensor.experts_per_token is None else (dense, experts + size)
    if config.feed_forward.n_experts is None:
        return Weights(dense)
    return Weights(dense, experts, config.feed_forward.n_experts, config.feed_forward.top_k)


def _is_looked_up(tensor: Tensor, config: ModelConfig, quantization: QuantizationConfig) -> bool:
    if tensor.name == TOKEN_EMBEDDING and config.tie_weights:
        return quantization.quantizes_head
    return tensor.component in ("token_embedding", "position")


def decoding_clock(accelerator: Accelerator, setup: ServingSetup) -> Callable[[DecodingStep], PassTime]:
    """Return a function that gives the least time of a decoding step of the setup's batch.

    Raises:
        UsageError: If the hardware does not multiply the setup's type.
    """
    peak, bandwidth = peak_flops(accelerator, setup.dtype), accelerator.memory_bytes_per_second
    batch_size = setup.batch_size
    return lambda step: _pass_time(step.flops(batch_size), step.moved_bytes(batch_size), peak, bandwidth)


def peak_flops(accelerator: Accelerator, dtype: str) -> int:
    """Return the dense peak of one accelerator for matrices of ``dtype``, in FLOPs per second.

    Raises:
        UsageError: If the hardware does not multiply that type.
    """
    peaks = accelerator.peaks
    if dtype not in peaks:
        known = [name for name in peaks if name in DTYPE_BYTES]
        raise UsageError(
            f"{accelerator.name} does not multiply {dtype}", help=f"give one of its types: {' or '.join(known)}"
        )
    return peaks[dtype]


def training_time(accelerator: Accelerator, setup: TrainingSetup, *, train_flops_per_token: int) -> TrainingTime:
    """Return how long the setup's ``train_tokens`` take and cost.

    ``seconds = train_flops_per_token · train_tokens / (n_gpus · peak · utilization)``.

    Args:
        accelerator: What it runs on.
        setup: How the model is trained; its train_tokens are given.
        train_flops_per_token: The model's own, three times its forward pass; no recomputation, by the definition of
            utilization.

    Raises:
        UsageError: If the hardware does not multiply the setup's type.
    """
    assert setup.train_tokens is not None
    peak = peak_flops(accelerator, setup.dtype)
    flops = train_flops_per_token * setup.train_tokens
    rate = setup.n_gpus * peak * setup.utilization
    seconds = flops / rate
    gpu_hours = flops / (peak * setup.utilization) / 3600
    return TrainingTime(
        accelerator=accelerator.name,
        n_gpus=setup.n_gpus,
        dtype=setup.dtype,
        peak_flops_per_second=peak,
        utilization=setup.utilization,
        train_flops_per_token=train_flops_per_token,
        train_tokens=setup.train_tokens,
        train_flops=flops,
        tokens_per_second=rate / train_flops_per_token,
        seconds=seconds,
        gpu_hours=gpu_hours,
        usd_per_gpu_hour=setup.usd_per_gpu_hour,
        usd=None if setup.usd_per_gpu_hour is None else gpu_hours * setup.usd_per_gpu_hour,
    )


def serving_time(
    accelerator: Accelerator,
    setup: ServingSetup,
    step: DecodingStep,
    *,
    prompt_tokens: int,
    prefill_flops: int,
    prefill_cache_bytes: int,
    context_tokens: int,
) -> ServingTime:
    """Return the least time of reading prompts and of one decoding step after them.

    A pass takes ``max(flops / peak, bytes / bandwidth)``. Prompts are read one after the other, in pieces of at most
    ``prefill_tokens``: each piece moves every weight that it needs once, and the cache is written; activations are
    taken to stay on the chip.

    Args:
        accelerator: What it runs on.
        setup: How the model is served.
        step: What decoding one token takes.
        prompt_tokens: Tokens of each prompt, >= 1.
        prefill_flops: Of all prompts.
        prefill_cache_bytes: Keys and values it writes, for all prompts.
        context_tokens: Tokens seen by the one decoded, itself included, >= 1.

    Raises:
        UsageError: If the hardware does not multiply the setup's type.
    """
    peak, bandwidth = peak_flops(accelerator, setup.dtype), accelerator.memory_bytes_per_second
    batch_size = setup.batch_size
    whole, rest = divmod(prompt_tokens, setup.prefill_tokens)
    pieces = [(whole, setup.prefill_tokens), (1 if rest else 0, rest)]
    read = batch_size * sum(count * step.weights.read_bytes(tokens) for count, tokens in pieces if count)
    prefill = _pass_time(prefill_flops, read + prefill_cache_bytes, peak, bandwidth)
    decode = decoding_clock(accelerator, setup)(step)
    return ServingTime(
        accelerator=accelerator.name,
        dtype=setup.dtype,
        peak_flops_per_second=peak,
        memory_bytes_per_second=bandwidth,
        balance_flops_per_byte=peak / bandwidth,
        batch_size=batch_size,
        prompt_tokens=prompt_tokens,
        context_tokens=context_tokens,
        prefill=prefill,
        prefill_tokens_per_second=batch_size * prompt_tokens / prefill.seconds,
        decode=decode,
        decode_tokens_per_second=batch_size / decode.seconds,
        sequence_tokens_per_second=1 / decode.seconds,
        compute_bound_batch_size=_compute_bound_batch(step, peak, bandwidth),
    )


def _pass_time(flops: int, moved_bytes: int, peak: int, bandwidth: int) -> PassTime:
    compute, memory = flops / peak, moved_bytes / bandwidth
    return PassTime(
        flops=flops,
        moved_bytes=moved_bytes,
        compute_seconds=compute,
        memory_seconds=memory,
        seconds=max(compute, memory),
        bound="compute" if _is_compute_bound(flops, moved_bytes, peak, bandwidth) else "memory",
        intensity_flops_per_byte=flops / moved_bytes,
    )


def _is_compute_bound(flops: int, moved_bytes: int, peak: int, bandwidth: int) -> bool:
    """Return whether ``flops / peak >= moved_bytes / bandwidth``, in integers."""
    return flops * bandwidth >= moved_bytes * peak


def _compute_bound_batch(step: DecodingStep, peak: int, bandwidth: int) -> int | None:
    """Return the least batch that is bound by compute: what weights cost each sequence only falls as it grows."""
    # what compute takes of a sequence beyond its own cache, both in FLOPs · bytes / second
    margin = step.flops_per_sequence * bandwidth - step.cache_bytes_per_sequence * peak
    if margin <= 0:
        return None
    weights = step.weights.dense_bytes + step.weights.expert_bytes
    low, high = 1, max(-(-weights * peak // margin), 1)
    while low < high:
        middle = (low + high) // 2
        if _is_compute_bound(step.flops(middle), step.moved_bytes(middle), peak, bandwidth):
            high = middle
        else:
            low = middle + 1
    return low
