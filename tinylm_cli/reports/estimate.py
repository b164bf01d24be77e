"""What ``tinylm estimate`` reports."""

from __future__ import annotations

from dataclasses import dataclass

from tinylm_cli.reports.flops import ModelFlops


@dataclass(frozen=True)
class EstimateReport:
    """What a model costs, before any of it is spent.

    Attributes:
        name: The preset's name or the file's stem.
        source: Preset name, path as given, or ``<stdin>``.
        total_params: Each stored tensor counted once.
        active_params: What one token uses: of experts, those it is sent to.
        flops: What a pass and a training step compute.
        dtype: Storage type that the byte counts assume.
        weights_bytes: ``total_params`` in ``dtype``.
        kv_cache_bytes: Keys and values kept for the sequences of a step, each read to its end.
    """

    name: str
    source: str
    total_params: int
    active_params: int
    flops: ModelFlops
    dtype: str
    weights_bytes: int
    kv_cache_bytes: int
