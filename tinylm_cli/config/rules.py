"""Rules between fields, and the evaluation of all rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from math import isqrt
from typing import get_args

from tinylm_cli.config.base import MAX_DIM, MAX_N_HEADS, WITH_ATTENTION, WITH_MAMBA, WITH_MAMBA2, WITH_SHARED_BLOCK
from tinylm_cli.config.choices import PlainActivation
from tinylm_cli.config.dependencies import (
    POSITIONS_IN_ATTENTION,
    REQUIREMENTS,
    Problem,
    Values,
    defaults,
    satisfying_values,
    unmet_requirements,
    value_text,
)
from tinylm_cli.config.loop_rules import LOOP_RULES
from tinylm_cli.config.mixers.mamba2 import EXPAND
from tinylm_cli.config.position_rules import POSITION_RULES
from tinylm_cli.config.storage_rules import STORAGE_RULES
from tinylm_cli.quantities import counted


def _heads_divide_model(value: Values) -> Iterator[Problem]:
    n_heads, d_model = value["n_heads"], value["d_model"]
    if value["block.mixer"] not in WITH_ATTENTION:
        return
    if d_model % n_heads == 0 or value["attention.d_head"] is not None or value["attention.kind"] == "latent":
        return
    if n_heads > d_model:
        message = f"n_heads {n_heads} exceeds d_model {d_model}: each head needs at least one dimension"
    else:
        message = f"d_model {d_model} is not divisible by n_heads {n_heads}"
    step = n_heads if n_heads % 2 == 0 else 2 * n_heads  # an even width suits every position encoding
    multiples = {max(d_model // step * step, step), (d_model // step + 1) * step}
    widths = " or ".join(str(width) for width in sorted(multiples) if width <= MAX_DIM)
    remedy = f"write n_heads: {_divisors_near(d_model, n_heads)}, or d_model: {widths}"
    yield Problem("heads-do-not-divide", ("n_heads", "d_model"), message, remedy)


def _kv_heads_divide_heads(value: Values) -> Iterator[Problem]:
    n_kv_heads, n_heads = value["attention.n_kv_heads"], value["n_heads"]
    if n_kv_heads is None or value["attention.kind"] != "multi_head" or n_heads % n_kv_heads == 0:
        return
    if n_kv_heads > n_heads:
        message = f"attention.n_kv_heads {n_kv_heads} exceeds n_heads {n_heads}"
        proposal = str(n_heads)
    else:
        message = f"n_heads {n_heads} is not divisible by attention.n_kv_heads {n_kv_heads}"
        proposal = _divisors_near(n_heads, n_kv_heads)
    remedy = f"write attention.n_kv_heads: {proposal}, or omit attention.n_kv_heads"
    yield Problem("kv-heads-do-not-divide", ("attention.n_kv_heads", "n_heads"), message, remedy)


def _differential_heads_are_pairs(value: Values) -> Iterator[Problem]:
    n_kv_heads, n_heads = value["attention.n_kv_heads"], value["n_heads"]
    if (
        not value["attention.differential"]
        or value["attention.kind"] != "multi_head"
        or not (n_kv_heads or n_heads) % 2
    ):
        return
    name = "n_heads" if n_kv_heads is None else "attention.n_kv_heads"
    message = f"{name} {n_kv_heads or n_heads} is odd, but attention.differential needs pairs of heads"
    fields = (name, "attention.differential")
    yield Problem("heads-do-not-divide", fields, message, "omit attention.differential")


def _normalized_values_are_keys(value: Values) -> Iterator[Problem]:
    if not value["attention.keys_as_values"] or value["attention.kind"] != "multi_head":
        return
    for name, absent, proposal in (("attention.v_norm", False, "true"), ("attention.qk_norm", "none", "per_head")):
        if value[name] == absent:
            message = f"attention.keys_as_values true requires {name} {proposal}, so that keys differ from values"
            remedy = f"write {name}: {proposal}, or omit attention.keys_as_values"
            yield Problem("contradiction", ("attention.keys_as_values", name), message, remedy)
            return


def _enough_attention_experts(value: Values) -> Iterator[Problem]:
    n_experts, n_heads = value["attention.n_experts"], value["n_heads"]
    top_k = n_heads // (value["attention.n_kv_heads"] or n_heads)
    if n_experts is not None and value["attention.kind"] == "multi_head" and top_k > n_experts:
        message = f"n_heads / attention.n_kv_heads, {top_k}, exceeds attention.n_experts {n_experts}"
        fields = ("attention.n_experts", "n_heads", "attention.n_kv_heads")
        yield Problem("top-k-above-experts", fields, message, f"write attention.n_experts: {top_k}")


def _at_most(name: str, maximum: str, value: Values, *, code: str) -> Iterator[Problem]:
    """Yield a problem if the field ``name`` exceeds the field ``maximum``, and both are set."""
    number, limit = value[name], value[maximum]
    if number is not None and limit is not None and number > limit:
        message = f"{name} {number} exceeds {maximum} {limit}"
        yield Problem(code, (name, maximum), message, f"write {name}: {limit}, or {maximum}: {number}")


def _enough_experts(value: Values) -> Iterator[Problem]:
    yield from _at_most("feed_forward.top_k", "feed_forward.n_experts", value, code="top-k-above-experts")


def _groups_hold_experts(value: Values) -> Iterator[Problem]:
    n_groups, top_k_groups = value["feed_forward.n_groups"], value["feed_forward.top_k_groups"]
    n_experts, top_k = value["feed_forward.n_experts"], value["feed_forward.top_k"]
    if n_experts is None or n_groups == 1:
        return
    selection = ("feed_forward.top_k_groups", "feed_forward.n_groups")
    size = n_experts // n_groups
    selectable = size * top_k_groups
    if n_experts % n_groups:
        fields: tuple[str, ...] = ("feed_forward.n_groups", "feed_forward.n_experts")
        message = f"feed_forward.n_experts {n_experts} is not divisible by feed_forward.n_groups {n_groups}"
        remedy = f"write feed_forward.n_groups: {_divisors_near(n_experts, n_groups)}"
    elif top_k_groups > n_groups:
        fields = selection
        message = f"feed_forward.top_k_groups {top_k_groups} exceeds feed_forward.n_groups {n_groups}"
        remedy = f"write feed_forward.top_k_groups: {n_groups}"
    elif selectable < top_k <= n_experts:
        fields = ("feed_forward.top_k", *selection)
        groups = f"the {counted(top_k_groups, 'group')} that the router selects"
        message = f"feed_forward.top_k {top_k} exceeds the {counted(selectable, 'expert')} in {groups}"
        remedy = f"write feed_forward.top_k_groups: {-(-top_k // size)}, or feed_forward.top_k: {selectable}"
    else:
        return
    yield Problem("expert-groups", fields, message, remedy)


def _xielu_is_dense(value: Values) -> Iterator[Problem]:
    activation, n_experts = value["feed_forward.activation"], value["feed_forward.n_experts"]
    if activation == "xielu" and n_experts is not None:
        message = "feed_forward.activation xielu requires a dense network, but feed_forward.n_experts is set"
        fields = ("feed_forward.activation", "feed_forward.n_experts")
        remedy = "write feed_forward.activation: silu"
        yield Problem("contradiction", fields, message, remedy)


def _per_layer_gates_lack_xielu(value: Values) -> Iterator[Problem]:
    if value["feed_forward.activation"] == "xielu" and value["embedding.d_per_layer"] is not None:
        message = (
            "feed_forward.activation xielu is not supported with embedding.d_per_layer, whose gates have no scalars"
        )
        fields = ("feed_forward.activation", "embedding.d_per_layer")
        yield Problem("contradiction", fields, message, "write feed_forward.activation: silu")


def _mtp_modules_lack_per_layer_embeddings(value: Values) -> Iterator[Problem]:
    if value["head.n_mtp_layers"] and value["embedding.d_per_layer"] is not None:
        message = (
            "head.n_mtp_layers is not supported with embedding.d_per_layer: MTP modules have no per-layer embeddings"
        )
        fields = ("head.n_mtp_layers", "embedding.d_per_layer")
        yield Problem("contradiction", fields, message, "omit head.n_mtp_layers, or embedding.d_per_layer")


def _per_layer_embeddings_are_of_one_token(value: Values) -> Iterator[Problem]:
    n_codebooks = value["embedding.n_codebooks"]
    if n_codebooks > 1 and value["embedding.d_per_layer"] is not None:
        message = (
            f"embedding.n_codebooks {n_codebooks} is not supported with embedding.d_per_layer, whose embeddings are of"
            " one token"
        )
        fields = ("embedding.n_codebooks", "embedding.d_per_layer")
        yield Problem("contradiction", fields, message, "omit embedding.n_codebooks, or embedding.d_per_layer")


def _per_layer_rows_are_tokens(value: Values) -> Iterator[Problem]:
    yield from _at_most("embedding.per_layer_vocab_size", "vocab_size", value, code="contradiction")


def _dense_layers_exist(value: Values) -> Iterator[Problem]:
    n_dense_layers, n_layers = value["feed_forward.n_dense_layers"], value["n_layers"]
    if value["feed_forward.n_experts"] is not None and n_dense_layers >= n_layers:
        yield Problem(
            "contradiction",
            ("feed_forward.n_dense_layers", "n_layers", "feed_forward.n_experts"),
            f"feed_forward.n_dense_layers {n_dense_layers} leaves no layer with experts: n_layers is {n_layers}",
            f"write feed_forward.n_dense_layers: {n_layers - 1}, or omit feed_forward.n_experts",
        )


def _latent_attention_rotates(value: Values) -> Iterator[Problem]:
    kind, fraction = value["position.kind"], value["position.rotary_fraction"]
    if value["attention.kind"] != "latent":
        return
    if kind not in ("rope", "none"):
        message = "attention.kind latent requires position.kind rope, for its attention.d_rope dimensions, or none"
        remedy = "write position.kind: rope, or attention.kind: multi_head"
        yield Problem("contradiction", ("attention.kind", "position.kind"), message, remedy)
    elif fraction != 1:
        reason = "latent attention applies RoPE to attention.d_rope dimensions"
        message = f"position.rotary_fraction {fraction:g} has no effect: {reason}"
        remedy = "omit position.rotary_fraction, or write attention.kind: multi_head"
        yield Problem("contradiction", ("position.rotary_fraction", "attention.kind"), message, remedy)


def _indexer_fits_rope(value: Values) -> Iterator[Problem]:
    d_rope, d_index = value["attention.d_rope"], value["attention.index_d_head"]
    if value["attention.index_top_k"] is None or value["position.kind"] != "rope" or d_index >= d_rope:
        return
    message = f"attention.index_d_head {d_index} is below the attention.d_rope {d_rope} dimensions that RoPE rotates"
    narrower = f", or attention.d_rope: {d_index // 2 * 2}" if d_index > 1 else ""
    remedy = f"write attention.index_d_head: {d_rope}{narrower}"
    yield Problem("contradiction", ("attention.index_d_head", "attention.d_rope"), message, remedy)


def _norm_bias_fits(value: Values) -> Iterator[Problem]:
    required = {"norm.kind": "layernorm"} if value["norm.kind"] == "rmsnorm" else {}
    required |= {} if value["norm.weight"] else {"norm.weight": "true"}
    if value["norm.bias"] and required:
        message = f"norm.bias true requires {' and '.join(f'{name} {needed}' for name, needed in required.items())}"
        changes = " and ".join(f"{name}: {needed}" for name, needed in required.items())
        remedy = f"omit norm.bias, or write {changes}"
        yield Problem("contradiction", ("norm.bias", *required), message, remedy)


def _parallel_is_pre_norm(value: Values) -> Iterator[Problem]:
    if value["block.parallel"] and value["norm.placement"] != "pre":
        message = "block.parallel true requires norm.placement pre"
        remedy = "write norm.placement: pre, or omit block.parallel"
        yield Problem("contradiction", ("block.parallel", "norm.placement"), message, remedy)


def _window_has_a_layer(value: Values) -> Iterator[Problem]:
    window, pattern = value["attention.window"], value["attention.window_pattern"]
    if window is not None and "L" not in pattern:
        message = f"attention.window {window} has no effect: attention.window_pattern {pattern} has no local layer (L)"
        remedy = "omit attention.window, or write attention.window_pattern: LG"
        yield Problem("contradiction", ("attention.window_pattern", "attention.window"), message, remedy)


def _window_or_indexer(value: Values) -> Iterator[Problem]:
    window, top_k = value["attention.window"], value["attention.index_top_k"]
    if window is not None and top_k is not None:
        message = f"attention.window {window} and attention.index_top_k {top_k} both restrict the attended positions"
        remedy = "omit attention.index_top_k, or omit attention.window"
        yield Problem("contradiction", ("attention.window", "attention.index_top_k"), message, remedy)


def _layer_has_a_part(value: Values) -> Iterator[Problem]:
    if value["block.mixer"] == "none" and not value["block.feed_forward"]:
        message = "block.mixer none and block.feed_forward false leave nothing in a layer"
        remedy = "omit block.feed_forward, or write block.mixer: attention"
        yield Problem("contradiction", ("block.mixer", "block.feed_forward"), message, remedy)


def _positions_inside_attention(value: Values) -> Iterator[Problem]:
    kind, mixer = value["position.kind"], value["block.mixer"]
    if kind in POSITIONS_IN_ATTENTION and mixer not in WITH_ATTENTION:
        message = f"position.kind {kind} has no effect: it acts inside attention, and block.mixer is {mixer}"
        remedy = "write position.kind: none, or block.mixer: attention"
        yield Problem("without-effect", ("position.kind", "block.mixer"), message, remedy)


_OF_SHARED_BLOCK: tuple[tuple[str, tuple[object, ...], str], ...] = (
    ("attention.kind", ("multi_head",), "write attention.kind: multi_head"),
    ("attention.differential", (False,), "omit attention.differential"),
    ("feed_forward.n_experts", (None,), "omit feed_forward.n_experts"),
    ("feed_forward.activation", get_args(PlainActivation), "write feed_forward.activation: silu"),
    ("feed_forward.channel_mixing", (False,), "omit feed_forward.channel_mixing"),
    ("norm.placement", ("pre",), "write norm.placement: pre"),
    ("block.parallel", (False,), "omit block.parallel"),
    ("block.normed_residual", (False,), "omit block.normed_residual"),
    ("block.feed_forward_norm_gate_rank", (None,), "omit block.feed_forward_norm_gate_rank"),
    ("block.hyper_streams", (None,), "omit block.hyper_streams"),
    ("block.altup_streams", (None,), "omit block.altup_streams"),
    ("block.laurel_rank", (None,), "omit block.laurel_rank"),
    ("feed_forward.activation_sparsity", (None,), "omit feed_forward.activation_sparsity"),
    ("head.n_mtp_layers", (0,), "omit head.n_mtp_layers"),
)
"""The values that some fields may have in layers with a shared block, and remedies for other values."""


def _shared_block_is_plain(value: Values) -> Iterator[Problem]:
    mixer = value["block.mixer"]
    if mixer not in WITH_SHARED_BLOCK:
        return
    for name, allowed, remedy in _OF_SHARED_BLOCK:
        if name in value and value[name] not in allowed:
            message = f"{name} {value_text(value[name])} is not supported with block.mixer {mixer}"
            yield Problem("contradiction", (name, "block.mixer"), message, remedy)


def _mamba_heads_divide_the_width(value: Values) -> Iterator[Problem]:
    inner, n_heads = value["mamba.d_inner"] or EXPAND * value["d_model"], value["mamba.n_heads"]
    if value["block.mixer"] in WITH_MAMBA and inner % n_heads:
        message = f"mamba.n_heads {n_heads} does not divide the {inner} inner dimensions of mamba"
        near = 1 if n_heads > inner else _divisors_near(inner, n_heads)
        fields = ("mamba.n_heads", "mamba.d_inner")
        yield Problem("heads-do-not-divide", fields, message, f"write mamba.n_heads: {near}")


def _mamba2_heads_fit(value: Values) -> Iterator[Problem]:
    n_heads, d_head, d_model = value["mamba2.n_heads"], value["mamba2.d_head"], value["d_model"]
    n_groups = value["mamba2.n_groups"]
    if value["block.mixer"] not in WITH_MAMBA2:
        return
    if n_heads is None and EXPAND * d_model % d_head:
        message = f"{EXPAND} × d_model {d_model} is not divisible by mamba2.d_head {d_head}"
        remedy = f"write mamba2.n_heads, or mamba2.d_head: {_divisors_near(EXPAND * d_model, d_head)}"
        yield Problem("heads-do-not-divide", ("mamba2.d_head", "d_model", "mamba2.n_heads"), message, remedy)
        return
    heads = n_heads or EXPAND * d_model // d_head
    if heads % n_groups:
        message = f"the {counted(heads, 'head')} of mamba2 cannot be divided into mamba2.n_groups {n_groups}"
        near = 1 if n_groups > heads else _divisors_near(heads, n_groups)
        yield Problem(
            "heads-do-not-divide", ("mamba2.n_groups", "mamba2.n_heads"), message, f"write mamba2.n_groups: {near}"
        )


def _mamba2_steps_are_bounded(value: Values) -> Iterator[Problem]:
    low, high = value["mamba2.min_dt"], value["mamba2.max_dt"]
    if high is not None and low >= high:
        message = f"mamba2.min_dt {low:g} must be below mamba2.max_dt {high:g}"
        yield Problem("contradiction", ("mamba2.min_dt", "mamba2.max_dt"), message, "omit mamba2.min_dt")


_HEADS_BY_WIDTH = {
    "gated_deltanet": ("n_key_heads", "d_key"),
    "kimi_delta_attention": ("n_heads", "d_head"),
    "lightning_attention": ("n_heads", "d_head"),
    "mlstm": ("n_heads", "d_value"),
}
"""The field of each mixer with as many heads as fit into d_model by default, and the field with their width."""


def _heads_fill_the_width(value: Values) -> Iterator[Problem]:
    mixer, d_model = value["block.mixer"], value["d_model"]
    if mixer not in _HEADS_BY_WIDTH:
        return
    heads, width = (f"{mixer}.{name}" for name in _HEADS_BY_WIDTH[mixer])
    if value[heads] is None and d_model % value[width]:
        message = f"d_model {d_model} is not divisible by {width} {value[width]}"
        near = d_model if value[width] > d_model else _divisors_near(d_model, value[width])
        yield Problem("heads-do-not-divide", (width, "d_model", heads), message, f"write {heads}, or {width}: {near}")


def _delta_value_heads_share_keys(value: Values) -> Iterator[Problem]:
    n_keys, n_values = value["gated_deltanet.n_key_heads"], value["gated_deltanet.n_value_heads"]
    n_keys = n_keys or value["d_model"] // value["gated_deltanet.d_key"]
    if value["block.mixer"] != "gated_deltanet" or not n_keys or n_values is None or n_values % n_keys == 0:
        return
    message = f"gated_deltanet.n_value_heads {n_values} is not a multiple of gated_deltanet.n_key_heads {n_keys}"
    near = n_values if n_keys > n_values else _divisors_near(n_values, n_keys)
    remedy = f"write gated_deltanet.n_key_heads: {near}, or omit gated_deltanet.n_value_heads"
    fields = ("gated_deltanet.n_value_heads", "gated_deltanet.n_key_heads")
    yield Problem("heads-do-not-divide", fields, message, remedy)


def _gate_blocks_divide_the_width(value: Values) -> Iterator[Problem]:
    inner, n_blocks = value["rg_lru.d_inner"] or value["d_model"], value["rg_lru.n_blocks"]
    if value["block.mixer"] == "rg_lru" and inner % n_blocks:
        message = f"rg_lru.n_blocks {n_blocks} does not divide the {inner} inner dimensions of rg_lru"
        near = 1 if n_blocks > inner else _divisors_near(inner, n_blocks)
        fields = ("rg_lru.n_blocks", "rg_lru.d_inner")
        yield Problem("heads-do-not-divide", fields, message, f"write rg_lru.n_blocks: {near}")


def _budget_fits_max_len(value: Values) -> Iterator[Problem]:
    yield from _at_most("budget.seq_len", "max_len", value, code="contradiction")


def _only_lm_heads_are_tied(value: Values) -> Iterator[Problem]:
    kind = value["head.kind"]
    if value["tie_weights"] and kind != "lm":
        message = f"tie_weights true has no effect: only an LM head is tied to the token embedding, head.kind is {kind}"
        yield Problem(
            "without-effect", ("tie_weights", "head.kind"), message, "write tie_weights: false, or head.kind: lm"
        )


def _divisors_near(number: int, target: int) -> str:
    """Return the divisors of ``number`` nearest to ``target``, as text: ``4 or 8``."""
    divisors = {d for n in range(1, isqrt(number) + 1) if number % n == 0 for d in (n, number // n)}
    below = max(n for n in divisors if n < target)
    above = min((n for n in divisors if target < n <= min(4 * target, MAX_N_HEADS)), default=None)
    return str(below) + (f" or {above}" if above else "")


RULES = (
    _heads_divide_model,
    _kv_heads_divide_heads,
    _differential_heads_are_pairs,
    _normalized_values_are_keys,
    _enough_experts,
    _enough_attention_experts,
    _groups_hold_experts,
    _xielu_is_dense,
    _per_layer_gates_lack_xielu,
    _mtp_modules_lack_per_layer_embeddings,
    _per_layer_embeddings_are_of_one_token,
    _per_layer_rows_are_tokens,
    _dense_layers_exist,
    _latent_attention_rotates,
    _indexer_fits_rope,
    _norm_bias_fits,
    _parallel_is_pre_norm,
    _window_has_a_layer,
    _window_or_indexer,
    _layer_has_a_part,
    _positions_inside_attention,
    _shared_block_is_plain,
    _mamba_heads_divide_the_width,
    _mamba2_heads_fit,
    _mamba2_steps_are_bounded,
    _heads_fill_the_width,
    _delta_value_heads_share_keys,
    _gate_blocks_divide_the_width,
    _budget_fits_max_len,
    _only_lm_heads_are_tied,
    *LOOP_RULES,
    *POSITION_RULES,
    *STORAGE_RULES,
)


def broken_rules(values: Values) -> Iterator[Problem]:
    """Yield a problem for each broken rule; a rule over a field without a valid value is skipped."""
    for rule in RULES:
        with suppress(KeyError):
            yield from rule(values)
    for name in REQUIREMENTS:
        is_set = name in values and values[name] != defaults()[name]
        if is_set and (needs := unmet_requirements(name, values)):
            changes = " and ".join(f"{field}: {value}" for field, value in satisfying_values(needs, values).items())
            yield Problem(
                "without-effect",
                (name, *(need.field for need in needs)),
                f"{name} has no effect unless {' and '.join(need.condition for need in needs)}",
                f"omit {name}, or write {changes}",
            )
