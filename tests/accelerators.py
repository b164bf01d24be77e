"""GPUs of round capacity and speed, for hand-computed figures."""

from __future__ import annotations

from tinylm_cli.config.hardware import CONTEXT_BYTES, Accelerator, PeakFlops

GB = 10**9
GIB = 1024**3


def make_accelerator(
    capacity_bytes: int = 79 * GIB,
    *,
    peak: int = 989 * 10**12,
    link: int = 450 * GB,
    peer: int | None = None,
    network: int = 50 * GB,
    gpus_per_node: int = 8,
) -> Accelerator:
    """Return a GPU; ``peak`` is in bfloat16, the others are bytes per second."""
    return Accelerator(
        name="made",
        title="made for a test",
        memory_bytes=capacity_bytes + CONTEXT_BYTES,
        memory_bytes_per_second=3350 * GB,
        peak_flops_per_second=PeakFlops(float32=peak, bfloat16=peak),
        link_bytes_per_second=link,
        peer_bytes_per_second=peer,
        gpus_per_node=gpus_per_node,
        network_bytes_per_second=network,
    )
