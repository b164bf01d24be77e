"""The schema of a model config: eight course fields, four architecture blocks, two labels.

A config that names none of the blocks is exactly the course's model. Every description here is what a user reads in
``tinylm schema``, ``tinylm new`` and an editor's tooltip, so each is written for that reader.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from tinylm_cli.config.rules import MAX_D_MODEL, MAX_N_HEADS, broken_rules

PositionKind = Literal["sinusoidal", "learned", "none"]
NormKind = Literal["layernorm", "rmsnorm"]
Activation = Literal["gelu", "gelu_tanh", "relu", "silu"]

MAX_COUNT = 10**18
_COUNT_UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_COUNT_PATTERN = r"^[0-9]{1,6}(\.[0-9]{1,6})?[KMBT]$"


def _parse_count(value: object) -> object:
    """Turn ``"500K"`` or ``"1.5B"`` into an integer; leave everything else for the integer check that follows."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(_COUNT_PATTERN.strip("^$"), value):
        raise PydanticCustomError(
            "count_format", "not a parameter count: expected an integer, or a number with K, M, B or T"
        )
    whole, _, fraction = value[:-1].partition(".")
    return int(whole + fraction) * _COUNT_UNITS[value[-1]] // 10 ** len(fraction)


ParameterCount = Annotated[
    int,
    Field(ge=1, le=MAX_COUNT),
    BeforeValidator(_parse_count),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MAX_COUNT},
                {"type": "string", "pattern": _COUNT_PATTERN},
            ]
        }
    ),
]


class Block(BaseModel):
    """Base of every part of a config: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Position(Block):
    """How a token knows where it stands."""

    kind: PositionKind = Field(
        default="sinusoidal",
        description="sinusoidal: fixed sines and cosines, no parameters; learned: a max_len × d_model table; "
        "none: nothing is added, and order shows through the causal mask alone.",
    )


class Norm(Block):
    """The normalisation before each sub-layer and before the head."""

    kind: NormKind = Field(
        default="layernorm",
        description="layernorm: centres and scales, weight and bias; rmsnorm: scales only, weight without bias.",
    )
    eps: float = Field(
        default=1e-5,
        gt=0,
        le=0.1,
        description="Added to the variance so that a constant vector does not divide by zero.",
    )


class Attention(Block):
    """Multi-head causal self-attention; each head works on d_head = d_model / n_heads dimensions."""

    bias: bool = Field(default=True, description="Biases on the q, k, v and o projections.")


class FeedForward(Block):
    """The two-layer network applied to each position: d_model to d_ff, activation, back to d_model."""

    activation: Activation = Field(
        default="gelu",
        description="gelu: the exact erf form; gelu_tanh: GPT-2's approximation; relu; silu: x times sigmoid(x).",
    )
    bias: bool = Field(default=True, description="Biases on both projections.")


class ModelConfig(Block):
    """A decoder-only transformer language model.

    Raises:
        pydantic.ValidationError: If a field is missing, unknown, of the wrong type or out of bounds, or if fields
            contradict each other; the message names every field involved.
    """

    vocab_size: int = Field(
        ge=1,
        le=100_000_000,
        examples=[256],
        description="How many different tokens there are: rows of the embedding table, columns of the head.",
    )
    d_model: int = Field(
        ge=1,
        le=MAX_D_MODEL,
        examples=[128],
        description="Width of the vector that carries each token through the model.",
    )
    n_heads: int = Field(
        ge=1, le=MAX_N_HEADS, examples=[4], description="Attention heads per layer; must divide d_model."
    )
    n_layers: int = Field(ge=1, le=100_000, examples=[4], description="Transformer blocks, one after the other.")
    d_ff: int = Field(
        ge=1,
        le=16_777_216,
        examples=[512],
        description="Hidden width of the feed-forward network; four times d_model is the usual choice.",
    )
    max_len: int = Field(
        default=1024, ge=1, le=1_000_000_000, description="Longest sequence of tokens the model can read at once."
    )
    dropout: float = Field(
        default=0.1, ge=0, lt=1, description="Share of activations zeroed at random while training; 0 turns it off."
    )
    tie_weights: bool = Field(
        default=True,
        description="Share one table between the token embedding and the head, saving vocab_size × d_model parameters.",
    )

    position: Position = Field(default_factory=Position, description="How a token knows where it stands.")
    norm: Norm = Field(default_factory=Norm, description="The normalisation before each sub-layer and before the head.")
    attention: Attention = Field(default_factory=Attention, description="Multi-head causal self-attention.")
    feed_forward: FeedForward = Field(
        default_factory=FeedForward, description="The two-layer network applied to each position."
    )

    nominal_params: ParameterCount | None = Field(
        default=None, description="The size the model is known by, e.g. 125M; tinylm sets the true count beside it."
    )

    @property
    def d_head(self) -> int:
        """Dimensions per attention head."""
        return self.d_model // self.n_heads

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        problems = list(broken_rules(flatten(self.model_dump())))
        if problems:
            text = "; ".join(f"{problem.message} ({problem.help})" for problem in problems)
            raise PydanticCustomError("fields_disagree", "{text}", {"text": text})
        return self


BLOCKS: dict[str, type[Block]] = {
    "position": Position,
    "norm": Norm,
    "attention": Attention,
    "feed_forward": FeedForward,
}


def flatten(values: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"norm": {"eps": 1e-5}, …}`` as ``{"norm.eps": 1e-5, …}``, one level deep, in the same order."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if key in BLOCKS and isinstance(value, dict):
            flat.update({f"{key}.{inner}": inner_value for inner, inner_value in value.items()})
        else:
            flat[key] = value
    return flat
