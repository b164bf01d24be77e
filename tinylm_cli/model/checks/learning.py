"""Learning: the initial loss is near ln V (labels: ln L), every parameter has a gradient, training lowers the loss."""

from __future__ import annotations

import copy
import math
from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model.block import residual_factors
from tinylm_cli.model.checks.check import FLOAT16_SCALE, TOLERANCE, CheckContext, Outcome, check, passed_if, skip
from tinylm_cli.model.initialization import STD
from tinylm_cli.model.lm import TinyTransformerLM
from tinylm_cli.model.mixers.initial_values import INITIAL_DT

STEPS = 8
LEARNING_RATE = 3e-3
KEY_BIAS = "k_proj.bias"
INDEXER = ".indexer."
"""Part of the names of the parameters that select positions."""
MAX_EXPONENT = 700.0
"""Larger exponents overflow a float64."""
MIN_RELU_UNITS = 64
"""With this many hidden units, one is almost certainly active: ReLU deactivates each with probability at most 1/2."""


@check("initial-loss", "the initial loss is {initial_loss}")
def initial_loss(context: CheckContext) -> Outcome:
    """Compare the mean loss over all possible next tokens, at least ln V, with its expectation.

    Each logit is normal with a variance s of at most ``initial_logit_std ** 2``. The expected loss, E[ln Σ exp(logit)],
    is then at most ``ln V + s/2`` (Jensen's inequality and the mean of a log-normal). Over a finite vocabulary its
    standard deviation is about ``√((e^s - 1) / V)``; six of these are allowed.

    With a tied head, the logit of the input token is large, and the loss of a wide model is *not* near ln V. That logit
    is excluded here and compared in :func:`_input_token_logit`, unless ``head.dense`` projects between the two.
    """
    if not context.newly_initialized:
        return skip("loaded weights are not expected to predict uniformly")
    logits, embedded, residual = _logits_and_residuals(context)
    n_outputs = logits.shape[-1]  # V, or L
    if n_outputs == 1:
        size = "vocab_size" if context.config.has_lm_head else "head.n_labels"
        return skip(f"with {size} 1 there is nothing to predict")
    excess = loss_above_uniform(logits)
    measured = f"ln {n_outputs} + {excess:.3f}"
    if context.config.tie_weights:
        read = context.tokens[..., None].cpu()  # (B, T, 1) or (B, T, C, 1)
        if context.config.norm.is_final and not context.config.head.dense:
            found = float(logits.gather(-1, read).mean())
            expected, margin = _input_token_logit(context, embedded, residual)
            measured += f"; input logit {found:.2f}, expected {expected:.2f}"
            if not abs(found - expected) <= margin:
                return passed_if(False, measured, abs(found - expected), margin)
        others = torch.ones_like(logits, dtype=torch.bool).scatter(-1, read, value=False)
        excess = loss_above_uniform(logits[others].view(*context.tokens.shape, n_outputs - 1))
    limit = uniform_loss_margin(context) + TOLERANCE[context.dtype]
    return passed_if(excess <= limit, measured, excess, limit)


def uniform_loss_margin(context: CheckContext) -> float:
    """Return the allowed loss above ln V of new weights, as :func:`initial_loss` derives it."""
    variance = context.initial_logit_std**2
    deviation = math.sqrt(math.expm1(min(variance, MAX_EXPONENT)) / context.config.n_outputs)
    return variance / 2 + 6 * deviation


