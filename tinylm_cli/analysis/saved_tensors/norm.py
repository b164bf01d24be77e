"""Tensors that a norm saves."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass, SavedTensor, Sharding
from tinylm_cli.config.blocks import Norm

RMSNORM = Norm(kind="rmsnorm")
"""Settings of the norms inside mixers, which are RMSNorm in any model."""

MEAN_AND_RSTD, RSTD = 2, 1
"""Statistics per vector: LayerNorm saves its mean and reciprocal standard deviation, RMSNorm only the second."""


def norm(
    run: ForwardPass,
    name: str,
    source: SavedTensor,
    rows: int,
    dim: int,
    *,
    part: str | None = None,
    sharding: Sharding = "sequence",
    settings: Norm | None = None,
) -> Iterator[SavedTensor]:
    """Yield the tensors that a norm over ``rows`` vectors of ``dim`` elements saves, except its output.

    Follows ``model/norm.py:LayerNorm.forward`` and ``RMSNorm.forward``. Statistics are in float32 or wider, except
    LayerNorm's on the CPU. On the CPU, RMSNorm is composed of single operations. It also saves the vectors before the
    weight, and in half precision it saves its upcast input.

    Args:
        run: The forward pass.
        name: The norm's name.
        source: The storage of its input.
        rows: Number of vectors.
        dim: Elements of each.
        part: The part that it belongs to. When None: ``norm`` for the residual stream, else the part of its source.
        sharding: The parallelism that shards its vectors.
        settings: Its kind; ``norm`` of the config when None.
    """
    settings = settings or run.config.norm
    part = part or ("norm" if source.part == "residual" else source.part)
    is_composed = run.setup.device == "cpu" and settings.kind == "rmsnorm"
    if is_composed and run.upcast_bytes > run.element_bytes:
        yield SavedTensor(f"{name} input upcast", part, rows * dim * run.upcast_bytes, sharding)
    else:
        yield source
    if is_composed and settings.weight and not run.is_frozen:
        yield SavedTensor(f"{name} scaled", part, rows * dim * run.upcast_bytes, sharding)
    is_centered = settings.kind == "layernorm"
    statistic_bytes = run.element_bytes if is_centered and run.setup.device == "cpu" else run.upcast_bytes
    statistics = rows * (MEAN_AND_RSTD if is_centered else RSTD) * statistic_bytes
    yield SavedTensor(f"{name} statistics", part, statistics, sharding)
    if settings.zero_centered:
        yield SavedTensor(f"{name} gain", part, dim * run.element_bytes, "none")  # 1 + weight
