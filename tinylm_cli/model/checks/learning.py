"""Learning: a new model knows nothing, every parameter has a gradient, and following it helps."""

from __future__ import annotations

import copy
import math
from collections import Counter

import torch
from torch import Tensor
from torch.nn import functional

from tinylm_cli.model.checks.context import TOLERANCE, Context
from tinylm_cli.model.checks.law import Outcome, law, skip, verdict
from tinylm_cli.model.initialization import STD

STEPS = 8
LEARNING_RATE = 3e-3
KEY_BIAS = "k_proj.bias"
MANY = 64
"""Units of which some surely answer: at worst, ReLU silences each with even odds."""


@law("initial-loss", "the loss of new weights is ln(vocab_size), and what chance and a tied row just read explain")
def initial_loss(context: Context) -> Outcome:
    """Take the mean loss over every possible next token, which is at least ln V, and hold it against chance.

    A hidden vector leaves the final norm no longer than √D, and the head's rows are Normal(0, 0.02²), so each logit is
    normal with a variance of at most ``s = 0.02² · D``. The expected loss, E[ln Σ exp(logit)], is then at most
    ``ln V + s/2`` (Jensen's inequality and the mean of a log-normal), and over a finite vocabulary it varies by about
    ``√((e^s - 1) / V)``, of which six are allowed.

    A tied head knows one row too well, so that the loss of a wide model is *not* near ln V: the token just read is left
    out of that comparison, and has one of its own, :func:`_own_token`.
    """
    if not context.drawn:
        return skip("the weights were loaded, and only new ones are expected to guess evenly")
    vocab_size = context.config.vocab_size
    if vocab_size == 1:
        return skip("with vocab_size 1 there is nothing to guess")
    logits, embedded, stream = _logits_and_streams(context)
    excess = _excess(logits)
    figure = f"ln {vocab_size} + {excess:.3f}"
    if context.config.tie_weights:
        read = context.tokens[:, :, None].cpu()  # (B, T, 1)
        found, (expected, margin) = float(logits.gather(2, read).mean()), _own_token(context, embedded, stream)
        figure += f"; own logit {found:.2f}, expected {expected:.2f}"
        if not abs(found - expected) <= margin:
            return verdict(False, figure, abs(found - expected), margin)
        others = torch.ones_like(logits, dtype=torch.bool).scatter(2, read, value=False)
        excess = _excess(logits[others].view(*context.tokens.shape, vocab_size - 1))
    variance = STD**2 * context.config.d_model
    limit = variance / 2 + 6 * math.sqrt(math.expm1(variance) / vocab_size) + TOLERANCE[context.dtype]
    return verdict(excess <= limit, figure, excess, limit)


def _logits_and_streams(context: Context) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits (B, T, V) of the context's tokens, and what the blocks and the final norm read (B, T, D)."""
    model, embedded, stream = context.model, list[Tensor](), list[Tensor]()
    hooks = (
        model.embedding.register_forward_hook(lambda _module, _inputs, output: embedded.append(output)),
        model.ln_f.register_forward_pre_hook(lambda _module, inputs: stream.append(inputs[0])),
    )
    try:
        logits = context.logits(context.tokens)  # (B, T, V)
    finally:
        for hook in hooks:
            hook.remove()
    return logits.cpu().double(), embedded[0].cpu().double(), stream[0].cpu().double()


def _own_token(context: Context, embedded: Tensor, stream: Tensor) -> tuple[float, float]:
    """Return the mean logit that a new tied head gives to the token just read, and how far from it chance may lead.

    What the final norm reads is ``e + r``: what the embedding made of the row w of the token just read, and what the
    blocks have added through matrices drawn apart. The norm divides that by its spread σ, so the logit is
    ``e·w / σ + r·w / σ``. In the course's model e is ``√D · w`` and positions, and the first term about 1 in the preset
    tiny, never much more than 0.02 · D: a wide tied model starts with a loss far above ln V.

    One logit strays by the spread of ``r·w / σ``, at most 0.02 · √D as r is hardly longer than σ √D. Six of that are
    allowed, and of the mean less, by how many different rows are in it.

    Args:
        context: A new model with a tied head.
        embedded: What its first block reads, (B, T, D).
        stream: What its final norm reads, (B, T, D).
    """
    norm, cap = context.config.norm, context.config.head.logit_softcap
    if norm.kind == "layernorm":
        embedded, stream = (x - x.mean(-1, keepdim=True) for x in (embedded, stream))  # (B, T, D) each
    rows = context.model.lm_head.weight.detach().cpu().double()[context.tokens.cpu()]  # (B, T, D)
    own = (embedded * rows).sum(-1) / (stream.square().mean(-1) + norm.eps).sqrt()  # (B, T)
    expected = float((own if cap is None else cap * torch.tanh(own / cap)).mean())
    counts = Counter(context.tokens.flatten().tolist()).values()
    alike = math.hypot(*counts) / context.tokens.numel()  # 1/√n for n different tokens
    return expected, alike * 6 * STD * math.sqrt(context.config.d_model) + TOLERANCE[context.dtype] * abs(expected)


def _excess(logits: Tensor) -> float:
    """Return how far the mean loss over every next token, by logits (B, T, V), is above ln V; never below 0."""
    return float((logits.logsumexp(-1) - logits.mean(-1)).mean()) - math.log(logits.shape[-1])


