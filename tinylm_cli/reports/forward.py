"""The report of ``tinylm forward``: a real forward pass, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """The output of one stage of the forward pass.

    Attributes:
        name: Dotted module name, e.g. ``blocks.0.attention``; ``tokens`` for the input.
        kind: Description of the stage, for learners.
        depth: 0 for the stages of the model, 1 for those inside the embedding or a block.
        shape: Shape of its output.
        mean: Mean of the output; None on meta, and for token ids.
        std: Population standard deviation of the output; None where ``mean`` is.
        finite: Whether every value is finite; None where ``mean`` is.
    """

    name: str
    kind: str
    depth: int
    shape: tuple[int, ...]
    mean: float | None
    std: float | None
    finite: bool | None


@dataclass(frozen=True)
class Candidate:
    """A candidate for the next token.

    Attributes:
        token: Its id.
        probability: Its probability after softmax over the vocabulary, 0 to 1.
        text: Its text; None for a special token, a part of a character, or a model without a tokenizer.
    """

    token: int
    probability: float
    text: str | None = None


@dataclass(frozen=True)
class ForwardReport:
    """A forward pass.

    Attributes:
        name: The model's name.
        source: Source of its config.
        untrained: Whether the weights were initialized, not loaded.
        device: Device of the weights.
        dtype: Storage type of the weights.
        tokens: The input ids, (B, T); empty for ``--random`` and on meta.
        batch_size: B.
        seq_len: T.
        vocab_size: V.
        stages: Every stage in the order it ran.
        candidates: Most likely next tokens of the first sequence, best first; empty on meta, and if logits are not
            finite.
        loss: Mean cross-entropy in nats of the input's next tokens; None on meta, and if T is 1.
        uniform_loss: ln(V), the loss of guessing evenly.
        milliseconds: Median time of a forward pass without hooks; None on meta.
        tokens_per_second: B × T over that time; None on meta.
    """

    name: str
    source: str
    untrained: bool
    device: str
    dtype: str
    tokens: tuple[tuple[int, ...], ...]
    batch_size: int
    seq_len: int
    vocab_size: int
    stages: tuple[Stage, ...]
    candidates: tuple[Candidate, ...]
    loss: float | None
    uniform_loss: float
    milliseconds: float | None
    tokens_per_second: float | None
