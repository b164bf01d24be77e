"""Rules of position encodings: when they report a problem, and what they say."""

from __future__ import annotations

import pytest

from tests.config.rule_problems import (
    DEFAULTS,
    LATENT,
    LONGROPE,
    ROPE,
    Values,
    problems,
    single_problem,
)
from tinylm_cli.config.position_rules import POSITION_RULES


def test_odd_widths() -> None:
    odd = {"d_model": 5, "n_heads": 5}
    assert single_problem(odd).code == "odd-sinusoidal-width"
    assert problems({**odd, "position.kind": "learned"}) == []


# changes to the defaults, code, message, remedy
CASES: list[tuple[Values, str, str, str]] = [
    (
        {**ROPE, "d_model": 132},
        "odd-rotary-width",
        "d_model 132 / n_heads 4 is 33, which is odd; RoPE rotates pairs of dimensions",
        "write d_model: 128 or 136, or attention.d_head: 34",
    ),
    (
        {**ROPE, "attention.d_head": 65},
        "odd-rotary-width",
        "attention.d_head 65 is odd; RoPE rotates pairs of dimensions",
        "write attention.d_head: 64 or 66",
    ),
    (
        {**ROPE, "attention.d_head": 80, "position.rotary_fraction": 0.42},
        "odd-rotary-width",
        "position.rotary_fraction 0.42 of 80 dimensions per head is 33; RoPE rotates pairs of dimensions",
        "write position.rotary_fraction: 0.4 or 0.43",
    ),
    (
        {**ROPE, "position.rotary_fraction": 0.01},
        "odd-rotary-width",
        "position.rotary_fraction 0.01 of 32 dimensions per head is 0; RoPE rotates pairs of dimensions",
        "write position.rotary_fraction: 0.07",
    ),
    (
        {**LATENT, "attention.d_rope": 63},
        "odd-rotary-width",
        "attention.d_rope 63 is odd; RoPE rotates pairs of dimensions",
        "write attention.d_rope: 62 or 64",
    ),
    (
        {**ROPE, "position.scaling": "linear"},
        "needs-field",
        "position.scaling linear requires position.scaling_factor, the factor of the context length",
        "write position.scaling_factor: 8, or position.scaling: none",
    ),
    (
        {**ROPE, "position.scaling": "llama3", "position.original_max_len": 8192, "max_len": 131072},
        "needs-field",
        "position.scaling llama3 requires position.scaling_factor, the factor of the context length",
        "write position.scaling_factor: 16, or position.scaling: none",
    ),
    (
        {**ROPE, "position.scaling": "yarn", "position.scaling_factor": 4.0, "max_len": 131072},
        "needs-field",
        "position.scaling yarn requires position.original_max_len, the context length before scaling",
        "write position.original_max_len: 32768, or the context length of pretraining",
    ),
    (
        {
            **ROPE,
            "position.scaling": "llama3",
            "position.scaling_factor": 8.0,
            "position.original_max_len": 8192,
            "position.low_freq_factor": 5.0,
        },
        "contradiction",
        "position.low_freq_factor 5 must not exceed position.high_freq_factor 4",
        "write position.low_freq_factor: 1.0 and position.high_freq_factor: 4.0",
    ),
    (
        {
            **ROPE,
            "position.scaling": "yarn",
            "position.scaling_factor": 8.0,
            "position.original_max_len": 8192,
            "position.beta_slow": 40.0,
        },
        "contradiction",
        "position.beta_slow 40 must not exceed position.beta_fast 32",
        "write position.beta_slow: 1.0 and position.beta_fast: 32.0",
    ),
    (
        LONGROPE,
        "needs-field",
        "position.scaling longrope requires position.short_factors and position.long_factors,"
        " one number per rotated pair (16)",
        "write position.short_factors as a list of 16 numbers and position.long_factors as a list of 16 numbers",
    ),
    (
        {**LONGROPE, "position.short_factors": (1.0,) * 16, "position.long_factors": (1.0,)},
        "contradiction",
        "position.long_factors has 1 number, but RoPE rotates 16 pairs",
        "write position.long_factors as a list of 16 numbers",
    ),
]


@pytest.mark.parametrize(("changes", "code", "message", "help_"), CASES)
def test_messages(changes: Values, code: str, message: str, help_: str) -> None:
    problem = single_problem(changes)
    assert (problem.code, problem.message, problem.help) == (code, message, help_)


def test_every_rule_has_a_message() -> None:
    speaking = {rule for changes, *_ in CASES for rule in POSITION_RULES if list(rule({**DEFAULTS, **changes}))}
    silent = [rule.__name__ for rule in POSITION_RULES if rule not in speaking]
    assert silent == ["_sinusoidal_width_is_even"], "which a test of its own hears"
