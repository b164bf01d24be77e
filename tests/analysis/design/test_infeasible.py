"""Which constraints fail, the nearest models, and what to relax."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinylm_cli.analysis.design.constraints import DECODE_RATE, at_most, decodes_at_least, fits, within
from tinylm_cli.analysis.design.families import FAMILIES
from tinylm_cli.analysis.design.find_designs import DesignRequest, find_designs
from tinylm_cli.analysis.design.infeasible import find_failures, find_relaxations
from tinylm_cli.analysis.design.measures import DECODE_SECONDS
from tinylm_cli.analysis.design.ranking import Candidate
from tinylm_cli.analysis.design.search import SearchTooLargeError, search
from tinylm_cli.analysis.design.search_space import GRID, Grid, SearchSpace, node_layout
from tinylm_cli.analysis.setups import Setups, TrainingSetup
from tinylm_cli.config.hardware import load_accelerators, load_hardware
from tinylm_cli.reports.choices import Purpose
from tinylm_cli.reports.constraint import Constraint, Sizes
from tinylm_cli.reports.design import DesignReport


@cache  # the space keeps the closed forms of its figures
def space_of(family: str) -> SearchSpace:
    template = FAMILIES[family]
    return SearchSpace(template, template.config.vocab_size, template.config.max_len, template.config.tie_weights)


def found(family: str, *constraints: Constraint, **changes: Any) -> DesignReport:
    space = space_of(family)
    return find_designs(DesignRequest(replace(space, **changes) if changes else space, constraints, top=1))


def test_progress() -> None:
    stages: dict[str, list[int]] = {}
    constraints = (within("total_params", 10**15, 0.02), at_most("kv_cache_bytes", 2**40))
    find_designs(
        DesignRequest(space_of("course"), constraints), lambda stage, done, _: stages.setdefault(stage, []).append(done)
    )
    nearest = "comparing total_params"
    assert list(stages) == ["searching", "checking total_params", nearest, "trying relaxation 1"]
    assert all(done == sorted(done) for stage, done in stages.items() if stage != nearest)


def test_size_beyond_the_grid() -> None:
    report = found("course", within("total_params", 10**15, 0.02), at_most("kv_cache_bytes", 2**40))
    assert (report.designs, report.matches, report.pareto_front) == ((), 0, 0)
    (failure,) = report.failures
    assert failure.alone
    largest = failure.sizes
    assert (largest.d_model, largest.n_layers, largest.d_ff) == (16384, 128, 5 * 16384)


def test_bound_below_the_smallest() -> None:
    report = found("course", at_most("kv_cache_bytes", 2))
    (failure,) = report.failures
    assert failure.alone
    assert failure.nearest == 2 * 2 * 128 * 1024 * 2


def test_nearest_is_exact() -> None:
    bounds = at_most("kv_cache_bytes", 2**26), at_most("weights_bytes", 2**40)
    target = within("total_params", 8 * 10**9, 0.02)
    report = found("llama", target, *bounds)
    size, cache = report.failures
    assert not size.alone
    assert not cache.alone
    assert (size.constraint.figure, cache.constraint.figure) == ("total_params", "kv_cache_bytes")
    assert found("llama", within("total_params", size.nearest, 0.0), *bounds).matches
    assert not found("llama", within("total_params", size.nearest + 1, 0.0), *bounds).matches
    assert found("llama", target, at_most("kv_cache_bytes", cache.nearest)).matches
    assert not found("llama", target, at_most("kv_cache_bytes", cache.nearest - 1)).matches


NARROW = replace(
    space_of("llama"),
    grid=Grid(d_models=(range(64, 257, 64),), n_layers=range(1, 5), aspects=None, d_heads=(32,)),
    accelerator=load_hardware("l4"),
)
BOUNDED = ("kv_cache_bytes", "weights_bytes", "forward_flops_per_token")
TARGETED = ("total_params", "active_params")


def narrow_models() -> dict[Sizes, dict[str, float]]:
    """Return the figures of every model of ``NARROW``."""
    names = [*TARGETED, *BOUNDED, DECODE_SECONDS]
    models: dict[Sizes, dict[str, float]] = {}
    for each in search(NARROW, [], names):
        for n_layers in each.depths:
            figures = {name: float(form.at(n_layers)) for name, form in zip(names, each.forms, strict=True)}
            figures[DECODE_RATE] = NARROW.serving.batch_size / figures[DECODE_SECONDS]
            models[each.shape.sizes(n_layers)] = figures
    return models


MODELS = narrow_models()


@st.composite
def mixed(draw: st.DrawFn) -> list[Constraint]:
    """Draw targets, upper bounds and a throughput in any order, each at, just above or just below a model's figure."""
    constraints = {}
    names = st.lists(st.sampled_from([*TARGETED, *BOUNDED, DECODE_RATE]), min_size=1, max_size=4, unique=True)
    for name in draw(names):
        value = draw(st.sampled_from(list(MODELS.values())))[name]
        if name == DECODE_RATE:
            constraints[name] = decodes_at_least(value * draw(st.sampled_from([0.99, 1.0, 1.01])))
        elif name in TARGETED:
            constraints[name] = within(name, value + draw(st.integers(-1, 1)), draw(st.sampled_from([0.0, 0.02])))
        else:
            constraints[name] = at_most(name, value + draw(st.integers(-1, 1)))
    return list(constraints.values())