@law("gradients-finite", "every gradient is finite and, but for biases of keys, nonzero unless there is a reason")
def gradients_finite(context: Context) -> Outcome:
    """Differentiate a random mixture of all logits, so that no two cancel, with respect to every parameter.

    Keys' biases never learn: they shift all scores of a query alike, which softmax ignores. Their true gradient is 0,
    and what is measured is rounding, so they are counted apart.
    """
    context.require(context.dtype.itemsize, "holding a gradient for every parameter")
    names, parameters = zip(*context.model.named_parameters(), strict=True)
    generator = torch.Generator(device="cpu").manual_seed(0)
    logits = context.model(context.tokens)  # (B, T, V)
    mixture = torch.randn(logits.shape, generator=generator, device="cpu").to(logits)  # (B, T, V)
    gradients = torch.autograd.grad(logits, parameters, mixture, allow_unused=True)
    everything_learns = _everything_learns(context)
    for name, gradient in zip(names, gradients, strict=True):
        if gradient is None:
            return verdict(False, f"{name} has no gradient")
        if not gradient.isfinite().all():
            return verdict(False, f"{name} has a gradient that is not finite")
        if everything_learns and not name.endswith(KEY_BIAS) and not gradient.any():
            return verdict(False, f"{name} has a gradient of zero everywhere")
    able = [
        bool(gradient.any()) for name, gradient in zip(names, gradients, strict=True) if not name.endswith(KEY_BIAS)
    ]
    unable = len(names) - len(able)
    ignored = f", {unable} key bias{'' if unable == 1 else 'es'} softmax ignores" if unable else ""
    return verdict(True, f"{sum(able)} of {len(able)} nonzero{ignored}")


@law("overfits-one-batch", "a few steps of Adam lower the loss on the batch they are taken on")
def overfits_one_batch(context: Context) -> Outcome:
    """Train a copy of the model, in float32 where its own dtype is narrower, as mixed-precision training does.

    The targets are tokens of the other sequence, not those that follow, so that even max_len 1 leaves something to
    learn. Adam moves every weight by about the learning rate, and so what a weight matrix puts out by about that times
    its width: the wider the model, the smaller the rate. There is no weight decay, which would lower the loss of new
    weights without learning anything.

    References:
        Kingma and Ba 2015 (Adam), https://arxiv.org/abs/1412.6980;
        Micikevicius et al. 2018 (a float32 copy to train), https://arxiv.org/abs/1710.03740;
        Yang et al. 2022 (rates by width), https://arxiv.org/abs/2203.03466
    """
    if context.config.vocab_size == 1:
        return skip("with vocab_size 1 the loss is 0 from the start")
    if context.rigid:
        return skip(f"with d_model {context.config.d_model} the norms leave nothing to tell tokens apart by")
    if context.squashed:
        return skip(f"head.logit_softcap {context.config.head.logit_softcap:g} is flat where new logits lie")
    dtype = torch.promote_types(context.dtype, torch.float32)
    held = 4 * dtype.itemsize + (context.dtype.itemsize if dtype != context.dtype else 0)
    context.require(held, "training a copy: weights, gradients and two moments")
    model = copy.deepcopy(context.model).to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=min(LEARNING_RATE, 1 / context.config.d_model))
    targets = context.tokens.flip(1).roll(1, 0)  # (B, T)
    losses: list[float] = []
    for _ in range(STEPS):
        loss = functional.cross_entropy(model(context.tokens).flatten(0, 1), targets.flatten())  # ()
        losses.append(loss.item())
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return verdict(
        losses[-1] < losses[0], f"{losses[0]:.4f} to {losses[-1]:.4f} in {STEPS - 1} steps", losses[-1], losses[0]
    )


def _everything_learns(context: Context) -> bool:
    """Return whether a gradient of zero is surely an error.

    It is not where training may have silenced units, where there is nothing to tell positions apart by, where float16
    rounds small gradients to zero, where ReLU may have silenced every unit from the start, where a router has a single
    weight to give, which is 1 whatever it scores, or where attention has nothing to choose by.
    """
    config, feed_forward = context.config, context.config.feed_forward
    varied = config.vocab_size > 1 and context.tokens.shape[1] > 1
    answering = feed_forward.activation != "relu" or config.d_ff >= MANY
    shares = feed_forward.router == "topk_softmax" or feed_forward.renormalize or feed_forward.n_experts == 1
    weighing = feed_forward.n_experts is None or not shares or min(feed_forward.top_k, feed_forward.n_experts) > 1
    learns = varied and answering and weighing and _attention_chooses(context) and context.dtype != torch.float16
    return context.drawn and context.responsive and learns


def _attention_chooses(context: Context) -> bool:
    """Return whether scores answer to queries and keys: the norms let them through, and so do windows and soft-caps.

    A token that sees itself alone has one weight to give. New scores spread by about 0.02² · d_model · √d_head times
    their scale, and by √d_head times it where queries and keys are normalized: under a soft-cap lower than that, tanh
    may be flat to the last bit.
    """
    config, attention = context.config, context.config.attention
    normalized = attention.qk_norm != "none"
    if attention.kind == "latent":
        widths = [attention.kv_rank, *([attention.q_rank] if attention.q_rank is not None else [])]
    else:
        heads = config.n_kv_heads if attention.qk_norm == "full" else 1
        widths = [heads * config.d_head] if normalized else []
    rigid = any(context.is_rigid(width) for width in widths)
    alone = any(config.window(layer) == 1 for layer in range(config.n_layers)) and not attention.sinks
    scale = config.d_head**-0.5 if attention.scale is None else attention.scale
    spread = scale * math.sqrt(config.d_head) * (1.0 if normalized else STD**2 * config.d_model)
    capped = attention.logit_softcap is not None and attention.logit_softcap < spread
    return not rigid and not alone and not capped
