"""Bytes that a GPU sends in one training step, and their time, for each kind of parallelism.

GPUs are numbered node by node, and a group takes every ``stride``-th GPU: a tensor-parallel group consists of
neighboring GPUs (stride 1), a data-parallel group does not.

Shapes: B batch_size, T seq_len, D d_model, M d_latent or d_model, G n_kv_heads, K d_head, K_v d_value, V vocab_size, C
n_codebooks. A ring all-gather or reduce-scatter over n GPUs sends (n - 1) / n of a tensor, and an all-reduce twice that
(Patarasuk and Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002).
"""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.mixers import mixer_of
from tinylm_cli.analysis.parallel.sharding import StageParams, stage_layer_kinds, stage_params
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.hardware import Accelerator
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.plan import Layout, ParallelismKind, Traffic

ONCE_PER_STEP: tuple[ParallelismKind, ...] = ("data", "expert data", "embedding")
"""Collectives after the last micro-batch; all others run during every micro-batch."""

ALL_REDUCE = 2
"""A ring all-reduce is a reduce-scatter and an all-gather."""

SUBLAYER_COLLECTIVES = 5
"""Forward: all-gather before, reduce-scatter after. Backward: their two adjoints, and an all-gather of the input for
the weight gradient, because each GPU saves only its part of the sequence."""

RECOMPUTED_COLLECTIVES = 2
"""Full recomputation runs the forward pass again: one more all-gather and one more reduce-scatter."""

SHARED_BLOCK_COLLECTIVES = 3
"""All-gather of the embeddings that a shared block reads, reduce-scatter of their gradient, all-gather of them for the
weight gradient; full recomputation gathers them once more."""

EMBEDDING_COLLECTIVES = 2
"""Reduce-scatter of the embeddings; all-gather of their gradient."""

LM_HEAD_COLLECTIVES = 3
"""All-gather of the LM head's input, reduce-scatter of its gradient, all-gather of the input for the weight's."""

RING_ATTENTION_PASSES = 3
"""Keys and values circulate in the forward and the backward pass; their gradients circulate in the backward pass."""


def traffic(
    config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int, accelerator: Accelerator | None
) -> tuple[Traffic, ...]:
    """Return the bytes that a GPU of ``stage`` sends in one step, and their time if ``accelerator`` is given.

    References:
        Rajbhandari et al. 2020, section 7, https://arxiv.org/abs/1910.02054 (data);
        Korthikanti et al. 2022, section 4.2, https://arxiv.org/abs/2205.05198 (tensor and sequence);
        Narayanan et al. 2021, sections 2.2 and 3.2, https://arxiv.org/abs/2104.04473 (pipeline);
        Liu, Zaharia and Abbeel 2023, https://arxiv.org/abs/2310.01889 (context, as a ring);
        Lepikhin et al. 2020, https://arxiv.org/abs/2006.16668 (experts)
    """
    return (
        *replica_traffic(setup, layout, stage_params(config, layout, stage), accelerator),
        *model_traffic(config, setup, layout, stage, accelerator),
    )


def replica_traffic(
    setup: TrainingSetup, layout: Layout, params: StageParams, accelerator: Accelerator | None
) -> tuple[Traffic, ...]:
    """Return the part of :func:`traffic` that depends on the ZeRO stage: gradients and weights between replicas.

    Args:
        setup: How the model is trained.
        layout: The parallel layout.
        params: The parameters that a GPU of the stage computes with.
        accelerator: The GPU, or None.
    """
    return tuple(_timed(each, accelerator) for each in _data(setup, layout, params) if each.sent_bytes)


def model_traffic(
    config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int, accelerator: Accelerator | None
) -> tuple[Traffic, ...]:
    """Return the part of :func:`traffic` that does not depend on the ZeRO stage."""
    collectives = (
        _shared_embedding(config, setup, layout, stage),
        _tensor(config, setup, layout, stage),
        _pipeline(config, setup, layout, stage),
        _context(config, setup, layout, stage),
        _experts(config, setup, layout, stage),
    )
    return tuple(_timed(each, accelerator) for each in collectives if each.sent_bytes)


def _timed(sent: Traffic, accelerator: Accelerator | None) -> Traffic:
    if accelerator is None:
        return sent
    time = _TIMES.get(sent.name, ring_seconds)
    seconds = time(sent.sent_bytes, accelerator, sent.members, sent.stride)
    return Traffic(sent.name, sent.sent_bytes, sent.members, sent.stride, seconds, sent.description)