@given(mixed())
@settings(max_examples=60)
def test_mixed_constraints(constraints: list[Constraint]) -> None:
    """The failures are those that a loop over all models finds, one constraint at a time."""
    targets = [each for each in constraints if each.is_target]
    bounds = [each for each in constraints if not each.is_target]
    alone = [each for each in (*targets, *bounds) if not any(holds(each, sizes) for sizes in MODELS)]
    expected = {}
    for each in alone or (*targets, *bounds):
        others = [other for other in constraints if other is not each] if each.is_target or not targets else targets
        beside = [sizes for sizes in MODELS if alone or all(holds(other, sizes) for other in others)]
        if beside and not any(holds(each, sizes) for sizes in beside):
            expected[each] = min(miss(each, sizes) for sizes in beside)
    failures = find_failures(NARROW, constraints)
    assert [each.constraint for each in failures] == list(expected)
    for failure in failures:
        constraint = failure.constraint
        assert failure.alone == bool(alone)
        assert MODELS[failure.sizes][constraint.figure] == failure.nearest
        assert miss(constraint, failure.sizes) == expected[constraint]


def holds(constraint: Constraint, sizes: Sizes) -> bool:
    return miss(constraint, sizes) == 0


def miss(constraint: Constraint, sizes: Sizes) -> float:
    return constraint.distance(MODELS[sizes][constraint.figure])


