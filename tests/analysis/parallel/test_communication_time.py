"""Communication times within groups of GPUs, compared with hand-computed values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.accelerators import GB, make_accelerator
from tinylm_cli.analysis.parallel.communication import all_to_all_seconds, neighbor_seconds, ring_seconds
from tinylm_cli.config.hardware import Accelerator

SWITCHED = make_accelerator()
"""An H100's node: any GPU may have all of its link to any other, and a port of 400 Gb/s of its own."""
PAIRED = make_accelerator(link=448 * GB, peer=64 * GB)
"""An MI300X's: seven links of 64 GB/s."""
SLOW = make_accelerator(link=20 * GB)
"""GPUs whose links inside a node are slower than their ports."""

Seconds = Callable[[int, Accelerator, int, int], float]


@pytest.mark.parametrize(
    ("machine", "members", "stride", "gigabytes"),
    [
        (SWITCHED, 8, 1, 450),
        (SWITCHED, 2, 4, 450),
        (SWITCHED, 16, 1, 400),  # eight ports of a node at once
        (SWITCHED, 64, 2, 200),  # four of a group in a node, and a port of each
        (SWITCHED, 16, 8, 50),
        (PAIRED, 2, 1, 64),
        (PAIRED, 4, 1, 3 * 64),
        (PAIRED, 8, 1, 448),
        (PAIRED, 4, 4, 64),  # two of a group in a node are one link apart
        (PAIRED, 16, 1, 400),
        (SLOW, 16, 1, 20),
        (SLOW, 2, 8, 50),
    ],
)
def test_ring(machine: Accelerator, members: int, stride: int, gigabytes: int) -> None:
    assert ring_seconds(gigabytes * GB, machine, members, stride) == pytest.approx(1)


@pytest.mark.parametrize(
    ("machine", "members", "stride", "gigabytes"),
    [
        (SWITCHED, 8, 1, 450),
        (SWITCHED, 16, 1, 50),
        (SWITCHED, 2, 8, 50),
        (PAIRED, 8, 1, 64),
        (PAIRED, 2, 8, 50),
        (SLOW, 2, 1, 20),
        (SLOW, 2, 8, 50),
    ],
)
def test_neighbor(machine: Accelerator, members: int, stride: int, gigabytes: int) -> None:
    assert neighbor_seconds(gigabytes * GB, machine, members, stride) == pytest.approx(1)


@pytest.mark.parametrize(
    ("machine", "members", "stride", "seconds"),
    [
        (SWITCHED, 8, 1, 63 / 450),
        (SWITCHED, 16, 1, 63 * 8 / 15 / 50),  # to eight of fifteen others by the port of each
        (SWITCHED, 8, 8, 63 / 50),
        (PAIRED, 8, 1, 63 / 448),
        (PAIRED, 2, 1, 63 / 64),
        (SLOW, 2, 1, 63 / 20),
        (SLOW, 2, 8, 63 / 50),  # no link is in use
        (SLOW, 2, 4, 63 / 20),
    ],
)
def test_all_to_all(machine: Accelerator, members: int, stride: int, seconds: float) -> None:
    assert all_to_all_seconds(63 * GB, machine, members, stride) == pytest.approx(seconds)


rates = st.integers(1, 10**12)
machines = st.builds(
    make_accelerator, link=rates, peer=rates, network=rates, gpus_per_node=st.sampled_from([1, 2, 4, 8])
)
ways = st.sampled_from([ring_seconds, neighbor_seconds, all_to_all_seconds])


@given(machines, ways, st.integers(2, 64), st.sampled_from([1, 2, 4, 8, 16]), st.integers(1, 10**12), rates)
def test_monotonic(machine: Accelerator, way: Seconds, members: int, stride: int, sent: int, more: int) -> None:
    before = way(sent, machine, members, stride)
    assert before > 0
    for field in ("link_bytes_per_second", "peer_bytes_per_second", "network_bytes_per_second"):
        wider = machine.model_copy(update={field: getattr(machine, field) + more})
        assert way(sent, wider, members, stride) <= before
