"""Floating-point operations of a config: weight matmuls from the tensor table, plus the matmuls inside attention.

For one sequence of T tokens a forward pass computes

- for each weight matrix of m × n elements: ``2 · T · m · n``, one multiply and one add per element and token. An
  expert's matrix counts for the tokens routed to it, ``2 · T · top_k · m · n`` over all experts. With zero-computation
  experts, this is the upper bound: tokens that select none of them. The token embedding and learned positions are
  looked up, not multiplied: they count as 0.
- for each layer's attention: ``2 · H · pairs · K`` for the scores Q·Kᵀ and ``2 · H · pairs · K_v`` for the scores times
  V, where ``pairs`` is T² if every pair of query and key counts, ``T · (T + 1) / 2`` if only causal pairs do, and fewer
  with a window.

A training step adds the backward pass, twice the forward pass: the gradient of each matmul's input and of its weight.
If only low-rank adapters are trained, the other weights have no gradient, and the adapters are further matmuls.
It also runs the multi-token prediction modules, each over all T positions and through the LM head; inference does not
run them.
Norms, activations, softmax, RoPE and the loss are not counted, as in torch's FlopCounterMode and PaLM's convention:
they are a small share of the arithmetic, and memory traffic determines their time. Unlike ``6 · N``, this count
includes attention's matmuls and excludes the embedding tables; ``six_n_ratio`` reports the quotient of the two.

Letters: B batch_size, T seq_len, D d_model, H n_heads, K d_head, K_v d_value.

References:
    Kaplan et al. 2020 (6N), section 2.1, https://arxiv.org/abs/2001.08361;
    Chowdhery et al. 2022 (PaLM), appendix B, https://arxiv.org/abs/2204.02311
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from tinylm_cli.analysis.altup import altup_matmuls
from tinylm_cli.analysis.layer_kinds import groups_within
from tinylm_cli.analysis.matmul import FLOPS_PER_ELEMENT, Matmul, SequencePass
from tinylm_cli.analysis.mixers import mixer_of
from tinylm_cli.analysis.params import active_params
from tinylm_cli.analysis.setups import TrainingSetup, check_length
from tinylm_cli.analysis.tensor_table import Section, TensorTable, layers_prefix, tensor_table
from tinylm_cli.config.layer_kinds import mtp_layer
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.choices import AttentionCount, Recompute
from tinylm_cli.reports.flops import COMPONENTS, FlopsComponent, ModelFlops, PartFlops

if TYPE_CHECKING:
    from tinylm_cli.config.lora import Lora

BACKWARD_PER_FORWARD = 2
"""Backward matmuls per forward matmul: one for the gradient of its input, one for the gradient of its weight."""

TRAIN_PER_FORWARD = 1 + BACKWARD_PER_FORWARD
"""Matmuls of a training step per forward matmul: the forward one and the two backward ones."""

TRAIN_FLOPS_PER_PARAM = FLOPS_PER_ELEMENT * TRAIN_PER_FORWARD
"""The 6 of ``6 · N``: training FLOPs per parameter and token."""

_LOOKED_UP = ("token_embedding", "position", "per_layer_embedding")
"""Components whose rows are looked up instead of multiplied."""


class MatmulGroup(NamedTuple):
    """The matmuls outside the layers (``n_layers`` is 1), or of each of ``n_layers`` identical layers."""

    name: str
    n_layers: int
    matmuls: tuple[Matmul, ...]
    is_layer: bool
    n_passes: int = 1  # how often each layer runs

    @property
    def n_runs(self) -> int:
        """How often the matmuls are computed for one sequence."""
        return self.n_layers * self.n_passes

    @property
    def flops(self) -> int:
        """Operations of all ``n_layers`` together, for one sequence."""
        return self.n_runs * sum(matmul.flops for matmul in self.matmuls)


def forward_flops(config: ModelConfig, *, batch_size: int, seq_len: int, attention: AttentionCount = "causal") -> int:
    """Return the operations of one forward pass over ``batch_size`` sequences.

    Args:
        config: A validated config.
        batch_size: B, >= 1.
        seq_len: T, 1..max_len.
        attention: ``causal`` counts the pairs that the mask allows; ``full`` counts all T² pairs, like torch's
            FlopCounterMode and like a kernel without masking.

    Raises:
        AnalysisError: If seq_len is outside 1..max_len.
    """
    return batch_size * sum(group.flops for group in matmul_groups(config, seq_len=seq_len, attention=attention))


def decode_flops(config: ModelConfig, *, context_len: int) -> int:
    """Return the operations of decoding one token of one sequence.

    Latent attention follows ``model/latent_attention.py:LatentAttention._attend_to_latents``: scores and values are
    computed on the compressed vectors. The up-projection is absorbed into the query and the attention output, which
    costs as much as expanding one token.

    Args:
        config: A validated config.
        context_len: Positions attended to, including the token's own, 1..max_len.

    Raises:
        AnalysisError: If context_len is outside 1..max_len.

    References:
        DeepSeek-AI 2024, section 2.1.2, https://arxiv.org/abs/2405.04434
    """
    check_length(config, context_len, "context_len")
    decoding = SequencePass(1, context_len, decodes=True)
    return sum(group.flops for group in _matmul_groups(config, decoding, tensor_table(config)))


def prefill_flops(config: ModelConfig, *, batch_size: int, seq_len: int, attention: AttentionCount = "causal") -> int:
    """Return the operations of reading ``batch_size`` sequences; an LM head reads the last token of each.

    Raises:
        AnalysisError: If seq_len is outside 1..max_len.
    """
    groups = list(matmul_groups(config, seq_len=seq_len, attention=attention))
    all_tokens = sum(group.flops for group in groups)
    head = sum(matmul.flops for group in groups for matmul in group.matmuls if matmul.component == "lm_head")
    return batch_size * (all_tokens - head + head // seq_len)  # the LM head on 1 of T tokens


def train_flops(
    config: ModelConfig,
    *,
    batch_size: int,
    seq_len: int,
    attention: AttentionCount = "causal",
    recompute: Recompute = "none",
    table: TensorTable | None = None,
    lora: Lora | None = None,
) -> int:
    """Return the operations of a training step: forward pass, backward pass and recomputation.

    Args:
        config: A validated config.
        batch_size: B, >= 1.
        seq_len: T, 1..max_len.
        attention: The pairs to count, as for :func:`forward_flops`.
        recompute: The activations that the backward pass recomputes, as for :func:`analyze_flops`.
        table: The tensors of a part of the model, such as a pipeline stage; the full model when None.
        lora: The adapters that are trained on frozen weights, if any.

    Raises:
        AnalysisError: If seq_len is outside 1..max_len.
    """
    groups = list(matmul_groups(config, seq_len=seq_len, attention=attention, table=table))
    if lora is None:
        groups += mtp_matmul_groups(config, seq_len=seq_len, attention=attention, table=table)
    forward = sum(group.flops for group in groups) + _adapters(lora, seq_len)
    recomputed = sum(_recomputed(group, recompute) for group in groups) + _recomputed_adapters(lora, seq_len, recompute)
    return batch_size * (forward + _backward(groups, lora, seq_len) + recomputed)


def _adapters(lora: Lora | None, seq_len: int) -> int:
    """Return the forward operations of adapters for one sequence: ``2 · T · r · (in + out)`` each."""
    return 0 if lora is None else FLOPS_PER_ELEMENT * seq_len * sum(module.params for module in lora.modules)


def _recomputed_adapters(lora: Lora | None, seq_len: int, recompute: Recompute) -> int:
    """Return the operations of one sequence that full recomputation repeats in the adapters of layers."""
    if lora is None or recompute != "full":
        return 0
    return FLOPS_PER_ELEMENT * seq_len * sum(module.params for module in lora.modules if module.layer is not None)


def _backward(groups: Iterable[MatmulGroup], lora: Lora | None, seq_len: int) -> int:
    """Return the backward operations of one sequence; a frozen weight has no gradient, only its input has one."""
    each = [(group.n_runs, matmul) for group in groups for matmul in group.matmuls]
    both = BACKWARD_PER_FORWARD * (sum(n_runs * matmul.flops for n_runs, matmul in each) + _adapters(lora, seq_len))
    if lora is None:
        return both
    trained = ("lm_head", "score") if lora.trains_head else ()
    frozen = (n_runs * matmul.flops for n_runs, matmul in each if matmul.has_weight and matmul.component not in trained)
    return both - sum(frozen)


def analyze_flops(config: ModelConfig, setup: TrainingSetup, *, attention: AttentionCount = "causal") -> ModelFlops:
    """Return the operations of a forward pass and of a training step, by component and by layer.

    Args:
        config: A validated config.
        setup: How it is trained. ``selective`` recomputes attention's two matmuls without weights, ``full`` every
            layer. Recomputation inside a fused attention kernel's backward pass is not counted.
        attention: The pairs to count, as for :func:`forward_flops`.

    Raises:
        AnalysisError: If seq_len is outside 1..max_len.

    References:
        Korthikanti et al. 2022 (recomputation), https://arxiv.org/abs/2205.05198;
        Dao et al. 2022 (fused attention), https://arxiv.org/abs/2205.14135;
        Kaplan et al. 2020 (6N), https://arxiv.org/abs/2001.08361
    """
    batch_size, seq_len, recompute = setup.batch_size, setup.length(config), setup.recompute
    groups = list(matmul_groups(config, seq_len=seq_len, attention=attention))
    lora = setup.lora
    mtp_groups = [] if lora else list(mtp_matmul_groups(config, seq_len=seq_len, attention=attention))
    tokens = batch_size * seq_len
    forward = batch_size * sum(group.flops for group in groups)
    mtp = batch_size * sum(group.flops for group in mtp_groups)
    recomputed = sum(_recomputed(group, recompute) for group in (*groups, *mtp_groups))
    recomputed = batch_size * (recomputed + _recomputed_adapters(lora, seq_len, recompute))
    adapters = batch_size * _adapters(lora, seq_len)
    backward = batch_size * _backward((*groups, *mtp_groups), lora, seq_len)
    train = forward + mtp + adapters + backward + recomputed
    six_n = TRAIN_FLOPS_PER_PARAM * active_params(tensor_table(config))
    return ModelFlops(
        batch_size=batch_size,
        seq_len=seq_len,
        attention=attention,
        recompute=recompute,
        forward_flops=forward,
        mtp_flops=mtp,
        backward_flops=backward,
        recompute_flops=recomputed,
        train_flops=train,
        forward_flops_per_token=forward / tokens,
        train_flops_per_token=train / tokens,
        six_n_flops_per_token=six_n,
        # neither counts modules for multi-token prediction
        six_n_ratio=(forward + batch_size * _backward(groups, lora, seq_len) + adapters) / (six_n * tokens),
        decode_flops_per_token=decode_flops(config, context_len=seq_len) if config.has_lm_head else 0,
        components=tuple(_by_component(groups, batch_size, forward)),
        layers=tuple(
            PartFlops(group.name, group.n_layers, batch_size * group.flops, batch_size * group.flops / forward)
            for group in groups
            if group.matmuls
        ),
        adapter_flops=adapters,
    )


def matmul_groups(
    config: ModelConfig, *, seq_len: int, attention: AttentionCount = "causal", table: TensorTable | None = None
) -> Iterator[MatmulGroup]:
    """Yield the matmuls of one sequence's forward pass through the model, or through the part in ``table``.

    Raises:
        AnalysisError: If seq_len is outside 1..max_len.
    """
    check_length(config, seq_len, "seq_len")

    counted = SequencePass(seq_len, seq_len, attention)
    return _matmul_groups(config, counted, tensor_table(config) if table is None else table)


def mtp_matmul_groups(
    config: ModelConfig, *, seq_len: int, attention: AttentionCount = "causal", table: TensorTable | None = None
) -> Iterator[MatmulGroup]:
    """Yield the matmuls of the multi-token prediction modules for one sequence, which only training runs.

    Each module multiplies all positions, also those without a token so far ahead, by its projection, its layer and the
    LM head of the model. Recomputation applies to its layer.

    Raises:
        AnalysisError: If seq_len is outside 1..max_len.
    """
    check_length(config, seq_len, "seq_len")
    counted = SequencePass(seq_len, seq_len, attention)
    table = tensor_table(config) if table is None else table
    heads = (matmul for section in table for matmul in _weight_matmuls(section, seq_len))
    head = tuple(matmul for matmul in heads if matmul.component == "lm_head")
    for section in table:
        if section.n_mtp_layers:
            weights = tuple(_weight_matmuls(section, seq_len))
            outside = tuple(matmul for matmul in weights if not matmul.name.startswith("block."))
            layer = tuple(matmul for matmul in weights if matmul.name.startswith("block."))
            kind = mtp_layer(config)
            inside = mixer_of(kind).matmuls(kind, counted)
            yield MatmulGroup(f"{section.prefix()}.block", section.n_mtp_layers, (*layer, *inside), True)
            yield MatmulGroup(section.prefix(), section.n_mtp_layers, (*outside, *head), False)


def _matmul_groups(config: ModelConfig, counted: SequencePass, table: TensorTable) -> Iterator[MatmulGroup]:
    for section in table:
        weights = tuple(_weight_matmuls(section, counted.tokens))
        # a final norm without weights and no head; modules that inference does not run
        if not section.tensors or section.n_mtp_layers:
            continue
        if section.layers is None:
            yield MatmulGroup(weights[-1].name if weights else section.tensors[0].name, 1, weights, False)
            continue
        groups = groups_within(config, section.layers)
        for group in groups:
            is_named = group.name and (len(groups) > 1 or config.layers.kinds or group.n_passes > 1)
            name = f"{layers_prefix(group.layers)} {group.name}" if is_named else layers_prefix(group.layers)
            if section.shared_block is not None:
                name = f"{section.prefix()} in {name}"
            inside = mixer_of(group.config).matmuls(group.config, counted) if section.shared_block is None else ()
            of_streams = altup_matmuls(group.config, counted.tokens)
            yield MatmulGroup(name, len(group.layers), (*weights, *inside, *of_streams), True, group.n_passes)


def _weight_matmuls(section: Section, tokens: int) -> Iterator[Matmul]:
    """Yield the matmul of each weight matrix with all tokens; an expert's matrix multiplies the tokens routed to it."""
    for tensor in section.tensors:
        if tensor.name.endswith(".weight") and len(tensor.shape) > 1 and tensor.component not in _LOOKED_UP:
            component: FlopsComponent = tensor.component  # type: ignore[assignment]  # looked-up tables are skipped
            # 2 × T × (out · in), or top_k of the E experts'
            flops = FLOPS_PER_ELEMENT * tokens * tensor.active_elements
            yield Matmul(tensor.name.removesuffix(".weight"), component, flops, has_weight=True)


def _recomputed(group: MatmulGroup, recompute: Recompute) -> int:
    """Return the operations of one sequence that the backward pass recomputes in the layers of a group."""
    if recompute == "none" or not group.is_layer:
        return 0
    recomputed = (matmul.flops for matmul in group.matmuls if recompute == "full" or not matmul.has_weight)
    return group.n_runs * sum(recomputed)


def _by_component(groups: list[MatmulGroup], batch_size: int, total: int) -> Iterator[PartFlops]:
    for component in COMPONENTS:
        flops = batch_size * sum(
            group.n_runs * matmul.flops for group in groups for matmul in group.matmuls if matmul.component == component
        )
        if flops:
            yield PartFlops(component, 1, flops, flops / total)