class TestRelaxations:
    @pytest.mark.parametrize(
        ("family", "constraints"),
        [
            ("course", (within("total_params", 500_000, 0.02),)),
            ("gpt2", (within("total_params", 3 * 10**6, 0.02),)),
            ("llama", (within("total_params", 8 * 10**9, 0.02), at_most("kv_cache_bytes", 2**26))),
            ("course", (at_most("kv_cache_bytes", 2), at_most("weights_bytes", 3))),
        ],
    )
    def test_each_relaxation_admits_a_model(self, family: str, constraints: tuple[Constraint, ...]) -> None:
        report = found(family, *constraints)
        assert report.relaxations
        for relaxation in report.relaxations:
            changes = dict(relaxation.changes)
            space: dict[str, Any] = {}
            if "vocab_size" in changes:
                space["vocab_size"] = changes.pop("vocab_size")
            if "d_model" in changes:
                first, rest = str(changes.pop("d_model")).split("..")
                last, step = rest.split(":")
                shallow, deep = str(changes.pop("n_layers")).split("..")
                space["grid"] = replace(
                    GRID,
                    d_models=(range(int(first), int(last) + 1, int(step)),),
                    n_layers=range(int(shallow), int(deep) + 1),
                    aspects=None,
                    d_heads=tuple(map(int, str(changes.pop("d_head")).split(","))),
                )
            if "tie_weights" in changes:
                space["tie_weights"] = changes.pop("tie_weights")
            relaxed = tuple(replace(each, value=float(changes.pop(each.figure, each.value))) for each in constraints)
            assert not changes
            again = found(family, *relaxed, **space)
            assert again.matches == relaxation.matches > 0
            assert again.designs[0].sizes == relaxation.sizes
            assert again.designs[0].figures["total_params"] == relaxation.total_params

    def test_half_a_million(self) -> None:
        """Every model of the grid is larger than 500K; a smaller vocabulary admits some."""
        report = found("course", within("total_params", 500_000, 0.02))
        (failure,) = report.failures
        assert failure.nearest == 10_000 * 128 + 2 * (4 * 128 * 128 + 2 * 128 * 384) + _biases_and_norms(128, 384)
        size, vocabulary, *_ = report.relaxations
        assert set(size.changes) == {"total_params"}
        assert set(vocabulary.changes) == {"vocab_size"}
        assert abs(vocabulary.total_params / 500_000 - 1) <= 0.02
        larger = 2 * int(vocabulary.changes["vocab_size"])
        assert larger < 10_000
        assert not found("course", within("total_params", 500_000, 0.02), vocab_size=larger).matches

    @pytest.mark.parametrize(
        ("params", "d_model", "d_head"),
        [
            (900_000, "64..128:64", "32,64"),
            (500_000, "32..128:32", "16,32"),
            (170_000, "16..128:16", "16"),
        ],
    )
    def test_narrower_models(self, params: int, d_model: str, d_head: str) -> None:
        """The coarsest of the narrower grids that has a model is proposed."""
        report = found("course", within("total_params", params, 0.02))
        (grid,) = [each.changes for each in report.relaxations if "d_model" in each.changes]
        assert grid == {"d_model": d_model, "d_head": d_head, "n_layers": "2..16"}

    def test_short_of_gpu_memory(self) -> None:
        """A limit cannot raise the memory of a GPU; recomputation lowers the need, and a larger GPU has more."""
        l4, others = load_hardware("l4"), tuple(load_accelerators(None).values())
        target = within("total_params", 12 * 10**8, 0.02)
        setups = Setups.of(batch_size=8)
        space = replace(space_of("course"), setups=setups, accelerator=l4)
        request = DesignRequest(space, (target, fits(l4, "training")), purpose="training", accelerators=others)
        report = find_designs(request)
        changes = [each.changes for each in report.relaxations]
        assert {"train_bytes_per_gpu"} not in [each.keys() for each in changes]
        assert {"recompute": "full"} in changes
        (larger,) = [str(each["accelerator"]) for each in changes if "accelerator" in each]
        for name, found in ((larger, True), ("l4", False)):
            gpu = load_hardware(name)
            again = request._replace(space=replace(space, accelerator=gpu), constraints=(target, fits(gpu, "training")))
            assert bool(find_designs(again).matches) == found
        recomputed = replace(space, setups=setups.changed(recompute="full"))
        assert find_designs(request._replace(space=recomputed)).matches

    @pytest.mark.parametrize("purpose", ["training", "serving"])
    def test_shorter_sequences(self, purpose: Purpose) -> None:
        """The longest power of two for which a model fits on the GPU; twice as many tokens are too many."""
        gpu, target = load_hardware("rtx-4090"), within("total_params", 10**9, 0.02)
        setups = Setups.of(batch_size=1 if purpose == "training" else 64)
        space = replace(space_of("llama"), max_len=2**17, setups=setups, accelerator=gpu)
        request = DesignRequest(space, (target, fits(gpu, purpose)), purpose=purpose)
        changes = [each.changes for each in find_designs(request).relaxations]
        (seq_len,) = [each["seq_len"] for each in changes if "seq_len" in each]
        assert isinstance(seq_len, int)
        for length, matches in ((seq_len, True), (2 * seq_len, False)):
            shorter = replace(space, setups=setups.changed(seq_len=length))
            assert bool(find_designs(request._replace(space=shorter)).matches) == matches

    @pytest.mark.parametrize("undecided", [(256,), (2**13, 2**14), tuple(2**power for power in range(8, 17))])
    def test_too_large_a_search(self, undecided: tuple[int, ...]) -> None:
        """A relaxation that cannot be searched is not proposed; the others are."""
        space, constraints, report = _too_long_for_a_gpu()
        names = [set(each.changes) for each in report.relaxations]
        assert {"seq_len"} in names

        def match(tried: SearchSpace, constraints: Sequence[Constraint]) -> Iterator[Candidate]:
            if tried.seq_len in undecided:
                raise SearchTooLargeError("too many models")
            for found in search(tried, constraints):
                yield Candidate(found.shape, found.depths[0], {"total_params": 1}, 0.0)

        left = find_relaxations(space, constraints, report.failures, match)
        assert [set(each.changes) for each in left] == [each for each in names if each != {"seq_len"}]

    def test_more_gpus(self) -> None:
        """The smallest number of GPUs, by doublings, and ZeRO 3; one GPU has no replicas to shard over."""
        gpu, target = load_hardware("h100-sxm"), within("total_params", 7 * 10**10, 0.02)
        for n_gpus, zero_3 in ((1, False), (16, True)):
            layout = node_layout(n_gpus, FAMILIES["llama"], gpu) if n_gpus > 1 else None
            training = TrainingSetup(n_gpus=n_gpus, layout=layout, derives_micro_batches=True)
            setups = Setups(training).changed(seq_len=8192, recompute="full")
            space = replace(space_of("llama"), setups=setups, accelerator=gpu)
            request = DesignRequest(space, (target, fits(gpu, "training")), purpose="training")
            report = find_designs(request)
            changes = {name: value for each in report.relaxations for name, value in each.changes.items()}
            assert ("plan" in changes) == zero_3
            assert isinstance(changes["gpus"], int)
            for number, matches in ((changes["gpus"], True), (changes["gpus"] // 2, False)):
                more = space.setups.changed(n_gpus=number, layout=node_layout(number, space.family, gpu))
                assert bool(find_designs(request._replace(space=replace(space, setups=more))).matches) == matches

    def test_one_at_a_time(self) -> None:
        """All failing constraints change together only where no single change is enough."""
        report = found("llama", within("total_params", 8 * 10**9, 0.02), at_most("kv_cache_bytes", 2**26))
        alone = [each for each in report.relaxations if len(each.changes) == 1]
        assert {name for each in alone for name in each.changes} >= {"total_params", "kv_cache_bytes"}
        together = found("course", at_most("kv_cache_bytes", 2), at_most("weights_bytes", 3)).relaxations
        assert set(together[0].changes) == {"kv_cache_bytes", "weights_bytes"}


@cache
def _too_long_for_a_gpu() -> tuple[SearchSpace, tuple[Constraint, ...], DesignReport]:
    """Return a search that no model matches, because the sequences are too long for the GPU."""
    gpu, target = load_hardware("rtx-4090"), within("total_params", 10**9, 0.02)
    space = replace(space_of("llama"), max_len=2**17, accelerator=gpu)
    constraints = (target, fits(gpu, "training"))
    return space, constraints, find_designs(DesignRequest(space, constraints, purpose="training"))


def _biases_and_norms(d_model: int, d_ff: int) -> int:
    """Return the parameters of biases and norms, in two course layers and the final norm."""
    norm = 2 * d_model
    return 2 * (4 * d_model + d_ff + d_model + 2 * norm) + norm
