"""A check of a model: its inputs (the model, its closed form, a batch of tokens) and its outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tinylm_cli.config.choices import HeadKind
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import CapacityError, OutputError
from tinylm_cli.machine import require_memory
from tinylm_cli.model.initialization import STD, is_out_of_memory
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.mixers.registry import mixer_classes
from tinylm_cli.model.state_dict import unique_params
from tinylm_cli.reports.check import CheckResult, Status

BATCH_SIZE = 2
SEQ_LEN = 16

MAX_LOGITS = 1 << 24
"""Maximum logits per batch, 64 MiB in float32; a very large vocabulary shortens the sequences."""

FLOAT16_SCALE = 2.0**-6
"""Factor on all gradients in float16, whose largest number is 65,504, so that intermediate ones do not overflow."""

TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Allowed difference between two computations of the same logits, relative to the largest logit.

Allows a few rounding errors in half precision, which accumulates in float32, and several hundred in float32 and
float64.
"""


class OutputTerms(NamedTuple):
    """How statements name the outputs of a head."""

    one: str
    several: str
    shape: str  # V vocab_size, C n_codebooks, L n_labels
    initial_loss: str = ""  # of equal probabilities; empty without a head
    tokens: str = "(B, T)"  # shape of the ids


_SCORES = OutputTerms("score", "scores", "(B, L)", "ln L")
OUTPUT_TERMS: dict[HeadKind, OutputTerms] = {
    "lm": OutputTerms("logit", "logits", "(B, T, V)", "ln V, adjusted for a tied head"),
    "sequence_classification": _SCORES,
    "token_classification": _SCORES._replace(shape="(B, T, L)"),
    "none": OutputTerms("hidden state", "hidden states", "(B, T, D)"),
}

MIN_SENSITIVE_D_MODEL = 64
"""Minimum d_model at which the output of a newly initialized block exceeds the rounding error of half precision."""


@dataclass(frozen=True, slots=True)
class ExpectedParams:
    """The parameters that the closed form predicts for the model.

    Attributes:
        shapes: Shape of each parameter by full name; a tied parameter appears under each of its names.
        total_params: Number of elements of all parameters; a tied parameter counts once.
    """

    shapes: Mapping[str, tuple[int, ...]]
    total_params: int


