"""What several families work out alike: activations, the width of a head, and that of the hidden layer."""

from __future__ import annotations

from collections.abc import Callable

from tinylm_cli.config.suggestions import suggest
from tinylm_cli.interop.key_reader import Reader

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}
"""transformers' names: gelu_new, gelu_fast, gelu_accurate and the tanh ones are one formula, written differently."""


def activation(read: Reader, key: str, field: str = "feed_forward.activation") -> None:
    """Put the activation that ``key`` names."""
    name = read.word(key)
    if name is None:
        if not read.has(key):
            read.not_null(key, "the name of an activation")
        read.put(field, None, key)
        return
    if name not in ACTIVATIONS:
        meant = suggest(name, ACTIVATIONS)
        help_ = f"did you mean {meant}?" if meant else f"the activations are {', '.join(ACTIVATIONS)}"
        read.unsupported(key, "tinylm has no such activation", help_)
    read.put(field, ACTIVATIONS.get(name), key)


def d_head(read: Reader) -> int:
    """Return the width of a head from the fields put so far; 1 where they are not sound."""
    width, n_heads, explicit = read.value("d_model"), read.value("n_heads"), read.value("attention.d_head")
    if isinstance(explicit, int):
        return max(explicit, 1)
    return max(width // n_heads, 1) if isinstance(width, int) and isinstance(n_heads, int) and n_heads > 0 else 1


def inner_width(key: str, width_key: str = "hidden_size") -> Callable[[Reader], None]:
    """Return what reads d_ff from ``key``, four times the width where that is absent or null."""

    def compute(read: Reader) -> None:
        width, inner = read.integer(width_key), read.integer(key, least=0)
        read.put("d_ff", 4 * (width or 1) if inner is None else inner, key if read.has(key) else width_key)

    return compute
