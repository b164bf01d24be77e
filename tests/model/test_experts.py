from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.experts import ExpertFeedForward, Router, Shortcut
from tinylm_cli.model.feed_forward import FeedForward

Make = Callable[..., ModelConfig]
Randomize = Callable[[nn.Module], nn.Module]


def make_experts(make_config: Make, randomized: Randomize, **fields: Any) -> ExpertFeedForward:
    config = make_config(feed_forward={"n_experts": 4, "top_k": 2, "gated": True, "activation": "silu", **fields})
    module = ExpertFeedForward(config)
    randomized(module)
    return module


def one_expert(module: ExpertFeedForward, expert: int, x: Tensor, make_config: Make) -> Tensor:
    """Return what an expert alone puts out: a plain gated network with its weights."""
    alone = FeedForward(make_config(feed_forward={"gated": True, "activation": "silu"}), 40).to_empty(device="cpu")
    experts = module.experts
    with torch.no_grad():
        for name in ("gate_proj", "up_proj", "down_proj"):
            stacked, single = getattr(experts, name), getattr(alone, name)
            single.weight.copy_(stacked.weight[expert])
            single.bias.copy_(stacked.bias[expert])
        out: Tensor = alone(x)
    return out


def weighted_expert(module: ExpertFeedForward, expert: int, x: Tensor, weight: Tensor, make_config: Make) -> Tensor:
    """Return what an expert adds for a vector: its weight multiplies the output, or the input."""
    if module.experts.weights_input:
        return one_expert(module, expert, weight * x[None], make_config)[0]
    return weight * one_expert(module, expert, x[None], make_config)[0]


@pytest.mark.parametrize("length", [1, 7])
@pytest.mark.parametrize(
    "shared",
    [
        {},
        {"n_shared_experts": 2},
        {"n_shared_experts": 2, "d_shared_expert": 5},
        {"n_shared_experts": 1, "shared_expert_gate": True},
        {"n_shared_experts": 1, "shared_scale": 0.5, "routed_scale": 0.5},
        {"n_shared_experts": 1, "router": "sigmoid", "router_weight_on_input": True},
    ],
)
def test_weighted_sum_of_experts(make_config: Make, randomized: Randomize, length: int, shared: dict[str, Any]) -> None:
    module = make_experts(make_config, randomized, **shared)
    x = torch.randn(2, length, 16)
    flat = x.flatten(0, 1)
    chosen, weights = module.router.route(flat)
    with torch.no_grad():
        expected = torch.stack(
            [
                sum(
                    (weighted_expert(module, int(e), row, w, make_config) for e, w in zip(es, ws, strict=True)),
                    start=torch.zeros(16),
                )
                for row, es, ws in zip(flat, chosen, weights, strict=True)
            ]
        ).view_as(x)
        if module.shared_experts is not None:
            gate = 1.0 if module.shared_expert_gate is None else torch.sigmoid(module.shared_expert_gate(x))
            expected = expected + shared.get("shared_scale", 1.0) * gate * module.shared_experts(x)
        torch.testing.assert_close(module(x, x), expected, atol=1e-5, rtol=1e-5)


def test_latent_experts(make_config: Make, randomized: Randomize) -> None:
    """Routed experts read a projection of each token, and their sum is projected back; the router reads the token."""
    module = make_experts(make_config, randomized, d_latent=8, n_shared_experts=1, router="sigmoid", routed_scale=2.5)
    down, up = module.latent_in_proj, module.latent_out_proj
    assert down is not None and up is not None and module.shared_experts is not None  # noqa: PT018
    alone = make_experts(lambda **fields: make_config(d_model=8, **fields), randomized)
    alone.experts.load_state_dict(module.experts.state_dict())
    x = torch.randn(2, 3, 16)
    with torch.no_grad():
        chosen, weights = module.router.route(x.flatten(0, 1))
        latent = x.flatten(0, 1) @ down.weight.T + down.bias  # (N, 8)
        routed = alone.experts(latent, chosen, weights) @ up.weight.T + up.bias  # (N, D)
        torch.testing.assert_close(module(x, x), routed.view_as(x) + module.shared_experts(x))