def _logits_and_residuals(context: CheckContext) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (B, T, V) or (B, T, C, V), and the inputs (B, T, D) of the blocks and of the final norm.

    Without a final norm, the last is the input of the last block.
    """
    model, embedded, residual = context.model, list[Tensor](), list[Tensor]()
    last = model.ln_f if context.config.norm.is_final else model.blocks[-1]
    hooks = (
        model.embedding.register_forward_hook(lambda _module, _inputs, output: embedded.append(output)),
        last.register_forward_pre_hook(lambda _module, inputs: residual.append(inputs[0])),
    )
    try:
        logits = context.logits(context.tokens)  # (B, T, V)
    finally:
        for hook in hooks:
            hook.remove()
    return logits.cpu().double(), embedded[0].cpu().double(), residual[0].cpu().double()


def _input_token_logit(context: CheckContext, embedded: Tensor, residual: Tensor) -> tuple[float, float]:
    """Return the mean logit that a new tied head gives to the current input token, and the allowed deviation.

    The final norm reads ``e + r``: e is the embedding of the input token, computed from row w, times all multipliers of
    skip connections and factors of norms on them; r is the sum of the blocks' outputs, which is independent of w. The
    norm divides both by their std σ, so the logit is ``e·w / σ + r·w / σ``. In the course's model e is ``√D · w`` plus
    positions. The first term is about 1 in the preset tiny and at most about 0.02 · D, so a wide tied model starts with
    a loss far above ln V.

    One logit has the std of ``r·w / σ``: at most about ``initial_logit_std``, because the length of r is at most about
    σ √D. The allowed deviation is six of these, and less for a mean over several different tokens. All logits are
    multiplied by logit_scale.

    Args:
        context: A new model with a tied head.
        embedded: Input of the first block, (B, T, D).
        residual: Input of the final norm, (B, T, D).
    """
    norm, head = context.config.norm, context.config.head
    blocks = [kind.block for kind in layer_pattern(context.config)]  # of each layer
    additions = (block for block in blocks for _ in range(block.n_residual_additions))
    skips = (residual_factors(block, k).skip for k, block in enumerate(additions, start=2))
    embedded = embedded * math.prod(skips) * _norms_of_the_stream(context)  # (B, T, D)
    embedded = embedded / (context.config.block.altup_streams or 1)  # in one of the streams whose mean the norm reads
    if norm.kind == "layernorm":
        embedded, residual = (x - x.mean(-1, keepdim=True) for x in (embedded, residual))  # (B, T, D) each
    read, n_codebooks = context.tokens.cpu(), context.config.embedding.n_codebooks
    if n_codebooks > 1:
        read = read + context.config.vocab_size * torch.arange(n_codebooks)  # (B, T, C)
    rows = context.model.lm_head.weight.detach().cpu().double()[read]  # (B, T, D) or (B, T, C, D)
    normed = embedded / (residual.square().mean(-1, keepdim=True) + norm.eps).sqrt()  # (B, T, D)
    own = head.logit_scale * torch.einsum("btd,bt...d->bt...", normed, rows)  # (B, T) or (B, T, C)
    cap = head.logit_softcap
    expected = float((own if cap is None else cap * torch.tanh(own / cap)).mean())
    counts = Counter(read.flatten().tolist()).values()
    of_mean = math.hypot(*counts) / read.numel()  # 1/√n for n different tokens
    return expected, of_mean * 6 * context.initial_logit_std + TOLERANCE[context.dtype] * abs(expected)


def _norms_of_the_stream(context: CheckContext) -> Tensor:
    """Return the product (B, T, 1) of the factors with which norms multiply the residual stream itself.

    With ``block.normed_residual``, the output of a norm before a sub-layer replaces its input in the residual addition.
    """
    product = torch.ones(*context.tokens.shape[:2], 1, dtype=torch.float64)  # (B, T, 1)

    def multiply(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0].cpu().double()  # (B, T, D)
        if context.config.norm.kind == "layernorm":
            x = x - x.mean(-1, keepdim=True)  # (B, T, D)
        product.mul_((output.cpu().double() * x).sum(-1, keepdim=True) / x.square().sum(-1, keepdim=True))

    norms = [
        norm
        for block, kind in zip(context.model.blocks, layer_pattern(context.config), strict=True)
        for norm in (block.ln_1, block.ln_2)
        if kind.block.normed_residual and isinstance(norm, nn.Module)
    ]
    hooks = [norm.register_forward_hook(multiply) for norm in norms]
    try:
        if norms:
            context.logits(context.tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return product


def loss_above_uniform(logits: Tensor) -> float:
    """Return the mean loss over every next token, given logits (B, T, V), minus ln V; never below 0."""
    return float((logits.logsumexp(-1) - logits.mean(-1)).mean()) - math.log(logits.shape[-1])


@check("gradients-finite", "every gradient is finite, and nonzero where it can be")
def gradients_finite(context: CheckContext) -> Outcome:
    """Differentiate a random combination of all logits, so that no two cancel, with respect to every parameter.

    Key biases shift all scores of a query equally, which softmax ignores. Their true gradient is 0 and the measured one
    is rounding error, so they are counted separately. The selection of an indexer has no gradient.

    References:
        Micikevicius et al. 2018 (loss scaling in float16), https://arxiv.org/abs/1710.03740
    """
    context.require_memory(context.dtype.itemsize, "holding a gradient for every parameter")
    learned = [(name, each) for name, each in context.model.named_parameters() if INDEXER not in name]
    n_selecting = sum(INDEXER in name for name, _ in context.model.named_parameters())
    names, parameters = zip(*learned, strict=True)
    generator = torch.Generator(device="cpu").manual_seed(0)
    logits = _all_outputs(context)  # (B, T, V), with MTP modules (M + 1, B, T, V)
    mixture = torch.randn(logits.shape, generator=generator, device="cpu").to(logits)
    if context.dtype == torch.float16:
        mixture *= FLOAT16_SCALE
    gradients = torch.autograd.grad(logits, parameters, mixture, allow_unused=True)
    everything_learns = _everything_learns(context)
    for name, gradient in zip(names, gradients, strict=True):
        if gradient is None:
            return passed_if(False, f"{name} has no gradient")
        if not gradient.isfinite().all():
            return passed_if(False, f"{name} has a gradient that is not finite")
        if everything_learns and not name.endswith(KEY_BIAS) and not gradient.any():
            return passed_if(False, f"{name} has a gradient of zero everywhere")
    nonzero = [
        bool(gradient.any()) for name, gradient in zip(names, gradients, strict=True) if not name.endswith(KEY_BIAS)
    ]
    n_exempt = len(names) - len(nonzero)
    exempt = f"; {n_exempt} key bias{' is' if n_exempt == 1 else 'es are'} exempt (softmax)" if n_exempt else ""
    exempt += f"; {n_selecting} tensors of indexers are exempt (selection)" if n_selecting else ""
    return passed_if(True, f"{sum(nonzero)} of {len(nonzero)} nonzero{exempt}")


def _all_outputs(context: CheckContext) -> Tensor:
    """Return the outputs (B, T, V), stacked with the outputs of the multi-token prediction modules, if any."""
    if not context.config.head.n_mtp_layers:
        return context.outputs(context.tokens)
    return torch.stack(tuple(context.model.multi_token_logits(context.tokens)))  # (M + 1, B, T, V)


@check("overfits-one-batch", "a few Adam steps on one batch lower its loss")
def overfits_one_batch(context: CheckContext) -> Outcome:
    """Train a copy of the model, in float32 if its dtype has lower precision, as in mixed-precision training.

    Targets are tokens of the other sequence instead of the next tokens, so that the check also works with max_len 1.
    Labels are these ids modulo n_labels; a single label has a number to approximate, as in a regression.
    Adam changes every weight by about the learning rate, and a matrix's output by about the rate times its width;
    therefore a wider model gets a smaller rate. Weight decay is off, because it would lower the loss without learning.

    References:
        Kingma and Ba 2015 (Adam), https://arxiv.org/abs/1412.6980;
        Micikevicius et al. 2018 (a float32 copy to train), https://arxiv.org/abs/1710.03740;
        Yang et al. 2022 (rates by width), https://arxiv.org/abs/2203.03466
    """
    if context.config.vocab_size == 1:
        return skip("with vocab_size 1 the loss is 0 from the start")
    if context.degenerate_norm:
        return skip(f"with d_model {context.config.d_model} the norms map all tokens to nearly the same vector")
    if context.logits_saturated:
        return skip(f"head.logit_softcap {context.config.head.logit_softcap:g} saturates at initialization")
    dtype = torch.promote_types(context.dtype, torch.float32)
    bytes_per_param = 4 * dtype.itemsize + (context.dtype.itemsize if dtype != context.dtype else 0)
    context.require_memory(bytes_per_param, "training a copy: weights, gradients and two Adam moments")
    model = copy.deepcopy(context.model).to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=min(LEARNING_RATE, 1 / context.config.d_model))
    losses: list[float] = []
    for _ in range(STEPS):
        loss = _loss(model, context.tokens)  # ()
        losses.append(loss.item())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return passed_if(
        losses[-1] < losses[0], f"{losses[0]:.4f} to {losses[-1]:.4f} in {STEPS - 1} steps", losses[-1], losses[0]
    )


def _loss(model: TinyTransformerLM, tokens: Tensor) -> Tensor:
    """Return the loss of predicting ids of the other sequence, or labels made of them; MTP modules add theirs."""
    if model.config.head.n_mtp_layers:
        targets = tokens.flip(1).roll(1, 0).flatten()  # (B·T) or (B·T·C)
        losses = [functional.cross_entropy(each.flatten(0, -2), targets) for each in model.multi_token_logits(tokens)]
        return torch.stack(losses).mean()
    outputs: Tensor = model(tokens)  # (B, T, V), (B, T, C, V), (B, T, L) or (B, L)
    n_outputs = outputs.shape[-1]
    targets = tokens.flip(1).roll(1, 0)  # (B, T) or (B, T, C)
    if targets.dim() == outputs.dim():
        targets = targets[..., 0]  # (B, T), labels of tokens with several codebooks
    if outputs.dim() == 2:
        targets = torch.arange(len(tokens), device=tokens.device)  # (B), the number of the sequence
    if n_outputs == 1:
        return functional.mse_loss(outputs.squeeze(-1), (targets % 2).to(outputs.dtype))
    return functional.cross_entropy(outputs.reshape(-1, n_outputs), targets.flatten() % n_outputs)


def _everything_learns(context: CheckContext) -> bool:
    """Return whether a gradient of zero is certainly an error.

    It may be legitimate if training has deactivated units, all positions are equal, float16 rounds small gradients to
    zero, ReLU deactivates all units initially, a norm maps all hidden units to one vector, a router weights a single
    expert (always 1, and with SparseMixer if no logit is similar), all initial step sizes of Mamba-2 are clamped, or
    attention weights do not depend on queries and keys.
    """
    config, feed_forward = context.config, context.config.feed_forward
    # the last MTP module reads the embedding of a token n_mtp_layers positions ahead
    varied = config.vocab_size > 1 and context.tokens.shape[1] > max(config.head.n_mtp_layers, 1)
    active = feed_forward.activation not in ("relu", "relu2") or config.d_ff >= MIN_RELU_UNITS
    active = active and not (feed_forward.sub_norm and context.is_degenerate_norm(config.d_ff))
    shares = feed_forward.router == "topk_softmax" or feed_forward.renormalize or feed_forward.n_experts == 1
    is_weighted = not shares or min(feed_forward.top_k, feed_forward.n_experts or 1) > 1
    routing = feed_forward.n_experts is None or (is_weighted and feed_forward.router != "sparsemixer")
    routing = routing and (config.attention.n_experts is None or config.attention_top_k > 1)
    routing = routing and not any(_clamps_all_steps(kind) for kind in layer_pattern(config).kinds)
    learns = varied and active and routing and _attention_depends_on_keys(context) and context.dtype != torch.float16
    return context.newly_initialized and context.must_respond_to_tokens and learns


def _clamps_all_steps(kind: ModelConfig) -> bool:
    """Return whether the initial step sizes of Mamba-2 in layers of this kind are all outside its bounds."""
    (low, high), settings = INITIAL_DT, kind.mamba2
    is_outside = settings.min_dt >= high or (settings.max_dt is not None and settings.max_dt <= low)
    return "mamba2" in kind.block.mixers and is_outside


def _attention_depends_on_keys(context: CheckContext) -> bool:
    """Return whether attention weights depend on queries and keys, through norms, windows and soft-caps.

    A token that attends to a single key gives it the weight 1. Initial scores have a std of about
    0.02² · d_model · √d_head times the scale, or √d_head times the scale with normalized queries and keys. With a
    lower soft-cap, tanh may saturate to the last bit.
    """
    config, attention = context.config, context.config.attention
    if not any("attention" in kind.block.mixers for kind in layer_pattern(config).kinds):
        return True
    normalized = attention.qk_norm != "none"
    if attention.kind == "latent":
        dims = [attention.kv_rank, *([attention.q_rank] if attention.q_rank is not None else [])]
        dims += [attention.d_rope] if attention.k_rope_norm else []
    else:
        heads = config.n_kv_heads if attention.qk_norm == "full" else 1
        dims = [heads * config.d_head] if normalized else []
    dims += [config.n_heads * config.d_value_per_kv_head] if attention.sub_norm else []
    degenerate = any(context.is_degenerate_norm(dim) for dim in dims)
    kinds = (kind.attention for kind in layer_pattern(config).kinds)
    only_one = any(1 in (kind.window, kind.dynamic_mask_top_k) for kind in kinds) and not attention.sinks
    scale = config.d_head**-0.5 if attention.scale is None else attention.scale
    spread = scale * math.sqrt(config.d_head) * (1.0 if normalized else STD**2 * config.d_model)
    saturated = attention.logit_softcap is not None and attention.logit_softcap < spread
    return not degenerate and not only_one and not saturated
