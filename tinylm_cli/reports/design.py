"""The report of ``tinylm design``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinylm_cli.reports.choices import Optimizer, Purpose, Recompute
from tinylm_cli.reports.constraint import Constraint, ConstraintFailure, Relaxation, Sizes
from tinylm_cli.reports.plan import Layout


@dataclass(frozen=True)
class ComputeBudget:
    """The FLOPs of a training run, and the model size that they train.

    Attributes:
        compute_flops: C, FLOPs of the run, 6 per parameter and token.
        train_tokens: D, tokens to train on, if given; else null.
        params: ``C / 6D`` where tokens are given, else the compute-optimal ``√(C / 120)``; with experts, active ones.
        tokens: Tokens that such a model is trained on.
        tokens_per_param: Tokens per parameter; 20 is compute-optimal.
    """

    compute_flops: int
    train_tokens: int | None
    params: int
    tokens: int
    tokens_per_param: float


@dataclass(frozen=True)
class GridAxis:
    """One size of the grid.

    Attributes:
        name: The size, or the proportion.
        values: Its values, in words.
        source: The reason for them.
    """

    name: str
    values: str
    source: str


@dataclass(frozen=True)
class Design:
    """A model that satisfies every constraint.

    Attributes:
        rank: Its rank, from 1.
        sizes: Its shape.
        figures: Its figures by name, those with constraints included. On several GPUs train_bytes_per_gpu is the
            memory of the fullest one.
        deviation: Signed relative distance from the target; from the farthest of several.
        on_pareto_front: Whether no other match has at least as many parameters for no more FLOPs, KV cache and decoding
            time (without a GPU: bytes read per token), and is better in one of the four.
        decode_tokens_per_second: Upper bound on the decode throughput, summed over the batch; null without a GPU.
        train_tokens_per_second: Training throughput of all GPUs; null without a GPU, and for serving.
        train_tokens: Tokens that the compute budget trains it on; null without one.
        config: Its config with defaults filled in.
    """

    rank: int
    sizes: Sizes
    figures: dict[str, int]
    deviation: float
    on_pareto_front: bool
    decode_tokens_per_second: float | None
    train_tokens_per_second: float | None
    train_tokens: int | None
    config: dict[str, Any]


@dataclass(frozen=True)
class DesignReport:
    """The models of a grid that satisfy every constraint, best first.

    Attributes:
        family: Name of the family.
        title: The family in a few words.
        source: Publication of its shape.
        vocab_size: Tokens in the vocabulary.
        max_len: Longest sequence.
        tie_weights: Whether the LM head is tied to the embedding.
        batch_size: Sequences per pass.
        seq_len: Tokens per sequence.
        dtype: Storage type of weights, activations and caches.
        optimizer: The optimizer that training memory is for.
        recompute: Activations that the backward pass recomputes.
        accelerator: The GPU; null if none is named.
        capacity_bytes: Its usable memory, or null.
        n_gpus: GPUs that train the model together.
        layout: How they share the training; null for one.
        purpose: Workload that fits in the GPU's memory, or null.
        utilization: Share of the GPU's peak that training reaches; null without a GPU, for serving and on several GPUs.
        compute: The compute budget, or null.
        n_experts: Experts per layer; null for none, where every parameter is active.
        constraints: The constraints that every design satisfies.
        grid: The sizes that were searched.
        candidates: Models in the grid.
        matches: Models that satisfy every constraint.
        pareto_front: Matches on the Pareto front.
        designs: The first of them by rank.
        failures: The constraints that fail, where no model matches.
        relaxations: Changes after which models match, where none does.
    """

    family: str
    title: str
    source: str
    vocab_size: int
    max_len: int
    tie_weights: bool
    batch_size: int
    seq_len: int
    dtype: str
    optimizer: Optimizer
    recompute: Recompute
    accelerator: str | None
    capacity_bytes: int | None
    n_gpus: int
    layout: Layout | None
    purpose: Purpose | None
    utilization: float | None
    compute: ComputeBudget | None
    n_experts: int | None
    constraints: tuple[Constraint, ...]
    grid: tuple[GridAxis, ...]
    candidates: int
    matches: int
    pareto_front: int
    designs: tuple[Design, ...]
    failures: tuple[ConstraintFailure, ...]
    relaxations: tuple[Relaxation, ...]
