"""What ``tinylm forward`` reports: a real run, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """The output of one stage of the forward pass.

    Attributes:
        name: Dotted module name, e.g. ``blocks.0.attention``; ``tokens`` for the input.
        kind: What the stage does, in a few words a learner reads.
        depth: 0 for the stages of the model, 1 for those inside the embedding or a block.
        shape: Shape of its output, as it was.
        mean: Mean of the output, or None where there are no values (meta) or they are token ids.
        std: Standard deviation of the output, population form, or None likewise.
        finite: Whether every value is finite, or None likewise.
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
    """A token that may come next.

    Attributes:
        token: Its id.
        probability: How likely the model holds it to be, after softmax over the whole vocabulary, 0 to 1.
    """

    token: int
    probability: float


@dataclass(frozen=True)
class ForwardReport:
    """A forward pass.

    Attributes:
        name: The model's name.
        source: Where its config came from.
        untrained: True when the weights were drawn, not loaded.
        device: Where it ran.
        dtype: Storage type of the weights.
        tokens: The input ids, (B, T); empty for ``--random`` and on meta.
        batch_size: B.
        seq_len: T.
        vocab_size: V.
        stages: Every stage in the order it ran.
        candidates: Most probable next tokens of the first sequence, best first; empty where there are no values or
            they are not finite.
        loss: Mean cross-entropy in nats of each next token of the input given those before it; None when T is 1 or
            there are no values.
        uniform_loss: ln(V): the loss of guessing evenly.
        milliseconds: Median time of an uninstrumented forward pass, or None on meta.
        tokens_per_second: B × T over that time, or None likewise.
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