def _data(setup: TrainingSetup, layout: Layout, params: StageParams) -> Iterator[Traffic]:
    """Reduce gradients over replicas; with ZeRO, reduce-scatter gradients and all-gather weights."""
    element_bytes, grad_element_bytes = setup.element_bytes, setup.grad_element_bytes
    per_param, per_use = ALL_REDUCE * grad_element_bytes, 0
    if layout.zero:
        # reduce-scatter of gradients: with ZeRO 1 once, with ZeRO 2 and 3 after every micro-batch
        scatters = layout.micro_batches if layout.zero >= 2 else 1
        per_param = scatters * grad_element_bytes
        # all-gather of weights: after the update, or with ZeRO 3 for each use in each forward and each backward pass
        if layout.zero == 3:
            per_use = 2 * layout.micro_batches * element_bytes
        else:
            per_param += element_bytes
    description = "gather weights, reduce gradients" if layout.zero else "reduce gradients"
    shared = params.shared * per_param + params.shared_uses * per_use
    routed = params.routed * per_param + params.routed_uses * per_use
    if layout.expert == 1:
        shared, routed = shared + routed, 0
    n = layout.data * layout.context  # replicas of every tensor except routed experts
    yield Traffic("data", shared * (n - 1) // n, n, layout.tensor, None, description)
    n //= layout.expert  # replicas of each routed expert
    stride = layout.tensor * layout.expert
    yield Traffic("expert data", routed * (n - 1) // n, n, stride, None, f"experts: {description}")


def _shared_embedding(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> Traffic:
    """All-reduce the gradient of the embedding between the first and the last stage, if both hold a copy.

    They do if the LM head is tied to it, or if multi-token prediction modules read it, with its learned positions.
    """
    is_shared = config.tie_weights or config.head.n_mtp_layers > 0
    has_copy = is_shared and layout.pipeline > 1 and stage in (0, layout.pipeline - 1)
    rows = -(-config.embedding_rows // layout.tensor)  # padded C·V per GPU
    if config.head.n_mtp_layers and config.position.kind == "learned":
        rows += config.position.offset + config.max_len
    n = 2
    gradient = rows * config.d_model * setup.grad_element_bytes  # C·V × D
    sent = ALL_REDUCE * gradient * (n - 1) // n if has_copy else 0
    stride = layout.n_gpus // layout.pipeline * (layout.pipeline - 1)  # from the first stage to the last
    return Traffic("embedding", sent, n, stride, None, "reduce the gradient of the shared embedding")


def _tensor(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> Traffic:
    """All-gather the sequence before each sub-layer and reduce-scatter it after (sequence parallelism)."""
    per_sublayer = SUBLAYER_COLLECTIVES + (RECOMPUTED_COLLECTIVES if setup.recompute == "full" else 0)
    kinds = stage_layer_kinds(config, layout, stage)
    collectives = sum(n_layers * kind.block.n_sublayers for n_layers, kind in kinds) * per_sublayer
    expert_elements = sum(n_layers * _extra_expert_elements(kind, layout) for n_layers, kind in kinds) * per_sublayer
    with_block = sum(n_layers for n_layers, kind in kinds if kind.block.has_shared_block)
    collectives += with_block * (SHARED_BLOCK_COLLECTIVES + (1 if setup.recompute == "full" else 0))
    is_last, n_modules = stage == layout.pipeline - 1, config.head.n_mtp_layers
    if stage == 0 or (is_last and n_modules):
        collectives += EMBEDDING_COLLECTIVES
    if is_last and config.has_lm_head:  # other heads are replicated
        collectives += LM_HEAD_COLLECTIVES * (1 + n_modules)
    n = layout.tensor
    elements = collectives * config.d_model + expert_elements
    gathered = _token_bytes(config, setup, layout) * elements * (n - 1) // n  # collectives × B × T × D
    sent = layout.micro_batches * (gathered + _summed_bytes(config, setup, layout, stage))
    return Traffic("tensor", sent, n, 1, None, "all-gather and reduce-scatter around each sub-layer")


def _summed_bytes(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> int:
    """Return the bytes that a GPU sends to sum what mixers compute from all heads, and its gradient."""
    elements = sum(
        n_layers * mixer_of(kind).summed_elements(kind) for n_layers, kind in stage_layer_kinds(config, layout, stage)
    )
    passes = 3 if setup.recompute == "full" else 2  # forward, backward; recomputed forward
    tokens = setup.batch_size * setup.length(config) // layout.context  # B × T on one GPU
    n = layout.tensor
    return passes * ALL_REDUCE * tokens * elements * setup.element_bytes * (n - 1) // n


def _extra_expert_elements(config: ModelConfig, layout: Layout) -> int:
    """Return how many more elements of each token experts read than the D that a dense network reads.

    Without expert parallelism, all experts read one copy of each token. With ``d_latent``, each GPU projects its part
    of the sequence, so that routed experts gather M elements; shared experts still gather D.
    """
    settings = config.feed_forward
    if settings.n_experts is None or not config.block.feed_forward:
        return 0
    if layout.expert == 1 and settings.d_latent is None:
        return 0
    routed = (settings.top_k if layout.expert > 1 else 1) * config.d_routed  # k × M
    return routed + (config.d_model if settings.n_shared_experts else 0) - config.d_model


def _pipeline(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> Traffic:
    """Send activations to the next stage and gradients to the previous one; each GPU sends its part of the sequence.

    Each chunk of an interleaved stage sends; a chunk of the last stage sends to the first stage.
    """
    last = layout.pipeline - 1
    activations = layout.virtual - (stage == last)  # the last chunk ends at the loss
    gradients = layout.virtual - (stage == 0)  # the first chunk begins at the embedding
    per_chunk = _residual_bytes(config, setup, layout) * config.block.n_streams  # B × T × D, of each residual stream
    sent = layout.micro_batches * (activations + gradients) * per_chunk // layout.tensor if last else 0
    stride = layout.n_gpus // layout.pipeline
    return Traffic("pipeline", sent, layout.pipeline, stride, None, "activations and gradients between stages")


def _context(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> Traffic:
    """Send keys, values and their gradients around a ring (ring attention)."""
    elements = sum(
        n_layers * mixer_of(kind).ring_elements(kind, tensor_parallel=layout.tensor)
        for n_layers, kind in stage_layer_kinds(config, layout, stage)
    )
    tokens = setup.batch_size * setup.length(config) // layout.context  # B × T on one GPU
    keys_and_values = tokens * elements * setup.element_bytes  # of all layers
    passes = RING_ATTENTION_PASSES + (1 if setup.recompute == "full" else 0)  # recomputed forward pass
    hops = layout.context - 1
    sent = layout.micro_batches * passes * hops * keys_and_values
    return Traffic("context", sent, layout.context, layout.tensor, None, "keys and values around a ring")


def _experts(config: ModelConfig, setup: TrainingSetup, layout: Layout, stage: int) -> Traffic:
    """Dispatch each token to its experts and combine their outputs; experts on the same GPU add no traffic."""
    per_token = sum(
        n_layers * kind.feed_forward.top_k * kind.d_routed
        for n_layers, kind in stage_layer_kinds(config, layout, stage)
        if kind.feed_forward.n_experts is not None
    )
    passes = 3 if setup.recompute == "full" else 2  # forward, backward; recomputed forward
    dispatch_and_combine = 2
    routed = _token_bytes(config, setup, layout) * per_token // layout.tensor  # layers × B × T × k × M
    n = layout.expert
    sent = layout.micro_batches * passes * dispatch_and_combine * routed * (n - 1) // n
    return Traffic("expert", sent, n, layout.tensor, None, "tokens to their experts and back")


def _residual_bytes(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> int:
    """Return the bytes of the residual stream of one micro-batch: B × T / context × D."""
    return _token_bytes(config, setup, layout) * config.d_model


def _token_bytes(config: ModelConfig, setup: TrainingSetup, layout: Layout) -> int:
    """Return the bytes of one element of each token of one micro-batch: B × T / context."""
    return setup.batch_size * setup.length(config) // layout.context * setup.element_bytes


def ring_seconds(sent_bytes: int, accelerator: Accelerator, members: int, stride: int) -> float:
    """Return the seconds of a ring all-gather or reduce-scatter in which each member sends ``sent_bytes``.

    Libraries run one ring through the network port of every member in a node, so a group of several nodes sends at
    ``min(link, members in a node · network)``. If each pair of GPUs has a dedicated link, a group of n uses n - 1 links
    per GPU.

    References:
        https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md (bus bandwidth)
    """
    in_node = _members_in_node(accelerator, members, stride)
    inside = min(accelerator.link_bytes_per_second, (in_node - 1) * accelerator.one_peer_bytes_per_second)
    between = in_node * accelerator.network_bytes_per_second
    if in_node == members:
        return sent_bytes / inside if inside else 0.0
    return sent_bytes / (min(inside, between) if inside else between)


def neighbor_seconds(sent_bytes: int, accelerator: Accelerator, members: int, stride: int) -> float:
    """Return the seconds for each member to send ``sent_bytes`` to its neighbor; across nodes if any member does."""
    if _members_in_node(accelerator, members, stride) < members:
        return sent_bytes / accelerator.network_bytes_per_second
    return sent_bytes / min(accelerator.link_bytes_per_second, accelerator.one_peer_bytes_per_second)


def all_to_all_seconds(sent_bytes: int, accelerator: Accelerator, members: int, stride: int) -> float:
    """Return the seconds of an all-to-all in which each member sends ``sent_bytes``, split evenly over the others.

    Each member uses its own network port, and sends inside its node and to other nodes concurrently.
    """
    in_node = _members_in_node(accelerator, members, stride)
    part = sent_bytes / max(members - 1, 1)
    inside = max((in_node - 1) * part / accelerator.link_bytes_per_second, part / accelerator.one_peer_bytes_per_second)
    between = (members - in_node) * part / accelerator.network_bytes_per_second
    return max(inside if in_node > 1 else 0.0, between)


_TIMES = {"pipeline": neighbor_seconds, "context": neighbor_seconds, "expert": all_to_all_seconds}
"""The time of each kind of traffic that is not a ring."""


def _members_in_node(accelerator: Accelerator, members: int, stride: int) -> int:
    """Return the number of members of a group in one node."""
    return min(members, -(-accelerator.gpus_per_node // stride))
