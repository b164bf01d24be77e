"""The report of ``tinylm list --hardware``."""

from __future__ import annotations

from tinylm_cli.reports.record import Record


class AcceleratorFigures(Record):
    """One accelerator, as one torch device."""

    name: str  # Name for ``--gpu``; case-insensitive.
    title: str  # The vendor's name.
    aliases: tuple[str, ...]  # Other names for it.
    memory_bytes: int  # Memory capacity in the datasheet.
    usable_memory_bytes: int  # Memory available to tensors: the total that the driver reports, minus its context.
    memory_bytes_per_second: int  # Bandwidth between its memory and its cores.
    # Dense peaks by dtype: ``float32``, ``tf32``, ``float16``, ``bfloat16``, ``float8``, ``int8``; dtypes without
    # hardware matmuls are absent.
    peak_flops_per_second: dict[str, int]
    link: str | None  # Interconnect of the GPUs of a node, or None.
    link_bytes_per_second: int  # Bandwidth from one GPU to all others of its node together, in one direction.
    # Bandwidth from one GPU to one other; less than the link's if each pair has its own link.
    peer_bytes_per_second: int
    gpus_per_node: int  # Number of GPUs that the link connects.
    network: str | None  # Interconnect of nodes in a usual cluster, or None.
    # Bandwidth from one GPU to other nodes, in one direction, when all GPUs of its node send.
    network_bytes_per_second: int
    source: str | None  # URL of its datasheet, or None.
    date: str | None  # When its figures were last checked against the source, or None.


class HardwareReport(Record):
    """Every named accelerator."""

    accelerators: tuple[AcceleratorFigures, ...]  # In the order of the file.
