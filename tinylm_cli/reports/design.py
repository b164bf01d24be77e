"""What ``tinylm design`` reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from tinylm_cli.reports.memory import Optimizer, Recompute

AimUnit = Literal["params", "bytes", "flops", "tokens_per_second"]
Origin = Literal["asked", "gpu", "compute", "room"]
Purpose = Literal["training", "serving"]


class Asked(NamedTuple):
    """How a figure is aimed at.

    Attributes:
        option: The option that asks for it.
        words: What is said of it after its value.
    """

    option: str
    words: str


AIMS: dict[str, Asked] = {
    "total_params": Asked("--params", "parameters"),
    "active_params": Asked("--active-params", "active parameters"),
    "forward_flops_per_token": Asked("--max-flops-per-token", "a token"),
    "kv_cache_bytes": Asked("--max-kv-bytes", "of keys and values"),
    "weights_bytes": Asked("--max-weights-bytes", "of weights"),
    "train_bytes_per_gpu": Asked("--max-train-bytes-per-gpu", "to train"),
    "serve_bytes": Asked("--max-serve-bytes", "to serve"),
    "decode_tokens_per_second": Asked("--min-decode-tokens-per-second", "decoded"),
}
"""Every figure that can be aimed at."""


@dataclass(frozen=True)
class Aim:
    """What a figure must be.

    Attributes:
        figure: Its name.
        unit: What it counts.
        wanted: What was asked for: a value to come near, or the most that is allowed, or of a speed the least.
        tolerance: How far from it the figure may be, as a share of it; null where ``wanted`` is a limit.
        least: The smallest value that will do.
        most: The greatest; null for any.
        origin: Why: ``asked`` for by itself; ``gpu``: its memory; ``compute``: what that is spent on; ``room``: the
            most parameters that the limits leave room for.
    """

    figure: str
    unit: AimUnit
    wanted: float
    tolerance: float | None
    least: float
    most: float | None
    origin: Origin


@dataclass(frozen=True)
class ComputeBudget:
    """What a whole training may compute, and the size of model that this makes.

    Attributes:
        compute_flops: C, operations of the training, 6 for each parameter and token.
        budget_tokens: D, tokens to train on, if they were given; else null.
        params: ``C / 6D`` where tokens were given, else the compute-optimal ``√(C / 120)``; of experts those a token
            uses.
        tokens: What such a model is trained on.
        tokens_per_param: The same for each of its parameters; 20 is compute-optimal.
    """

    compute_flops: int
    budget_tokens: int | None
    params: int
    tokens: int
    tokens_per_param: float


@dataclass(frozen=True)
class Axis:
    """One size of the grid.

    Attributes:
        name: The size, or the proportion.
        values: What it may be, in words.
        source: Where the choice comes from.
    """

    name: str
    values: str
    source: str


@dataclass(frozen=True)
class Sizes:
    """The shape of a model.

    Attributes:
        d_model: Width.
        n_layers: Depth.
        n_heads: Heads of queries.
        n_kv_heads: Heads of keys and values.
        d_head: Dimensions per head.
        d_ff: Hidden width of the feed-forward network, or of one expert.
    """

    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_ff: int


@dataclass(frozen=True)
class Design:
    """A model that keeps to every aim.

    Attributes:
        rank: Its place, from 1.
        sizes: Its shape.
        figures: Its figures by name, among them all that there are aims for.
        error: How far it is from what was wanted, signed, as a share of it; the farthest where several were wanted.
        on_front: Whether no other match has at least its parameters for no more of the operations, the cache and the
            time of a decoding step (without a GPU, the bytes read for a token), and is better in one of them.
        decode_tokens_per_second: Most that the GPU decodes of the whole batch; null without one.
        train_tokens_per_second: What it trains on at the stated utilization; null without a GPU, and for serving.
        budget_tokens: What the compute budget trains it on; null without one.
        config: It as a config, defaults filled in.
    """

    rank: int
    sizes: Sizes
    figures: dict[str, int]
    error: float
    on_front: bool
    decode_tokens_per_second: float | None
    train_tokens_per_second: float | None
    budget_tokens: int | None
    config: dict[str, Any]


@dataclass(frozen=True)
class Obstacle:
    """An aim that nothing meets, by itself or beside others.

    Attributes:
        aim: The aim.
        alone: Whether nothing in the grid meets it even by itself.
        nearest: The value of its figure that comes nearest: alone among all models; else, of what was wanted, among
            those within the limits, and of a limit, among those with what was wanted.
        sizes: A model with that value.
    """

    aim: Aim
    alone: bool
    nearest: float
    sizes: Sizes


@dataclass(frozen=True)
class DesignReport:
    """The models of a grid that keep to every aim, the best first.

    Attributes:
        family: The template.
        title: What it is.
        source: Where its shape was published.
        vocab_size: Tokens, of every candidate.
        max_len: Longest sequence, likewise.
        tie_weights: Whether the head shares the embedding's table, likewise.
        batch_size: Sequences at once that figures assume.
        seq_len: Tokens in each.
        dtype: Storage type that they assume.
        optimizer: What updates the weights in training.
        recompute: What its backward pass computes again.
        accelerator: The GPU; null when none was named.
        capacity_bytes: Its memory, or null.
        purpose: What has to fit there, or null.
        utilization: Share of its peak that training reaches; null without one, and for serving.
        compute: What the training may compute, or null.
        n_experts: Experts in each layer, of every candidate; null without, where every parameter is active.
        aims: What was asked for.
        axes: The grid.
        candidates: How many models the grid has.
        matches: How many of them keep to every aim.
        front: How many of those are on the front.
        designs: The best of them.
        obstacles: What is in the way, where none does.
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
    purpose: Purpose | None
    utilization: float | None
    compute: ComputeBudget | None
    n_experts: int | None
    aims: tuple[Aim, ...]
    axes: tuple[Axis, ...]
    candidates: int
    matches: int
    front: int
    designs: tuple[Design, ...]
    obstacles: tuple[Obstacle, ...]