@dataclass(frozen=True, slots=True)
class CheckContext:
    """The model under test and its inputs.

    Attributes:
        model: A model with storage, in evaluation mode.
        seed: Seed of the initialization.
        newly_initialized: Whether the weights were initialized with this seed rather than loaded.
        closed_form: The expected parameters.
        tokens: Ids (B, T) or (B, T, C), the same for every model with this vocabulary, max_len and codebooks.
    """

    model: TinyTransformerLM
    seed: int
    newly_initialized: bool
    closed_form: ExpectedParams
    tokens: Tensor

    @property
    def config(self) -> ModelConfig:
        """The config of the model."""
        return self.model.config

    @property
    def terms(self) -> OutputTerms:
        """The names of the model's outputs."""
        terms = OUTPUT_TERMS[self.config.head.kind]
        if self.config.embedding.n_codebooks == 1:
            return terms
        shape = "(B, T, C, V)" if self.config.has_lm_head else terms.shape
        return terms._replace(tokens="(B, T, C)", shape=shape)

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the weights."""
        return self.model.dtype

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.model.device

    @property
    def degenerate_norm(self) -> bool:
        """Whether norms over vectors of d_model elements return nearly the same vector for every input."""
        return self.is_degenerate_norm(self.config.d_model)

    def is_degenerate_norm(self, dim: int) -> bool:
        """Return whether a norm over vectors of ``dim`` elements returns nearly the same vector for every input.

        LayerNorm maps every vector of 1 element to 0 and of 2 elements to ±(1, -1); RMSNorm maps 1 element to ±1.
        """
        return dim <= (2 if self.config.norm.kind == "layernorm" else 1)

    @property
    def logits_saturated(self) -> bool:
        """Whether the soft-cap is below the std of initial logits, so that its tanh saturates.

        Then logits hardly depend on the tokens, and gradients vanish.
        """
        cap = self.config.head.logit_softcap
        return cap is not None and cap < self.initial_logit_std

    @property
    def initial_logit_std(self) -> float:
        """Largest std of a logit before the soft-cap and training, 0.02 · √d_model · logit_scale.

        After the final norm, a vector has length at most √D, and rows of the LM head are Normal(0, 0.02²).
        """
        return STD * math.sqrt(self.config.d_model) * self.config.head.logit_scale

    @property
    def must_respond_to_tokens(self) -> bool:
        """Whether changing a token must change the logits of later tokens.

        In a newly initialized model, half precision rounds the output of a narrow block to 0, about 0.02² · d_model
        times its input. It also rounds products of projections, as in the gates of other mixers than attention. Of a
        narrow model, one or two scores may round to the same values in any dtype.
        """
        config, attention = self.config, self.config.attention
        half = self.dtype.itemsize < torch.float32.itemsize
        mixers = [(mixer, kind) for kind in layer_pattern(config).kinds for mixer in mixer_classes(kind).values()]
        shifts = any(kind.feed_forward.channel_mixing for kind in layer_pattern(config).kinds)
        if not shifts and not any(mixer.reads_earlier_positions(kind) for mixer, kind in mixers):
            return False
        if half and not any("attention" in kind.block.mixers for _, kind in mixers):
            return False
        constant_values = attention.kind == "latent" and self.is_degenerate_norm(attention.kv_rank)
        constant_values |= attention.sub_norm and self.is_degenerate_norm(config.n_heads * config.d_value_per_kv_head)
        return (
            not self.degenerate_norm
            and not constant_values
            and not self.logits_saturated
            and not ((half or not config.has_lm_head) and config.d_model < MIN_SENSITIVE_D_MODEL)
        )

    def outputs(self, tokens: Tensor) -> Tensor:
        """Return the outputs of the head at every position of ids: logits (B, T, V), scores, or hidden states.

        With several codebooks, ids are (B, T, C) and logits (B, T, C, V). The model itself returns the scores of a
        sequence at its last position only.
        """
        of_one_position = self.config.head.kind == "sequence_classification"
        outputs: Tensor = self.model.logits(self.model.hidden(tokens)) if of_one_position else self.model(tokens)
        return outputs

    def logits(self, tokens: Tensor) -> Tensor:
        """Return :meth:`outputs` without gradients."""
        with torch.no_grad():
            return self.outputs(tokens)

    def tolerance(self, largest_logit: float) -> float:
        """Return the allowed difference between two computations of logits with this largest magnitude.

        With a soft-cap, the magnitude before the cap is used, because near 0 the cap preserves differences.
        """
        if self.config.head.logit_softcap is not None:
            with torch.no_grad():
                logits = self.model.lm_head(self.model.hidden(self.tokens))  # (B, T, V)
            largest_logit = max_abs(logits) * self.config.head.logit_scale
        return TOLERANCE[self.dtype] * largest_logit

    def softcap_skip_reason(self, limit: float) -> str | None:
        """Return the reason why the soft-cap makes a comparison within ``limit`` meaningless, or None."""
        cap = self.config.head.logit_softcap
        if cap is None or limit < cap:
            return None
        name = str(self.dtype).removeprefix("torch.")
        return f"with head.logit_softcap {cap:g}, logits differ by less than {name} can represent"

    def require_memory(self, bytes_per_param: int, work: str) -> None:
        """Raise CapacityError if ``work``, named in the message, exceeds this machine's memory."""
        require_memory(unique_params(self.model) * bytes_per_param, work, device=self.device.type)


