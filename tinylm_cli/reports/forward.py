"""The report of ``tinylm forward``: a real forward pass, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from tinylm_cli.reports.record import Record


class Stage(Record):
    """The output of one stage of the forward pass."""

    name: str  # Dotted module name, e.g. ``blocks.0.attention``; ``tokens`` for the input.
    kind: str  # Description of the stage, for learners.
    depth: int  # 0 for the stages of the model, 1 for the stages inside the embedding or a block.
    shape: tuple[int, ...]  # Shape of its output.
    mean: float | None  # Mean of the output; None on meta, and for token ids.
    std: float | None  # Population standard deviation of the output; None if ``mean`` is None.
    finite: bool | None  # Whether every value is finite; None if ``mean`` is None.
    layer_kind: str = ""  # Name of the kind of layers, of a block; empty for other stages and kinds without a name.


class NextToken(Record):
    """A possible next token."""

    token: int  # Its id.
    probability: float  # Its probability after softmax over the vocabulary, 0 to 1.
    # Its text; None for a special token, a part of a character, or a model without a tokenizer.
    text: str | None = None
    codebook: int = 0  # The codebook whose next token it is, from 0.


class ForwardReport(Record):
    """A forward pass."""

    name: str  # The model's name.
    source: str  # Source of its config.
    untrained: bool  # Whether the weights were initialized, not loaded.
    device: str  # Device of the weights.
    dtype: str  # Data type of the weights.
    # The input ids, (B, T), with several codebooks (B, T · C), position by position; empty for ``--random`` and on
    # meta.
    tokens: tuple[tuple[int, ...], ...]
    batch_size: int  # B.
    seq_len: int  # T.
    vocab_size: int  # V.
    n_codebooks: int  # C, the ids of each position.
    stages: tuple[Stage, ...]  # Every stage in the order it ran.
    # Most likely next tokens of the first sequence, for each codebook, best first; empty on meta, without an LM head,
    # and if logits are not finite.
    next_tokens: tuple[NextToken, ...]
    # Scores of the labels at the last token of the first sequence; empty on meta, and without a classification head.
    scores: tuple[float, ...]
    # Mean cross-entropy in nats of the input's next tokens; None on meta, without an LM head, and if T is 1.
    loss: float | None
    uniform_loss: float | None  # ln(V), the loss of a uniform prediction; None without an LM head.
    milliseconds: float | None  # Median time of a forward pass without hooks; None on meta.
    tokens_per_second: float | None  # B × T over that time; None on meta.
    # Keys of a Hugging Face config.json that were left out, each with the reason: ``requested``, or
    # ``no_effect_here`` for a key that is not understood and changes no figure of this report.
    ignored_keys: Mapping[str, str] = field(default_factory=dict)
