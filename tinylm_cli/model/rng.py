"""Random streams of their own, each named by a key of any length."""

from __future__ import annotations

import hashlib

import torch

STATE_WORDS = 624
STATE_OFFSET = 3
"""The generator's words, and where they start in what torch gives as its state, both in units of 64 bits."""


def stream(name: str, seed: int) -> torch.Generator:
    """Return the random stream on the CPU for the key of ``name`` and ``seed``, any integer.

    ``manual_seed`` keeps 32 bits on the CPU, few enough for two tensors of a deep model to share a stream (with 60,000
    of them the odds are one in three), and for seeds 2³² apart to be one. So the whole state of the Mersenne Twister is
    hashed from the key instead.

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
