"""Memory of tinylm's own model on the CPU, to reject a model that does not fit before allocation.

Follows the steps of ``model/lm.py``, ``model/forward_trace.py`` and ``model/generation.py``. Shapes: B batch_size,
T seq_len, D d_model, V vocab_size, C n_codebooks, L n_labels.
"""

from __future__ import annotations

from tinylm_cli.analysis.dtypes import DTYPE_BYTES, FLOAT32_BYTES, INT64_BYTES
from tinylm_cli.analysis.inference_working_memory import (
    SLACK,
    decode_working_bytes,
    forward_working_bytes,
    head_working_bytes,
)
from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.loop import n_runs
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import CapacityError
from tinylm_cli.wording import Command, Setting, Text

CHUNK = 1 << 18
"""Elements of a stage's output whose statistics are computed at once."""

STAGE_TENSORS = 5
"""Upper bound on the B × T × D tensors held at the end of a stage, while its statistics are computed."""


MAX_TENSORS = 500_000
"""Maximum number of parameter tensors of a model to instantiate, on any device: about 30,000 layers."""

OBJECT_BYTES = 2_500
"""Python objects for each parameter tensor: the parameter, and its share of the modules around it."""

OBJECT_SECONDS = 40e-6
"""Seconds to create, check and list one parameter tensor."""


def module_bytes(config: ModelConfig) -> int:
    """Return the bytes of the Python objects of an instantiated model, without the values of its tensors.

    Args:
        config: A validated config.

    Raises:
        CapacityError: If the model has more than ``MAX_TENSORS`` parameter tensors.
    """
    n_tensors = sum(section.repeats * len(section.tensors) for section in tensor_table(config))
    needed_bytes = n_tensors * OBJECT_BYTES
    if n_tensors > MAX_TENSORS:
        raise CapacityError(
            f"{config.n_layers:,} layers have {n_tensors:,} parameter tensors: their Python objects would take about"
            f" {needed_bytes / 1e9:.1f} GB and {n_tensors * OBJECT_SECONDS:,.0f} seconds",
            help=f"at most {MAX_TENSORS:,} tensors are instantiated; params and estimate need none",
        )
    return needed_bytes


MAX_META_LAYERS = 1_000
"""Maximum number of layers of a forward pass on the meta device."""

META_LAYER_SECONDS = 10e-3
"""Seconds of a layer on the meta device: torch derives the shape of each operation in Python."""


def require_short_meta_pass(config: ModelConfig) -> None:
    """Check that a forward pass on the meta device takes seconds.

    Raises:
        CapacityError: If the model has more than ``MAX_META_LAYERS`` layers.
    """
    n_layers = n_runs(config)
    if n_layers > MAX_META_LAYERS:
        seconds, build = n_layers * META_LAYER_SECONDS, Command("build", (Setting("meta", True),))
        raise CapacityError(
            f"a pass through {n_layers:,} layers on the meta device would take about {seconds:,.0f} seconds",
            help=Text(f"at most {MAX_META_LAYERS:,} layers are run there; ", build, " lists the shapes of more"),
        )


def forward_bytes(config: ModelConfig, *, batch_size: int, seq_len: int, dtype: str) -> int:
    """Return the peak working memory of a traced forward pass without gradients (``model/forward_trace.py``).

    The peak is in a layer, at the head, or at the loss of an LM head, which is computed one sequence at a time. The
    trace also computes statistics of each stage's output in float64, in chunks.

    Args:
        config: A validated config.
        batch_size: B, sequences.
        seq_len: T, tokens per sequence.
        dtype: A key of ``DTYPE_BYTES``.
    """
    element_bytes, rows = DTYPE_BYTES[dtype], batch_size * seq_len
    upcast_bytes = max(element_bytes, FLOAT32_BYTES)
    hidden, logits = rows * config.d_model, rows * config.n_outputs  # B × T × D, B × T × C·V or B × T × L
    copies = 2 if config.head.logit_scale != 1 else 1  # before the scale, after it
    if config.head.logit_softcap is not None:
        copies = 3  # before the soft-cap, its tanh, after it
    head = element_bytes * (hidden + copies * logits)
    traced_head = element_bytes * (hidden + logits) + _statistics_bytes(logits)
    layers = forward_working_bytes(config, batch_size=batch_size, seq_len=seq_len, element_bytes=element_bytes)
    streams = hidden * config.block.n_streams  # B × T × n × D
    stage = (STAGE_TENSORS - 1) * streams + hidden  # up to 4 tensors of all streams, and one of a single stream
    traced_stage = element_bytes * stage + _statistics_bytes(streams)
    transform = head_working_bytes(config, rows, element_bytes)
    peaks = [*layers, traced_stage, transform, head, traced_head]
    if config.has_lm_head:
        cast = upcast_bytes if element_bytes < upcast_bytes else 0
        # logits; T × C·V as cast, log-probabilities
        peaks.append(element_bytes * logits + seq_len * config.n_outputs * (cast + upcast_bytes))
    return SLACK + max(peaks)


def _statistics_bytes(elements: int) -> int:
    """Return the temporary bytes of the statistics: one chunk in float64, its magnitudes and a mask."""
    temporaries = 3
    return min(elements, CHUNK) * temporaries * DTYPE_BYTES["float64"]


def decode_bytes(config: ModelConfig, *, prompt_len: int, max_new_tokens: int, dtype: str) -> int:
    """Return the peak memory of decoding one sequence, without the weights.

    The sum of the KV cache, of at most max_len positions, and the largest of three: a pass over the prompt (or over the
    last max_len tokens, if the sequence grows longer), a decoding step, and sampling a token.

    Args:
        config: A validated config.
        prompt_len: Tokens of the prompt, >= 1.
        max_new_tokens: Tokens to decode, >= 1.
        dtype: A key of ``DTYPE_BYTES``.
    """
    longest = prompt_len + max_new_tokens - 1
    capacity = min(longest, config.max_len)
    cached = max_new_tokens > 1 and prompt_len < config.max_len
    read = prompt_len if cached and longest <= config.max_len else capacity
    cache = kv_cache_bytes(config, batch_size=1, seq_len=capacity, dtype=dtype) if cached else 0
    element_bytes = DTYPE_BYTES[dtype]
    layers = forward_working_bytes(config, batch_size=1, seq_len=read, element_bytes=element_bytes)
    step = decode_working_bytes(config, seq_len=capacity, element_bytes=element_bytes) if cached else ()
    head = max(head_working_bytes(config, 1, element_bytes), sampling_bytes(config, element_bytes))
    return SLACK + cache + max(*layers, *step, head)


def sampling_bytes(config: ModelConfig, element_bytes: int) -> int:
    """Return the bytes of sampling one token of each codebook for one sequence (``model/sampling.py``)."""
    logits = 2 * element_bytes  # the model's output, and a copy of the last position
    cast = 0 if element_bytes == FLOAT32_BYTES else FLOAT32_BYTES
    # scaled; sorted values and ids; cumulative sum; probabilities; sampled id
    sampled = 5 * FLOAT32_BYTES + INT64_BYTES
    return config.n_outputs * (logits + cast + sampled)
