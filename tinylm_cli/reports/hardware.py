"""The report of ``tinylm list --hardware``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AcceleratorFigures:
    """One accelerator, as one device to torch.

    Attributes:
        name: Name for ``--gpu``; case-insensitive.
        title: The vendor's name for it.
        aliases: Other names for it.
        memory_bytes: Memory capacity in the datasheet.
        usable_memory_bytes: Memory available to tensors: the total that the driver reports, minus its context.
        memory_bytes_per_second: Bandwidth between its memory and its cores.
        peak_flops_per_second: Dense peaks by dtype: ``float32``, ``tf32``, ``float16``, ``bfloat16``,
            ``float8``, ``int8``; dtypes without hardware matmuls are absent.
        link: Interconnect of the GPUs of a node, or None.
        link_bytes_per_second: Bandwidth from one GPU to all others of its node together, in one direction.
        peer_bytes_per_second: Bandwidth from one GPU to one other; below that of the link if each pair has its own.
        gpus_per_node: Number of GPUs that the link connects.
        network: Interconnect of nodes in a usual cluster, or None.
        network_bytes_per_second: Bandwidth from one GPU to other nodes, in one direction, while its entire node sends.
        source: URL of its datasheet, or None.
        date: When its figures were last checked against the source, or None.
    """

    name: str
    title: str
    aliases: tuple[str, ...]
    memory_bytes: int
    usable_memory_bytes: int
    memory_bytes_per_second: int
    peak_flops_per_second: dict[str, int]
    link: str | None
    link_bytes_per_second: int
    peer_bytes_per_second: int
    gpus_per_node: int
    network: str | None
    network_bytes_per_second: int
    source: str | None
    date: str | None


@dataclass(frozen=True)
class HardwareReport:
    """Every named accelerator.

    Attributes:
        accelerators: In the order of the file.
    """

    accelerators: tuple[AcceleratorFigures, ...]
