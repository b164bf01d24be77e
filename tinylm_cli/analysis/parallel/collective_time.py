"""How long a group of GPUs takes to send something, by what joins its members.

GPUs are numbered node by node, and a group takes every ``stride``-th of them: those of a tensor-parallel group stand
side by side, replicas apart.
"""

from __future__ import annotations

from tinylm_cli.config.hardware import Accelerator


def ring_seconds(sent_bytes: int, accelerator: Accelerator, members: int, stride: int) -> float:
    """Return how long it takes that each member sends ``sent_bytes`` in a ring: gathering, or reducing.

    Libraries lay a ring through every port that the group has: as many rings leave a node as members stand in it, each
    by the port of another one, so the group finds ``min(link, members in a node · network)``. Where each pair of GPUs
    has a link of its own, n of them use n - 1 links of each.

    References:
        https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md (bandwidth of the bus)
    """
    here = _in_a_node(accelerator, members, stride)
    inside = min(accelerator.link_bytes_per_second, (here - 1) * accelerator.one_peer_bytes_per_second)
    outside = here * accelerator.network_bytes_per_second
    if here == members:
        return sent_bytes / inside if inside else 0.0
    return sent_bytes / (min(inside, outside) if inside else outside)


def neighbor_seconds(sent_bytes: int, accelerator: Accelerator, members: int, stride: int) -> float:
    """Return how long it takes that each member sends ``sent_bytes`` to the next one, the slowest to another node."""
    if _in_a_node(accelerator, members, stride) < members:
        return sent_bytes / accelerator.network_bytes_per_second
    return sent_bytes / min(accelerator.link_bytes_per_second, accelerator.one_peer_bytes_per_second)


def everyone_seconds(sent_bytes: int, accelerator: Accelerator, members: int, stride: int) -> float:
    """Return how long it takes that each member sends ``sent_bytes``, an equal part to each other one.

    Each by its own port; what goes to its node and what goes to others at the same time.
    """
    here = _in_a_node(accelerator, members, stride)
    part = sent_bytes / max(members - 1, 1)
    inside = max((here - 1) * part / accelerator.link_bytes_per_second, part / accelerator.one_peer_bytes_per_second)
    return max(inside if here > 1 else 0.0, (members - here) * part / accelerator.network_bytes_per_second)


def _in_a_node(accelerator: Accelerator, members: int, stride: int) -> int:
    """Return how many members of a group stand in one node."""
    return min(members, -(-accelerator.gpus_per_node // stride))
