"""Report of ``tinylm params``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PartParams:
    """One row of a breakdown.

    Attributes:
        name: A component (``attention``), a layer (``blocks.0``) or a tensor (``blocks.0.ln_1.weight``). Identical
            layers are listed once, as ``blocks.{0..5}``.
        count: Number of identical layers in the row.
        shape: The tensor's shape, in a breakdown by tensor; else None.
        params: Parameters of all ``count`` layers together; 0 for a tied tensor.
        share: ``params`` over the model's total, 0 to 1.
        tied_to: The tensor or component that stores these parameters, or None.
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
    """The size of a model by one counting convention.

    Attributes:
        convention: ``unique``: each stored tensor once. ``untied``: with a separate LM head. ``non-embedding``:
            without token embedding, learned positions and LM head. ``active``: parameters that one token uses. ``hub``:
            elements of the checkpoint, router corrections included. Checkpoints that store more than parameters:
            the tied head again (``hub-tied-head``), rotary frequencies (``hub-rotary``), causal masks (``hub-masks``).
        params: The count.
        difference_params: ``params`` minus the unique count.
        explanation: The cause of the difference.
    """

    convention: Convention
    params: int
    difference_params: int
    explanation: str


@dataclass(frozen=True)
class StoredSize:
    """Parameters, and the bytes that weights and optimizer take for them.

    Attributes:
        params: Number of parameters.
        params_bytes: ``params`` in the weights' dtype.
        adam_bytes: Adam's state: two float32 moments each, for any dtype of the weights (Kingma and Ba 2015,
            https://arxiv.org/abs/1412.6980).
    """

    params: int
    params_bytes: int
    adam_bytes: int


@dataclass(frozen=True)
class TyingSavings:
    """Savings from tying the LM head to the token embedding.

    Attributes:
        untied: If no tensors were tied.
        tied: Each stored tensor counted once.
        saved: The difference; 0 if nothing is tied.
    """

    untied: StoredSize
    tied: StoredSize
    saved: StoredSize


@dataclass(frozen=True)
class ComponentFormula:
    """The parameter count of one component, as a formula with numbers filled in.

    Attributes:
        component: ``token_embedding``, ``attention``, …
        formula: The sum of the shapes of its tensors: ``12 layers × 4 × (768 × 768 + 768)``; ``0`` if it is tied.
        params: The value of ``formula``.
        active_formula: Formula of the parameters that one token uses; differs from ``formula`` for routed experts.
        active_params: The value of ``active_formula``.
        modules: Names of the modules in the formula.
        tied_to: The component whose storage it shares, or None.
    """

    component: str
    formula: str
    params: int
    active_formula: str
    active_params: int
    modules: tuple[str, ...]
    tied_to: str | None


@dataclass(frozen=True)
class SizeChange:
    """A change of one or two fields that reaches the nominal size within 1%.

    Attributes:
        values: New value by field.
        total_params: Parameters with the change.
        nominal_error: ``total_params / nominal_params - 1``.
    """

    values: Mapping[str, int]
    total_params: int
    nominal_error: float


@dataclass(frozen=True)
class ParamsExplanation:
    """Derivation of a model's parameter count.

    Attributes:
        formulas: One per component, in the order of the model; their ``params`` sum to the total.
        nominal_changes: Smallest changes that reach the nominal size: of one field, then of two. Empty if the size is
            within 1%, or if the config has no nominal size.
    """

    formulas: tuple[ComponentFormula, ...]
    nominal_changes: tuple[SizeChange, ...]


@dataclass(frozen=True)
class ModelParams:
    """The parameters of one model.

    Attributes:
        name: The preset's name or the file's stem.
        source: Preset name, path as given, or ``<stdin>``.
        total_params: Each stored tensor counted once.
        active_params: Parameters that one token uses; routed experts count top_k of n_experts. Without experts,
            ``total_params``.
        embedding_params: Token embedding, learned positions and an untied LM head.
        non_embedding_params: All others.
        nominal_params: The nominal size in the config, or None.
        nominal_error: ``total_params / nominal_params - 1``, or None.
        params_bytes: ``total_params`` in ``dtype``.
        dtype: Storage type that the byte counts assume.
        components: By component, in the order of the model, from the token embedding to the LM head; shares sum to 1.
        parts: By layer or by tensor, if requested; else empty.
        tying: Savings from tying the LM head to the token embedding.
        counts: The model's size by every convention; ``total_params`` is the unique one.
        explanation: Formulas of the count, if requested; else None.
    """

    name: str
    source: str
    total_params: int
    active_params: int
    embedding_params: int
    non_embedding_params: int
    nominal_params: int | None
    nominal_error: float | None
    params_bytes: int
    dtype: str
    components: tuple[PartParams, ...]
    parts: tuple[PartParams, ...]
    tying: TyingSavings
    counts: tuple[Count, ...]
    explanation: ParamsExplanation | None = None


@dataclass(frozen=True)
class ParamsReport:
    """Parameters of one or more models.

    Attributes:
        models: The requested model; without one, every preset, in the order of ``tinylm list``.
    """

    models: tuple[ModelParams, ...]
