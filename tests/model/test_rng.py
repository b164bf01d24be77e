from __future__ import annotations

import hashlib
import random

import torch

from tinylm_cli.model.rng import STATE_WORDS, keyed_generator


def test_generators_differ() -> None:
    drawn = {
        keyed_generator(f"blocks.{i}.attention.q_proj.weight", 0).get_state().numpy().tobytes() for i in range(3000)
    }
    assert len(drawn) == 3000


def test_generator_state_is_the_hash() -> None:
    digest = hashlib.shake_256(b"7:some.weight").digest(4 * STATE_WORDS)
    words = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, len(digest), 4))
    twister = random.Random()
    twister.setstate((3, (*words, STATE_WORDS), None))
    expected = [twister.getrandbits(32) % 65536 for _ in range(1500)]
    found = torch.empty(1500, dtype=torch.int64).random_(0, 65536, generator=keyed_generator("some.weight", 7))
    assert found.tolist() == expected


def test_every_bit_of_a_seed_counts() -> None:
    drawn = {
        float(torch.rand((), generator=keyed_generator("", seed))) for seed in (0, *(1 << bit for bit in range(64)))
    }
    assert len(drawn) == 65
