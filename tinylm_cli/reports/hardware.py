"""What ``tinylm list --hardware`` reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AcceleratorFigures:
    """One accelerator, as one device to torch.

    Attributes:
        name: What commands take; capitals do not matter.
        title: What its maker calls it.
        aliases: Other names for it.
        memory_bytes: What its datasheet says.
        usable_memory_bytes: What tensors may take: what a program finds, but for the driver's context.
        memory_bytes_per_second: Between its memory and its cores.
        peak_flops_per_second: Dense peaks by what is multiplied: ``float32``, ``tf32``, ``float16``, ``bfloat16``,
            ``float8``, ``int8``; what the hardware does not multiply is absent.
        link: What joins the GPUs of a node, or None.
        link_bytes_per_second: From one GPU to all others of its node together, in one direction.
        peer_bytes_per_second: From one GPU to one other of its node; less than the link where each pair has its own.
        gpus_per_node: GPUs that the link joins.
        network: What joins nodes in a usual cluster, or None.
        network_bytes_per_second: From one GPU to other nodes, in one direction, while all of its node send.
        source: Its datasheet, or None.
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
    """Every accelerator that has a name.

    Attributes:
        accelerators: In the order of the file.
    """

    accelerators: tuple[AcceleratorFigures, ...]