def test_norms_of_branches(make_config: Make, randomized: Randomize) -> None:
    """Shared experts read the norm that the block computes; the others compute theirs of the residual stream."""
    norm = {"kind": "rmsnorm", "placement": "sandwich"}
    fields = {"n_experts": 4, "n_shared_experts": 2, "shared_scale": 0.5, "expert_scale": True, "branch_norms": True}
    module = ExpertFeedForward(make_config(norm=norm, feed_forward=fields))
    randomized(module)
    x, residual = torch.randn(2, 3, 16), torch.randn(2, 3, 16)
    flat = residual.flatten(0, 1)
    assert module.shared_experts is not None
    with torch.no_grad():
        chosen, weights = module.router.route(module.router_norm(flat) / 16**0.5)
        routed = module.experts(module.expert_norm(flat), chosen, weights)
        expected = 0.5 * module.post_shared_norm(module.shared_experts(x))
        expected = expected + module.post_expert_norm(routed).view_as(x)
        torch.testing.assert_close(module(x, residual), expected)


def make_router(make_config: Make, scores: list[float], **fields: Any) -> tuple[Router, Tensor]:
    """Return a router that gives a certain vector these scores."""
    router = Router(make_config(feed_forward={"n_experts": len(scores), **fields})).to_empty(device="cpu")
    x = torch.zeros(1, 16)
    x[0, 0] = 1.0
    with torch.no_grad():
        router.weight.zero_()
        router.weight[:, 0] = torch.tensor(scores)
    router.fill()
    return router, x


def chosen(router: Router, x: Tensor) -> dict[int, float]:
    with torch.no_grad():
        ids, weights = router.route(x)
    return {int(i): float(w) for i, w in zip(ids[0], weights[0], strict=True)}


SCORES = [1.0, 3.0, 2.0, 0.0]


def test_softmax_over_selected_experts(make_config: Make) -> None:
    found = chosen(*make_router(make_config, SCORES, router="topk_softmax"))
    expected = torch.tensor([3.0, 2.0]).softmax(0).tolist()
    assert found == pytest.approx({1: expected[0], 2: expected[1]})


def test_softmax_over_all(make_config: Make) -> None:
    expected = torch.tensor(SCORES).softmax(0)
    found = chosen(*make_router(make_config, SCORES, router="softmax", routed_scale=2.5))
    assert found == pytest.approx({1: 2.5 * float(expected[1]), 2: 2.5 * float(expected[2])})
    renormalized = chosen(*make_router(make_config, SCORES, router="softmax", renormalize=True))
    assert renormalized == pytest.approx(chosen(*make_router(make_config, SCORES, router="topk_softmax")))


def test_correction_bias_selects_only(make_config: Make) -> None:
    router, x = make_router(make_config, SCORES, router="sigmoid", score_correction=True)
    assert set(chosen(router, x)) == {1, 2}
    assert router.score_correction is not None
    router.score_correction[3] = 1.0
    sigmoid = torch.tensor(SCORES).sigmoid()
    assert chosen(router, x) == pytest.approx({3: float(sigmoid[3]), 1: float(sigmoid[1])})


def test_correction_of_logits(make_config: Make) -> None:
    """1.5 raises the lowest sigmoid score above the highest, but its logit only above the third."""
    fields = {"router": "sigmoid", "score_correction": True}
    for corrects_logits, selected in ((False, {3, 1}), (True, {1, 2})):
        router, x = make_router(make_config, SCORES, correct_logits=corrects_logits, **fields)
        assert router.score_correction is not None
        router.score_correction[3] = 1.5
        found = chosen(router, x)
        assert found == pytest.approx({i: float(torch.tensor(SCORES[i]).sigmoid()) for i in selected})


