"""Floating-point operations of a config: a fold over the tensor table, and the products of attention that have none.

Only matrix products are counted, a multiplication and an addition as two. Norms, activations, softmax and rotation are
left out, as torch's FlopCounterMode and every published count leave them out: they are a small share of the arithmetic,
and their time is that of reading memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tinylm_cli.analysis.layer_groups import group_layers
from tinylm_cli.analysis.params import active_params
from tinylm_cli.analysis.size_checks import check_length
from tinylm_cli.analysis.tensor_table import Section, Tensor, TensorTable, tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.flops import COMPONENTS, AttentionCount, FlopsComponent, ModelFlops, PartFlops, Recompute

BACKWARD_PER_FORWARD = 2
"""Products of a backward pass for each of the forward one: one gives the gradient of its input, one of its weight.

References:
    Kaplan et al. 2020, section 2.1, https://arxiv.org/abs/2001.08361
"""

_LOOKED_UP = ("token_embedding", "position")
"""Tables whose rows are looked up: no product."""

Pairs = Callable[[int | None], int]
"""From a window to the pairs of a query and a key that are compared, in one sequence."""


class Matmul(NamedTuple):
    """A matrix product of one layer, or as many as there are heads or experts.

    Attributes:
        name: The module that holds the weight; ``attention.scores`` and ``attention.values`` have none.
        component: The part of the model it belongs to.
        flops: Operations for one sequence.
    """

    name: str
    component: FlopsComponent
    flops: int


class MatmulGroup(NamedTuple):
    """Products that stand outside the layers, or that are the same in each of ``n_layers`` layers."""

    name: str
    n_layers: int
    matmuls: tuple[Matmul, ...]

    @property
    def flops(self) -> int:
        """Operations of all ``n_layers`` together, for one sequence."""
        return self.n_layers * sum(product.flops for product in self.matmuls)


def forward_flops(config: ModelConfig, *, batch_size: int, seq_len: int, attention: AttentionCount = "causal") -> int:
    """Return the operations of one pass over ``batch_size`` sequences.

    Args:
        config: A validated config.
        batch_size: B, >= 1.
        seq_len: T, 1..max_len.
        attention: ``full`` counts all T² pairs, as a kernel that knows no mask computes them, and as torch's counter
            does; ``causal`` only those that a query may see.

    Raises:
        AnalysisError: If seq_len is outside 1..max_len.
    """
    return batch_size * sum(group.flops for group in matmul_groups(config, seq_len=seq_len, attention=attention))


def decode_flops(config: ModelConfig, *, context_len: int) -> int:
    """Return the operations of decoding one token of one sequence.

    Latent attention is computed on the small vectors as they are: what expands them is applied to the query and to the
    mixture instead, which costs as much for one token as expanding one vector.

    Args:
        config: A validated config.
        context_len: Positions attended to, the token's own included, 1..max_len.

    Raises:
        AnalysisError: If context_len is outside 1..max_len.

    References:
        DeepSeek-AI 2024, section 2.1.2, https://arxiv.org/abs/2405.04434
    """
    check_length(config, context_len, "context_len")
    found = _matmul_groups(config, 1, lambda window: min(context_len, window or context_len), absorbed=True)
    return sum(group.flops for group in found)


def prefill_flops(config: ModelConfig, *, batch_size: int, seq_len: int, attention: AttentionCount = "causal") -> int:
    """Return the operations of reading prompts and predicting one token after each: the head reads one vector of each.

    Raises:
        AnalysisError: If seq_len is outside 1..max_len.
    """
    found = list(matmul_groups(config, seq_len=seq_len, attention=attention))
    head = sum(p.flops for group in found for p in group.matmuls if p.component == "lm_head")
    return batch_size * (sum(group.flops for group in found) - head + head // seq_len)


def train_flops(
    config: ModelConfig,
    *,
    batch_size: int,
    seq_len: int,
    attention: AttentionCount = "causal",
    recompute: Recompute = "none",
    table: TensorTable | None = None,
) -> int:
    """Return the operations of a training step: forward, backward, and what is computed again for it.

    Args:
        config: A validated config.
        batch_size: B, >= 1.
        seq_len: T, 1..max_len.
        attention: Which pairs count, as for :func:`forward_flops`.
        recompute: What the backward pass computes again, as for :func:`analyze_flops`.
        table: The tensors of a part of the model, such as a pipeline stage; of all of it when None.

    Raises:
        AnalysisError: If seq_len is outside 1..max_len.
    """
    found = list(matmul_groups(config, seq_len=seq_len, attention=attention, table=table))
    forward = sum(group.flops for group in found)
    return batch_size * ((1 + BACKWARD_PER_FORWARD) * forward + sum(_recomputed(group, recompute) for group in found))


def analyze_flops(
    config: ModelConfig,
    *,
    batch_size: int,
    seq_len: int,
    attention: AttentionCount = "causal",
    recompute: Recompute = "none",
) -> ModelFlops:
    """Return the operations of a pass and of a training step, by component and by layer.

    Args:
        config: A validated config.
        batch_size: B, sequences in a step, >= 1.
        seq_len: T, tokens in each, 1..max_len.
        attention: Which pairs count, as for :func:`forward_flops`.
        recompute: What the backward pass computes again: ``selective`` the scores of attention and their mixture,
            ``full`` every layer. What a fused attention kernel computes again inside its own backward pass is never
            counted.

    Raises:
        AnalysisError: If seq_len is outside 1..max_len.

    References:
        Korthikanti et al. 2022 (recomputation), https://arxiv.org/abs/2205.05198;
        Dao et al. 2022 (fused attention), https://arxiv.org/abs/2205.14135;
        Kaplan et al. 2020 (6N), https://arxiv.org/abs/2001.08361
    """
    found = list(matmul_groups(config, seq_len=seq_len, attention=attention))
    tokens = batch_size * seq_len
    forward = batch_size * sum(group.flops for group in found)
    again = batch_size * sum(_recomputed(group, recompute) for group in found)
    train = (1 + BACKWARD_PER_FORWARD) * forward + again
    active = active_params(tensor_table(config))
    return ModelFlops(
        batch_size=batch_size,
        seq_len=seq_len,
        attention=attention,
        recompute=recompute,
        forward_flops=forward,
        backward_flops=BACKWARD_PER_FORWARD * forward,
        recompute_flops=again,
        train_flops=train,
        forward_flops_per_token=forward / tokens,
        train_flops_per_token=train / tokens,
        six_n_flops_per_token=6 * active,
        six_n_ratio=(train - again) / (6 * active * tokens),
        decode_flops_per_token=decode_flops(config, context_len=seq_len),
        components=tuple(_by_component(found, batch_size, forward)),
        layers=tuple(
            PartFlops(each.name, each.n_layers, batch_size * each.flops, batch_size * each.flops / forward)
            for each in found
            if each.matmuls
        ),
    )


def matmul_groups(
    config: ModelConfig, *, seq_len: int, attention: AttentionCount = "causal", table: TensorTable | None = None
) -> Iterator[MatmulGroup]:
    """Yield every product of one sequence's way through the model or the part in ``table``, alike layers held once.

    Raises:
        AnalysisError: If seq_len is outside 1..max_len.
    """
    check_length(config, seq_len, "seq_len")
    pairs: Pairs = (lambda _: seq_len**2) if attention == "full" else (lambda window: attended_pairs(seq_len, window))
    return _matmul_groups(config, seq_len, pairs, absorbed=False, table=table)


def attended_pairs(seq_len: int, window: int | None) -> int:
    """Return how many pairs of a query and a key at or before it, within the window, one sequence has.

    ``Σ min(t, window)`` over t = 1..seq_len.
    """
    reach = min(seq_len, window or seq_len)
    return reach * (reach + 1) // 2 + (seq_len - reach) * reach


def _matmul_groups(
    config: ModelConfig, tokens: int, pairs: Pairs, *, absorbed: bool, table: TensorTable | None = None
) -> Iterator[MatmulGroup]:
    for section in tensor_table(config) if table is None else table:
        matmuls = tuple(_of_weights(section, tokens))
        if section.layers is None:
            yield MatmulGroup(matmuls[0].name if matmuls else section.tensors[0].name, 1, matmuls)
            continue
        groups = group_layers(config, None, section.layers)
        for (window, _), (_, n_layers) in groups.items():
            which = "" if len(groups) == 1 else f" window {window}" if window else " global"
            core = _of_attention(config, pairs(window), absorbed=absorbed)
            yield MatmulGroup(section.prefix() + which, n_layers, (*matmuls, *core))


def _of_weights(section: Section, tokens: int) -> Iterator[Matmul]:
    """Yield the product of each matrix with every token's vector; of stacked ones, with those of tokens sent there."""
    for tensor in section.tensors:
        if _is_matrix(tensor):
            name = tensor.name.removesuffix(".weight")
            used = (
                tensor.elements if tensor.per_token is None else tensor.elements // tensor.shape[0] * tensor.per_token
            )
            component: FlopsComponent = tensor.component  # type: ignore[assignment]  # those looked up are passed over
            yield Matmul(name, component, 2 * tokens * used)


