"""Parts of a layer that go together, or do not."""

from __future__ import annotations

from tinylm_cli.config.rules.rule import Problem, Rule


def _latent_attention_rotates(attention: str, kind: str, fraction: float) -> Problem | None:
    if attention != "latent" or (kind == "rope" and fraction == 1):
        return None
    if kind == "rope":
        return Problem(
            "contradiction",
            ("position.rotary_fraction", "attention.kind"),
            f"position.rotary_fraction {fraction:g} has no say in latent attention, where attention.d_rope rotates",
            "leave position.rotary_fraction out, or write attention.kind: multi_head",
        )
    message = "attention.kind latent needs positions that rotate attention.d_rope dimensions of each head"
    remedy = "write position.kind: rope, or attention.kind: multi_head"
    return Problem("contradiction", ("attention.kind", "position.kind"), message, remedy)


def _norm_bias_fits(bias: bool | None, kind: str, weight: bool) -> Problem | None:  # noqa: FBT001
    if not bias or (kind == "layernorm" and weight):
        return None
    wrong = {"norm.kind": ("rmsnorm", "layernorm")} if kind == "rmsnorm" else {}
    wrong |= {} if weight else {"norm.weight": ("false", "true")}
    return Problem(
        "contradiction",
        ("norm.bias", *wrong),
        f"norm.bias true does not go with {' and '.join(f'{name} {is_}' for name, (is_, _) in wrong.items())}",
        f"leave norm.bias out, or write {' and '.join(f'{name}: {fits}' for name, (_, fits) in wrong.items())}",
    )


def _parallel_is_pre_norm(parallel: bool, placement: str) -> Problem | None:  # noqa: FBT001
    if not parallel or placement == "pre":
        return None
    return Problem(
        "contradiction",
        ("block.parallel", "norm.placement"),
        "block.parallel true feeds both sub-layers from norms before them, where norm.placement must be pre",
        "write norm.placement: pre, or leave block.parallel out",
    )


def _window_has_a_layer(window: int | None, pattern: str) -> Problem | None:
    if window is None or "L" in pattern:
        return None
    message = f"attention.window {window} is for local layers, and attention.window_pattern {pattern} has no L"
    remedy = "leave attention.window out, or write attention.window_pattern: LG"
    return Problem("contradiction", ("attention.window_pattern", "attention.window"), message, remedy)


RULES = (
    Rule(("attention.kind", "position.kind", "position.rotary_fraction"), _latent_attention_rotates),
    Rule(("norm.bias", "norm.kind", "norm.weight"), _norm_bias_fits),
    Rule(("block.parallel", "norm.placement"), _parallel_is_pre_norm),
    Rule(("attention.window", "attention.window_pattern"), _window_has_a_layer),
)
