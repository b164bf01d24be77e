"""Every suggested change fits, and no smaller one does."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_configs import small_configs
from tinylm_cli.analysis.estimate import required_serving_bytes, required_training_bytes
from tinylm_cli.analysis.remedies import RequiredBytes, inference_remedies, training_remedies
from tinylm_cli.analysis.setups import UNQUANTIZED, QuantizationConfig, ServingSetup, TrainingSetup
from tinylm_cli.config.hardware import CONTEXT_BYTES, Accelerator, PeakFlops, load_hardware
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.memory_fit import Remedy
from tinylm_cli.reports.plan import Layout, ZeroStage

H100 = load_hardware("h100")


def changed(setup: Any, remedy: Remedy, accelerators: dict[str, Accelerator]) -> dict[str, Any]:
    """Return the fields that a remedy changes, and their values."""
    found: dict[str, Any] = {change.field: change.after for change in remedy.changes}
    if "accelerator" in found:
        found["accelerator"] = accelerators[found["accelerator"]]
    if "quantization" in found:
        found["quantization"] = (setup.quantization or UNQUANTIZED)._replace(method=found["quantization"])
    return found


def small_gpu(capacity_bytes: int, name: str = "small") -> Accelerator:
    """Return a GPU of so little memory that small models do not fit."""
    memory = capacity_bytes + CONTEXT_BYTES
    return H100.model_copy(update={"name": name, "memory_bytes": memory, "usable_memory_bytes": None})


@settings(max_examples=30)
@given(
    config=small_configs(),
    batch_size=st.integers(1, 9),
    gpus=st.sampled_from([1, 2, 4]),
    zero=st.sampled_from([None, 0, 1, 3]),
    short=st.floats(0.1, 0.99),
    trains=st.booleans(),
)
def test_remedies_are_minimal(
    config: ModelConfig, batch_size: int, gpus: int, zero: ZeroStage | None, short: float, trains: bool
) -> None:
    required_bytes: Any = partial(required_training_bytes if trains else required_serving_bytes, config)
    layout = Layout(data=gpus, zero=zero) if zero is not None and gpus > 1 else None
    training = TrainingSetup(batch_size, 12, n_gpus=gpus, layout=layout)
    setup: Any = training if trains else ServingSetup(batch_size, 12)
    memory = max(int(required_bytes(setup, H100) * short), 1)
    small = small_gpu(memory)
    larger = [small_gpu(int(memory * times), f"times-{times}") for times in (1.5, 4, 2)]

    def needed(change: dict[str, Any]) -> tuple[int, int]:
        fields = {field: value for field, value in change.items() if field != "accelerator"}
        accelerator = change.get("accelerator", small)
        return required_bytes(setup._replace(**fields), accelerator), accelerator.capacity_bytes

    def fits(change: dict[str, Any]) -> bool:
        needed_bytes, capacity_bytes = needed(change)
        return needed_bytes <= capacity_bytes

    assert not fits({})
    remedies: Any = training_remedies if trains else inference_remedies
    for remedy in remedies(setup, small, required_bytes, larger):
        change = changed(setup, remedy, {each.name: each for each in larger})
        assert fits(change), remedy
        assert (remedy.needed_bytes, remedy.capacity_bytes) == needed(change)
        for field in change if "n_gpus" not in change else ():
            fewer = {name: value for name, value in change.items() if name != field}
            assert not fits(fewer), (remedy, field)
        for field in {"batch_size", "seq_len"} & change.keys():
            more = {**change, field: change[field] + 1}
            assert more[field] == getattr(setup, field) or not fits(more), (remedy, field)


def train_bytes(state: int) -> RequiredBytes:
    """Return a function whose bytes each change reduces: activations, and ``state`` that does not depend on them."""

    def required_bytes(setup: TrainingSetup, _: Accelerator) -> int:
        assert setup.seq_len is not None
        kept = setup.batch_size * setup.seq_len // (4 if setup.recompute == "full" else 1) // setup.n_gpus
        return kept + state // (4 if setup.optimizer == "adamw_8bit" else 1) // setup.n_gpus

    return required_bytes


def serve_bytes(setup: ServingSetup, _: Accelerator) -> int:
    assert setup.seq_len is not None
    return setup.batch_size * setup.seq_len + 130 // (2 if setup.quantization == QuantizationConfig("int4") else 1)


def told(remedies: Iterable[Remedy]) -> list[str]:
    return [" ".join(f"{change.field}={change.after}" for change in each.changes) for each in remedies]


SMALL, LARGER = small_gpu(100), (small_gpu(1000, "thousand"), small_gpu(300, "three-hundred"))
SETUP = TrainingSetup(8, 32)


def test_smallest_change_first() -> None:
    found = list(training_remedies(SETUP, SMALL, train_bytes(30), LARGER))
    assert told(found) == ["recompute=full", "batch_size=2", "seq_len=8", "n_gpus=4", "accelerator=three-hundred"]
    assert found[-1].capacity_bytes == 300
    assert [change.before for each in found for change in each.changes] == ["none", 8, 32, 1, "small"]


def test_larger_gpu_supports_the_dtype() -> None:
    """The smallest that is large enough is passed over if it has no peak in bfloat16."""
    peaks = PeakFlops(float32=10**12)
    unable = small_gpu(290, "no-bfloat16").model_copy(update={"peak_flops_per_second": peaks})
    found = told(training_remedies(SETUP, SMALL, train_bytes(30), (unable, *LARGER)))
    assert found[-1] == "accelerator=three-hundred"
    wide = SETUP._replace(dtype="float32", batch_size=4)
    assert told(training_remedies(wide, SMALL, train_bytes(30), (unable, *LARGER)))[-1] == "accelerator=no-bfloat16"


def test_combined_only_where_needed() -> None:
    both = ["recompute=full optimizer=adamw_8bit", "optimizer=adamw_8bit batch_size=2"]
    found = training_remedies(SETUP, SMALL, train_bytes(120))
    assert told(found) == [*both, "optimizer=adamw_8bit seq_len=8", "n_gpus=4"]
    assert told(training_remedies(SETUP, SMALL, train_bytes(10**9))) == []


def test_searches_are_counted() -> None:
    """A smaller batch takes several searches for a layout: it is not looked for if too few are left."""
    found = {
        most: told(training_remedies(SETUP._replace(n_gpus=2), SMALL, train_bytes(30), LARGER, max_searches=most))
        for most in (0, 2, 6, 12, 30)
    }
    more = ["n_gpus=4", "accelerator=three-hundred"]
    assert found[30] == ["recompute=full", "batch_size=5", "seq_len=21", *more]
    assert found[12] == ["recompute=full", "batch_size=5", *more]
    assert found[6] == ["recompute=full", *more]
    assert (found[2], found[0]) == (["recompute=full"], [])


def test_no_change_already_in_effect() -> None:
    done = SETUP._replace(recompute="full", optimizer="sgd", batch_size=1, seq_len=1)
    assert told(training_remedies(done, SMALL, train_bytes(150), LARGER)) == ["n_gpus=2", "accelerator=three-hundred"]


def test_serving() -> None:
    one = ServingSetup(1, 32)
    assert told(inference_remedies(one, SMALL, serve_bytes, LARGER)) == [
        "quantization=int4",
        "accelerator=three-hundred",
    ]
    quantized = ServingSetup(4, 32, quantization=QuantizationConfig("int4"))
    assert told(inference_remedies(quantized, SMALL, serve_bytes, LARGER)) == [
        "batch_size=1",
        "seq_len=8",
        "accelerator=three-hundred",
    ]


@pytest.mark.parametrize(
    ("pipeline", "zeros"), [(1, ["zero=1", "zero=2", "zero=3"]), (2, ["pp=2,zero=1", "pp=2,zero=2", "pp=2,zero=3"])]
)
def test_zero_stages_with_a_pipeline(pipeline: int, zeros: list[str]) -> None:
    tried: list[str] = []

    setup = SETUP._replace(n_gpus=8, layout=Layout(8 // pipeline, pipeline=pipeline))

    def required_bytes(changed: TrainingSetup, _: Accelerator) -> int:
        if changed.layout is not None and changed._replace(layout=None) == setup._replace(layout=None):
            tried.append(changed.layout.spec)
        return 10**9

    assert list(training_remedies(setup, SMALL, required_bytes)) == []
    assert [each for each in dict.fromkeys(tried) if "zero" in each] == zeros
