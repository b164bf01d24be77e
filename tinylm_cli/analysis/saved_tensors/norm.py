"""What a norm keeps."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.saved_tensors.saved_tensor import Divided, ForwardPass, SavedTensor


def norm(
    run: ForwardPass,
    name: str,
    source: SavedTensor,
    rows: int,
    width: int,
    *,
    part: str | None = None,
    divided: Divided = "sequence",
) -> Iterator[SavedTensor]:
    """Yield what a norm over ``rows`` vectors of ``width`` dimensions keeps, but for what it puts out.

    Its input, and a mean and a deviation of each vector, or for RMSNorm the latter alone; float32 at least but for
    LayerNorm on the CPU. There RMSNorm is made of single operations: it keeps what it scaled before the weight comes,
    and in half precision a wide copy of its input in place of the input.

    Args:
        run: The pass.
        name: The norm's.
        source: The storage it reads from.
        rows: Vectors.
        width: Dimensions of each.
        part: Which it belongs to; that of its source when None, but that the residual stream's norms are ``norm``.
        divided: What divides its vectors.
    """
    settings = run.config.norm
    part = part or ("norm" if source.part == "residual" else source.part)
    composed = run.device == "cpu" and settings.kind == "rmsnorm"
    if composed and run.wide > run.width:
        yield SavedTensor(f"{name} wide", part, rows * width * run.wide, divided)
    else:
        yield source
    if composed and settings.weight:
        yield SavedTensor(f"{name} scaled", part, rows * width * run.wide, divided)
    centered = settings.kind == "layernorm"
    exact = run.width if centered and run.device == "cpu" else run.wide
    yield SavedTensor(f"{name} statistics", part, rows * exact * (2 if centered else 1), divided)
    if settings.zero_centered:
        yield SavedTensor(f"{name} weight", part, width * run.width, "none")