def _is_matrix(tensor: Tensor) -> bool:
    return tensor.name.endswith(".weight") and len(tensor.shape) > 1 and tensor.component not in _LOOKED_UP


def _of_attention(config: ModelConfig, pairs: int, *, absorbed: bool) -> Iterator[Matmul]:
    """Yield queries times keys, and weights times values; each head of queries has its own, however keys are shared."""
    width, width_value = config.d_head, config.d_value
    if absorbed and config.attention.kind == "latent":
        width, width_value = config.attention.kv_rank + config.attention.d_rope, config.attention.kv_rank
    yield Matmul("attention.scores", "attention_scores", 2 * config.n_heads * pairs * width)
    yield Matmul("attention.values", "attention_scores", 2 * config.n_heads * pairs * width_value)


def _recomputed(group: MatmulGroup, recompute: Recompute) -> int:
    """Return the operations of one sequence that a backward pass does again."""
    if recompute == "none" or not any(p.component == "attention_scores" for p in group.matmuls):
        return 0
    wanted = (p.flops for p in group.matmuls if recompute == "full" or p.component == "attention_scores")
    return group.n_layers * sum(wanted)


def _by_component(found: list[MatmulGroup], batch_size: int, total: int) -> Iterator[PartFlops]:
    for component in COMPONENTS:
        flops = batch_size * sum(
            each.n_layers * product.flops
            for each in found
            for product in each.matmuls
            if product.component == component
        )
        if flops:
            yield PartFlops(component, 1, flops, flops / total)