def test_sparsemixer(make_config: Make) -> None:
    """Logit 2 is similar to 3, a third higher; once 3 is selected, no other is similar to 2."""
    found = chosen(*make_router(make_config, SCORES, router="sparsemixer", router_jitter=0.2))
    assert found == pytest.approx({1: float(torch.tensor([3.0, 2.0]).softmax(0)[0]), 2: 1.0})
    everything = chosen(*make_router(make_config, SCORES, router="sparsemixer", router_jitter=10.0, routed_scale=2.0))
    first = float(torch.tensor(SCORES).softmax(0)[1])
    second = float(torch.tensor([1.0, 2.0, 0.0]).softmax(0)[1])
    assert everything == pytest.approx({1: 2 * first, 2: 2 * second})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_correction_bias_stays_float32(make_config: Make, dtype: torch.dtype) -> None:
    router, _ = make_router(make_config, SCORES, router="sigmoid", score_correction=True)
    assert router.score_correction is not None
    router.score_correction.copy_(torch.tensor([0.1, 1 / 3, -2e-9, 7.0]))
    before = router.score_correction.clone()
    router.to(dtype)
    assert router.weight.dtype == dtype
    assert torch.equal(router.score_correction, before)
    choices, weights = router.route(torch.ones(1, router.in_features, dtype=dtype))
    assert (choices.shape, weights.dtype) == ((1, router.top_k), dtype)
    router.to("meta", torch.float16)
    assert (router.score_correction.dtype, router.score_correction.is_meta) == (torch.float32, True)
    router.to_empty(device="cpu").to(dtype)
    assert (router.score_correction.dtype, router.score_correction.is_meta) == (torch.float32, False)


def test_expert_groups(make_config: Make) -> None:
    scores = [4.0, -9.0, -10.0, 3.0, 3.0, -10.0]
    by_best = {"n_groups": 2, "top_k_groups": 1, "top_k": 2}
    assert set(chosen(*make_router(make_config, scores, router="softmax", **by_best))) == {0, 1}
    assert set(chosen(*make_router(make_config, scores, router="sigmoid", **by_best))) == {3, 4}


def test_zero_other_groups(make_config: Make) -> None:
    """An expert of another group, whose score is 0, is selected before one whose corrected score is negative."""
    groups = {"router": "sigmoid", "n_groups": 2, "top_k_groups": 1, "top_k": 2, "score_correction": True}
    scores, correction = [3.0, 0.0, -9.0, -9.0], torch.tensor([0.0, -0.9, 0.0, 0.0])
    for zeroes, others in ((False, {1}), (True, {2, 3})):
        router, x = make_router(make_config, scores, **groups, zero_other_groups=zeroes)
        assert router.score_correction is not None
        router.score_correction.copy_(correction)
        first, *rest = chosen(router, x)
        assert first == 0
        assert set(rest) <= others


def test_clamp_of_routed_experts(make_config: Make, randomized: Randomize) -> None:
    """Both projections are clamped, the gate from above only; shared experts are not."""
    fields = {"n_shared_experts": 1, "top_k": 1, "expert_clamp": 0.05, "bias": False}
    module = make_experts(make_config, randomized, **fields)
    x = torch.randn(1, 3, 16)
    assert module.shared_experts is not None
    assert module.experts.gate_proj is not None
    expected = module.shared_experts(x)
    indices, weights = module.router.route(x[0])
    for token, (index, weight) in enumerate(zip(indices[:, 0].tolist(), weights[:, 0], strict=True)):
        gate = (module.experts.gate_proj.weight[index] @ x[0, token]).clamp(max=0.05)
        up = (module.experts.up_proj.weight[index] @ x[0, token]).clamp(-0.05, 0.05)
        expected[0, token] += weight * (module.experts.down_proj.weight[index] @ (functional.silu(gate) * up))
    torch.testing.assert_close(module(x, x), expected)


def test_experts_on_meta(make_config: Make) -> None:
    config = make_config(feed_forward={"n_experts": 4, "gated": True})
    x = torch.empty(2, 3, 16, device="meta")
    assert ExpertFeedForward(config)(x, x).shape == (2, 3, 16)


