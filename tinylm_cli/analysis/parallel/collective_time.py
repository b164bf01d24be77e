"""Time of one collective over a group of GPUs, from the bandwidth of their links.

GPUs are numbered node by node, and a group takes every ``stride``-th GPU: those of a tensor-parallel group are next to
each other, replicas are not.
"""

from __future__ import annotations

from tinylm_cli.config.hardware import Accelerator


def ring_seconds(sent_bytes: int, accelerator: Accelerator, members: int, stride: int) -> float:
    """Return the time in which each member sends ``sent_bytes`` round a ring: all-gather or reduce-scatter.

    Libraries run one ring through the network port of every member in a node, so a group of several nodes sends at
    ``min(link, members in a node · network)``. Where each pair of GPUs has a link of its own, n of them use n - 1 links
    each.

    References:
        https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md (bus bandwidth)
    """
    in_node = _members_in_node(accelerator, members, stride)
    inside = min(accelerator.link_bytes_per_second, (in_node - 1) * accelerator.one_peer_bytes_per_second)
    between = in_node * accelerator.network_bytes_per_second
    if in_node == members:
        return sent_bytes / inside if inside else 0.0
    return sent_bytes / (min(inside, between) if inside else between)


def neighbor_seconds(sent_bytes: int, accelerator: Accelerator, members: int, stride: int) -> float:
    """Return the time in which each member sends ``sent_bytes`` to the next; the slowest sends to another node."""
    if _members_in_node(accelerator, members, stride) < members:
        return sent_bytes / accelerator.network_bytes_per_second
    return sent_bytes / min(accelerator.link_bytes_per_second, accelerator.one_peer_bytes_per_second)


def all_to_all_seconds(sent_bytes: int, accelerator: Accelerator, members: int, stride: int) -> float:
    """Return the time in which each member sends ``sent_bytes``, an equal part to each other member.

    Each sends through its own port, inside its node and to other nodes at the same time.
    """
    in_node = _members_in_node(accelerator, members, stride)
    part = sent_bytes / max(members - 1, 1)
    inside = max((in_node - 1) * part / accelerator.link_bytes_per_second, part / accelerator.one_peer_bytes_per_second)
    between = (members - in_node) * part / accelerator.network_bytes_per_second
    return max(inside if in_node > 1 else 0.0, between)


def _members_in_node(accelerator: Accelerator, members: int, stride: int) -> int:
    """Return how many members of a group are in one node."""
    return min(members, -(-accelerator.gpus_per_node // stride))
