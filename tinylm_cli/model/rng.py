"""CPU random generators seeded by a string key."""

from __future__ import annotations

import hashlib

import torch

STATE_WORDS = 624
"""Number of 32-bit words in the state of a Mersenne Twister."""

STATE_OFFSET = 3
"""Offset of these words in the state that torch returns, in units of 64 bits."""


def keyed_generator(name: str, seed: int) -> torch.Generator:
    """Return a CPU generator seeded by the pair of ``name`` and ``seed``.

    ``manual_seed`` uses only 32 bits on the CPU, too few for a deep model: among 60,000 tensors, two share a seed with
    a probability of one third, and seeds 2³² apart are equal. Therefore the key is hashed to the full generator state.

    Args:
        name: Any text, such as a tensor's full name.
        seed: Any integer.

    References:
        Matsumoto and Nishimura 1998 (Mersenne Twister), https://doi.org/10.1145/272991.272995
    """
    generator = torch.Generator(device="cpu").manual_seed(0)
    digest = hashlib.shake_256(f"{seed}:{name}".encode()).digest(4 * STATE_WORDS)
    words = torch.frombuffer(bytearray(digest), dtype=torch.int32).long() & 0xFFFFFFFF  # (624)
    state = generator.get_state()
    state.view(torch.int64)[STATE_OFFSET : STATE_OFFSET + STATE_WORDS] = words
    generator.set_state(state)
    return generator
