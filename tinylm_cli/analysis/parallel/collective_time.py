"""How long a group of GPUs takes to send something, by what joins its members.

GPUs are numbered node by node, and a group takes every ``stride``-th of them: those of a tensor-parallel group stand
side by side, replicas apart.
"""

from __future__ import annotations

from tinylm_cli.analysis.parallel.job import Machine


def ring_seconds(sent_bytes: int, machine: Machine, members: int, stride: int) -> float:
    """Return how long it takes that each member sends ``sent_bytes`` in a ring: gathering, or reducing.

    Libraries lay a ring through every port that the group has: as many rings leave a node as members stand in it, each
    by the port of another one, so the group finds ``min(link, members in a node · network)``. Where each pair of GPUs
    has a link of its own, n of them use n - 1 links of each.

    References:
        https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md (bandwidth of the bus)
    """
    here = _in_a_node(machine, members, stride)
    inside = min(machine.link_bytes_per_second, (here - 1) * machine.peer_bytes_per_second)
    outside = here * machine.network_bytes_per_second
    if here == members:
        return sent_bytes / inside if inside else 0.0
    return sent_bytes / (min(inside, outside) if inside else outside)


def neighbor_seconds(sent_bytes: int, machine: Machine, members: int, stride: int) -> float:
    """Return how long it takes that each member sends ``sent_bytes`` to the next one, the slowest to another node."""
    if _in_a_node(machine, members, stride) < members:
        return sent_bytes / machine.network_bytes_per_second
    return sent_bytes / min(machine.link_bytes_per_second, machine.peer_bytes_per_second)


def everyone_seconds(sent_bytes: int, machine: Machine, members: int, stride: int) -> float:
    """Return how long it takes that each member sends ``sent_bytes``, an equal part to each other one.

    Each by its own port; what goes to its node and what goes to others at the same time.
    """
    here = _in_a_node(machine, members, stride)
    part = sent_bytes / max(members - 1, 1)
    inside = max((here - 1) * part / machine.link_bytes_per_second, part / machine.peer_bytes_per_second)
    return max(inside if here > 1 else 0.0, (members - here) * part / machine.network_bytes_per_second)


def _in_a_node(machine: Machine, members: int, stride: int) -> int:
    """Return how many members of a group stand in one node."""
    return min(members, -(-machine.gpus_per_node // stride))