class _Large(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it so
    """Keeps the storages of the tensors of at least ``elements`` that operations make."""

    def __init__(self, elements: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = elements
        self.storages: list[torch.UntypedStorage] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.numel() >= self.elements:
            self.storages.append(out.untyped_storage())
        return out


@pytest.mark.parametrize("n_experts", [4, 32])
def test_expert_gradients_stacked_once(n_experts: int, make_config: Make, randomized: Randomize) -> None:
    """The gradient of one expert is as large as the stack where it is a slice of it."""
    module = make_experts(make_config, randomized, n_experts=n_experts)
    x = torch.randn(1, 64, 16)
    loss = module(x, x).square().sum()
    with _Large(module.experts.up_proj.weight.numel()) as made:
        loss.backward()
    assert len({storage.data_ptr() for storage in made.storages}) == 3
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_idle_expert_gradient(make_config: Make, randomized: Randomize) -> None:
    module = make_experts(make_config, randomized, n_experts=32, top_k=1)
    x = torch.randn(1, 3, 16)
    module(x, x).square().sum().backward()
    gradient = module.experts.down_proj.weight.grad
    assert gradient is not None
    assert sum(bool(one.any()) for one in gradient) in (1, 2, 3)


@pytest.mark.parametrize("router", ["softmax", "topk_softmax", "sparsemixer"])
def test_factors_of_experts(make_config: Make, router: str) -> None:
    """They multiply the weights of their experts, and change nothing in the selection."""
    plain = chosen(*make_router(make_config, SCORES, router=router, routed_scale=2.0))
    module, x = make_router(make_config, SCORES, router=router, routed_scale=2.0, expert_scale=True)
    assert module.expert_scale is not None
    with torch.no_grad():
        module.expert_scale.copy_(torch.tensor([9.0, 0.5, -3.0, 9.0]))
    expected = {expert: weight * {1: 0.5, 2: -3.0}[expert] for expert, weight in plain.items()}
    assert chosen(module, x) == pytest.approx(expected)


@pytest.mark.parametrize("weights_input", [False, True])
def test_zero_computation_experts(make_config: Make, randomized: Randomize, weights_input: bool) -> None:
    """They add the input, times their weight."""
    module = make_experts(
        make_config, randomized, n_zero_experts=3, router="softmax", router_weight_on_input=weights_input
    )
    assert module.router.weight.shape == (7, 16)
    assert module.experts.up_proj.weight.shape[0] == 4
    x = torch.randn(1, 60, 16, generator=torch.Generator().manual_seed(0))
    found = module(x, x)[0]
    indices, weights = module.router.route(x[0])
    assert 0 < int((indices >= 4).sum()) < indices.numel()
    for token, (selected, shares) in enumerate(zip(indices.tolist(), weights, strict=True)):
        vector = x[0, token]
        parts = [
            weighted_expert(module, expert, vector, share, make_config) if expert < 4 else share * vector
            for expert, share in zip(selected, shares, strict=True)
        ]
        torch.testing.assert_close(found[token], torch.stack(parts).sum(0), rtol=1e-5, atol=1e-5)


def test_shortcut(make_config: Make, randomized: Randomize) -> None:
    """The routed experts are stored, and the shared ones returned."""
    module = make_experts(make_config, randomized, n_shared_experts=1)
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    whole, shortcut = module(x, x), Shortcut()
    module.has_shortcut = True
    shared = module(x, x, shortcut)
    routed = shortcut.take()
    assert routed is not None
    assert shortcut.take() is None
    torch.testing.assert_close(shared + routed, whole)


def test_next_layer_adds_the_experts(make_config: Make, randomized: Randomize) -> None:
    """Without a mixer and a network in the next layer, the order of the additions makes no difference."""
    networks = {"n_experts": 4, "n_shared_experts": 1}
    empty = {"block": {"mixer": "short_conv", "feed_forward": False}}
    outputs = []
    for is_deferred in (False, True):
        kinds = {"one": {"feed_forward": {"shortcut": is_deferred}}, "other": empty}
        config = make_config(
            n_layers=2,
            block={"mixer": "none", "residual_multiplier": 0.5},
            feed_forward=networks,
            layers={"pattern": "one, other", "kinds": kinds},
        )
        model = TinyTransformerLM.from_config(config).eval()
        randomized(model)
        with torch.no_grad():
            model.get_parameter("blocks.1.short_conv.out_proj.weight").zero_()
            outputs.append(model(torch.arange(8)[None]))
    torch.testing.assert_close(outputs[1], outputs[0])