def sample_tokens(config: ModelConfig, device: torch.device) -> Tensor:
    """Return random ids of a length suitable for the model, at least two different ones per sequence and codebook.

    Their shape is (B, T), or (B, T, C) with several codebooks.
    """
    longest = max(MAX_LOGITS // (BATCH_SIZE * config.embedding_rows), 2)
    shape = config.tokens_shape(BATCH_SIZE, min(config.max_len, SEQ_LEN, longest))
    generator = torch.Generator(device="cpu").manual_seed(0)
    tokens = torch.randint(config.vocab_size, shape, generator=generator, device="cpu")  # (B, T) or (B, T, C)
    tokens[:, 1:2] = (tokens[:, :1] + 1) % config.vocab_size
    return tokens.to(device)


def max_abs(*tensors: Tensor) -> float:
    """Return the largest magnitude in ``tensors``: nan if any contains nan, 0 if all are empty."""
    peaks = [tensor.detach().abs().amax().cpu().double() for tensor in tensors if tensor.numel()]
    return float(torch.stack(peaks).amax()) if peaks else 0.0


class Outcome(NamedTuple):
    """The outcome of a measurement; see the fields of :class:`CheckResult`."""

    status: Status
    measured: str
    value: float | None = None
    limit: float | None = None


def passed_if(holds: bool, measured: str, value: float | None = None, limit: float | None = None) -> Outcome:  # noqa: FBT001
    """Return a passed outcome if the statement holds, else a failed one."""
    return Outcome("pass" if holds else "fail", measured, value, limit)


def passed_if_at_most(value: float, limit: float, label: str) -> Outcome:
    """Return a passed outcome if ``value`` is at most ``limit``, else a failed one; nan fails."""
    return passed_if(value <= limit, f"{label} {value:.2g}", value, limit)


def skip(reason: str) -> Outcome:
    """Return the outcome of a check that does not apply."""
    return Outcome("skip", reason)


@dataclass(frozen=True, slots=True)
class Check:
    """A runnable check.

    Attributes:
        name: Stable name, e.g. ``causality-gradient``.
        statement: The property that the check verifies, in one sentence, with the fields of :class:`OutputTerms` in
            braces.
        measure: Measures the property; may raise any exception.
    """

    name: str
    statement: str
    measure: Callable[[CheckContext], Outcome]

    def __call__(self, context: CheckContext) -> CheckResult:
        """Run the check, with gradients enabled.

        The check is skipped if this machine lacks the memory or disk space, or if an operation does not support the
        dtype. Any other exception is a failure.
        """
        try:
            with torch.enable_grad():
                outcome = self.measure(context)
        except Exception as error:  # a broken model may raise any exception
            reason = _machine_limit(error)
            outcome = skip(reason) if reason else Outcome("fail", f"{type(error).__name__}: {_first_line(error)}")
        return CheckResult(self.name, self.statement.format(**context.terms._asdict()), *outcome)


def gradient_of(output: Tensor, leaf: Tensor) -> Tensor:
    """Return the gradient of a scalar with respect to ``leaf``; scaled down if it overflows in float16."""
    (gradient,) = torch.autograd.grad(output, leaf, retain_graph=True)
    if gradient.dtype == torch.float16 and not gradient.isfinite().all():
        (gradient,) = torch.autograd.grad(output * FLOAT16_SCALE, leaf, retain_graph=True)
    return gradient


def check(name: str, statement: str) -> Callable[[Callable[[CheckContext], Outcome]], Check]:
    """Return a decorator that turns a measuring function into a :class:`Check`."""
    return lambda measure: Check(name, statement, measure)


def _machine_limit(error: Exception) -> str | None:
    """Return the reason why this machine cannot run a check, or None if the model causes the error."""
    message = _first_line(error)
    if isinstance(error, CapacityError | OutputError):
        return message
    if is_out_of_memory(error):
        return f"out of memory: {message}"
    if "not implemented for '" in message:
        return f"missing operation: {message}"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
