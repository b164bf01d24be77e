"""Time of one collective over a group of GPUs, from the bandwidth of their links.

GPUs are numbered node by node, and a group takes every ``stride``-th GPU: a tensor-parallel group consists of
neighboring GPUs (stride 1), a data-parallel group does not.
"""

from __future__ import annotations

from tinylm_cli.config.hardware import Accelerator


def ring_seconds(sent_bytes: int, accelerator: Accelerator, members: int, stride: int) -> float:
    """Return the seconds of a ring all-gather or reduce-scatter in which each member sends ``sent_bytes``.

    Libraries run one ring through the network port of every member in a node, so a group of several nodes sends at
    ``min(link, members in a node · network)``. If each pair of GPUs has a dedicated link, a group of n uses n - 1 links
    per GPU.

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
    """Return the seconds in which each member sends ``sent_bytes`` to the next; the slowest member crosses nodes."""
    if _members_in_node(accelerator, members, stride) < members:
        return sent_bytes / accelerator.network_bytes_per_second
    return sent_bytes / min(accelerator.link_bytes_per_second, accelerator.one_peer_bytes_per_second)


def all_to_all_seconds(sent_bytes: int, accelerator: Accelerator, members: int, stride: int) -> float:
    """Return the seconds of an all-to-all in which each member sends ``sent_bytes``, split evenly over the others.

    Each member uses its own network port, and sends inside its node and to other nodes concurrently.
    """
    in_node = _members_in_node(accelerator, members, stride)
    part = sent_bytes / max(members - 1, 1)
    inside = max((in_node - 1) * part / accelerator.link_bytes_per_second, part / accelerator.one_peer_bytes_per_second)
    between = (members - in_node) * part / accelerator.network_bytes_per_second
    return max(inside if in_node > 1 else 0.0, between)


def _members_in_node(accelerator: Accelerator, members: int, stride: int) -> int:
    """Return the number of members of a group in one node."""
    return min(members, -(-accelerator.gpus_per_node // stride))
