"""What ``tinylm params`` reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PartParams:
    """One row of a breakdown.

    Attributes:
        name: A component (``attention``), a layer (``blocks.0``) or a tensor (``blocks.0.ln_1.weight``). Where
            identical layers are held once, the index reads ``{0..5}``.
        count: How many identical layers the row stands for.
        shape: The tensor's shape, for a breakdown by tensor; else None.
        params: Parameters of all ``count`` together; 0 for a tensor that is tied to another.
        share: ``params`` over the model's total, 0 to 1.
        tied_to: The tensor or component that holds these parameters, or None.
    """

    name: str
    count: int
    shape: tuple[int, ...] | None
    params: int
    share: float
    tied_to: str | None


Convention = Literal["unique", "untied", "non-embedding", "active", "hub", "hub-tied-head", "hub-rotary", "hub-masks"]


@dataclass(frozen=True)
class Count:
    """The size of a model as one convention counts it.

    Attributes:
        convention: ``unique``: each stored tensor once; ``untied``: with a head of its own; ``non-embedding``: without
            what grows with the vocabulary or with learned positions; ``active``: what one token uses; ``hub``: what
            files hold, the corrections of routers too; and what they hold where the program that wrote them added the
            tied head again (``hub-tied-head``), rotary frequencies (``hub-rotary``) or causal masks (``hub-masks``).
        params: The count.
        difference_params: ``params`` less the unique count.
        explanation: What makes the difference.
    """

    convention: Convention
    params: int
    difference_params: int
    explanation: str


@dataclass(frozen=True)
class TiedLedger:
    """What sharing tensors saves.

    Attributes:
        naive_params: Every tensor counted as if it stood alone.
        unique_params: Each stored tensor counted once.
        saved_params: The difference.
        naive_weights_bytes: ``naive_params`` at the width of the weights' dtype.
        unique_weights_bytes: ``unique_params`` likewise.
        saved_weights_bytes: ``saved_params`` likewise.
        naive_adam_bytes: What Adam keeps for ``naive_params``: two float32 moments for each, whatever the dtype of the
            weights (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980).
        unique_adam_bytes: What it keeps for ``unique_params``.
        saved_adam_bytes: What it then need not keep.
    """

    naive_params: int
    unique_params: int
    saved_params: int
    naive_weights_bytes: int
    unique_weights_bytes: int
    saved_weights_bytes: int
    naive_adam_bytes: int
    unique_adam_bytes: int
    saved_adam_bytes: int


@dataclass(frozen=True)
class ModelParams:
    """The parameters of one model.

    Attributes:
        name: The preset's name or the file's stem.
        source: Preset name, path as given, or ``<stdin>``.
        total_params: Each stored tensor counted once.
        active_params: What one token uses: of experts, those it is sent to; ``total_params`` where there are none.
        embedding_params: The token embedding and learned positions, and an untied head.
        non_embedding_params: All others.
        untied_params: What the model would have with a head of its own.
        tied_saved_params: What tying saves: ``untied_params - total_params``, 0 when untied.
        nominal_params: The size the config says it is known by, or None.
        nominal_error: ``total_params / nominal_params - 1``, or None.
        weights_bytes: ``total_params`` in ``dtype``.
        dtype: Storage type that the byte counts assume.
        components: By component, in the order of the model, from the token embedding to the head; shares sum to 1.
        parts: By layer or by tensor, when asked for; else empty.
        tied: The ledger of shared tensors.
        counts: The model's size by every convention, ``total_params`` being the unique one.
    """

    name: str
    source: str
    total_params: int
    active_params: int
    embedding_params: int
    non_embedding_params: int
    untied_params: int
    tied_saved_params: int
    nominal_params: int | None
    nominal_error: float | None
    weights_bytes: int
    dtype: str
    components: tuple[PartParams, ...]
    parts: tuple[PartParams, ...]
    tied: TiedLedger
    counts: tuple[Count, ...]


@dataclass(frozen=True)
class ParamsReport:
    """Every model asked about.

    Attributes:
        models: One with ``--config``; without it every preset, in the order of ``tinylm list``.
    """

    models: tuple[ModelParams, ...]
