"""The report of ``tinylm design``."""

from __future__ import annotations

from typing import Any

from tinylm_cli.reports.choices import Optimizer, Purpose, Recompute
from tinylm_cli.reports.constraint import Constraint, ConstraintFailure, Relaxation, Sizes
from tinylm_cli.reports.plan import Layout
from tinylm_cli.reports.record import Record


class ComputeBudget(Record):
    """The FLOPs of a training run, and the model size that they train."""

    compute_flops: int  # C: training FLOPs, 6 per parameter per token.
    train_tokens: int | None  # D, tokens to train on, if given; else null.
    # ``C / 6D`` if tokens are given, else the compute-optimal ``√(C / 120)``; with experts, active ones.
    params: int
    tokens: int  # Tokens that such a model is trained on.
    tokens_per_param: float  # Tokens per parameter; 20 is compute-optimal.


class GridAxis(Record):
    """One size of the grid."""

    name: str  # The size, or the proportion.
    values: str  # Its values, formatted.
    source: str  # The reason for them.


class Design(Record):
    """A model that satisfies every constraint."""

    rank: int  # Its rank, from 1.
    sizes: Sizes  # Its shape.
    # Its figures by name, including those with constraints. On several GPUs train_bytes_per_gpu is the maximum
    # over the GPUs.
    figures: dict[str, int]
    deviation: float  # Signed relative distance from the target; from the farthest of several.
    # Whether no other match has at least as many parameters for no more FLOPs, KV cache and decoding time (without a
    # GPU: bytes read per token), and is better in one of the four.
    on_pareto_front: bool
    # Upper bound on the decode throughput, summed over the batch; null without a GPU.
    decode_tokens_per_second: float | None
    train_tokens_per_second: float | None  # Training throughput of all GPUs; null without a GPU, and for serving.
    train_tokens: int | None  # Tokens that the compute budget trains it on; null without one.
    config: dict[str, Any]  # Its config with defaults filled in.


class DesignReport(Record):
    """The models of a grid that satisfy every constraint, best first."""

    family: str  # Name of the family.
    title: str  # Short description of the family.
    source: str  # Publication of its shape.
    vocab_size: int  # Tokens in the vocabulary.
    max_len: int  # Longest sequence.
    tie_weights: bool  # Whether the LM head is tied to the embedding.
    batch_size: int  # Sequences per pass.
    seq_len: int  # Tokens per sequence.
    dtype: str  # Data type of weights, activations and caches.
    optimizer: Optimizer  # The optimizer that training memory is for.
    recompute: Recompute  # Activations that the backward pass recomputes.
    accelerator: str | None  # The GPU; null if none is named.
    capacity_bytes: int | None  # Its usable memory, or null.
    n_gpus: int  # GPUs that train the model together.
    layout: Layout | None  # Their parallel layout; null for one GPU.
    purpose: Purpose | None  # Workload that fits in the GPU's memory, or null.
    # Share of the GPU's peak that training reaches; null without a GPU, for serving and on several GPUs.
    utilization: float | None
    compute: ComputeBudget | None  # The compute budget, or null.
    n_experts: int | None  # Experts per layer; null without experts: every parameter is active.
    constraints: tuple[Constraint, ...]  # The constraints that every design satisfies.
    grid: tuple[GridAxis, ...]  # The sizes that were searched.
    candidates: int  # Models in the grid.
    matches: int  # Models that satisfy every constraint.
    pareto_front: int  # Matches on the Pareto front.
    designs: tuple[Design, ...]  # The matches with the best ranks, at most ``--top``.
    failures: tuple[ConstraintFailure, ...]  # The constraints that fail, if no model matches.
    relaxations: tuple[Relaxation, ...]  # Changes after which models match, if none does.
