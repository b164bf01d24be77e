"""What is offered where memory is short is enough, and nothing less is."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.architectures import small_configs
from tinylm_cli.analysis.estimate import Request, inference_need, training_need
from tinylm_cli.analysis.quantization import QuantizationConfig
from tinylm_cli.analysis.remedies import Need, inference_remedies, training_remedies
from tinylm_cli.cli.plan_option import read_layout
from tinylm_cli.config.hardware import CONTEXT_BYTES, Accelerator, load_hardware
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.reports.plan import Layout, ZeroStage

H100 = load_hardware("h100")

FIELDS = {
    "--recompute": "recompute",
    "--optimizer": "optimizer",
    "--quantize": "rounding",
    "--batch-size": "batch_size",
    "--seq-len": "seq_len",
    "--gpus": "gpus",
    "--gpu": "accelerator",
    "--plan": "layout",
}


def changes(options: str, gpus: int, accelerators: dict[str, Accelerator]) -> dict[str, Any]:
    """Return the fields of a request that options stand for."""
    words = options.split()
    found: dict[str, Any] = {FIELDS[option]: value for option, value in zip(words[::2], words[1::2], strict=True)}
    found |= {field: int(value) for field, value in found.items() if value.isdigit()}
    if "accelerator" in found:
        found["accelerator"] = accelerators[found["accelerator"]]
    if "rounding" in found:
        found["rounding"] = QuantizationConfig(found["rounding"])
    if "layout" in found:
        named = found["layout"] != "auto"
        found["layout"] = read_layout(found["layout"], found.get("gpus", gpus), None, None) if named else None
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
def test_each_is_enough_and_no_part_of_it_is(
    config: ModelConfig, batch_size: int, gpus: int, zero: ZeroStage | None, short: float, trains: bool
) -> None:
    need = partial(training_need if trains else inference_need, config)
    layout = Layout(data=gpus, zero=zero) if zero is not None and gpus > 1 else None
    asked = Request(batch_size, 12, accelerator=H100, gpus=gpus, layout=layout)
    memory = max(int(need(asked) * short), 1)
    larger = [small_gpu(int(memory * times), f"times-{times}") for times in (1.5, 4, 2)]
    asked = asked._replace(accelerator=small_gpu(memory), accelerators=tuple(larger))

    def fits(changed: Request) -> bool:
        assert changed.accelerator is not None
        return need(changed) <= changed.accelerator.capacity_bytes

    assert not fits(asked)
    for remedy in (training_remedies if trains else inference_remedies)(asked, need):
        change = changes(remedy.options, gpus, {each.name: each for each in larger})
        assert fits(asked._replace(**change)), remedy.options
        assert remedy.needed_bytes == need(asked._replace(**change)) <= remedy.capacity_bytes
        for field in change if "gpus" not in change else ():
            fewer = {name: value for name, value in change.items() if name != field}
            assert not fits(asked._replace(**fewer)), (remedy.options, field)
        for field in {"batch_size", "seq_len"} & change.keys():
            more = {**change, field: change[field] + 1}
            assert more[field] == getattr(asked, field) or not fits(asked._replace(**more)), (remedy.options, field)


def needing(state: int) -> Need:
    """Return a need that each change makes less of, beside ``state`` whatever passes through."""

    def need(asked: Request) -> int:
        kept = asked.batch_size * asked.seq_len // (4 if asked.recompute == "full" else 1) // asked.gpus
        left = state // (4 if asked.optimizer == "adamw_8bit" else 1) // asked.gpus
        return kept + left // (2 if asked.rounding.quantization == "int4" else 1)

    return need


def options(asked: Request, *, state: int) -> list[str]:
    return [each.options for each in training_remedies(asked, needing(state))]


ASKED = Request(8, 32, accelerator=small_gpu(100), accelerators=(small_gpu(1000), small_gpu(300)))


def test_the_smallest_change_of_each_kind_comes_first() -> None:
    assert options(ASKED, state=30) == ["--recompute full", "--batch-size 2", "--seq-len 8", "--gpus 4", "--gpu small"]
    assert [each.capacity_bytes for each in training_remedies(ASKED, needing(30))][-1] == 300


def test_changes_are_combined_only_where_one_is_not_enough() -> None:
    both = ["--recompute full --optimizer adamw_8bit", "--optimizer adamw_8bit --batch-size 2"]
    alone = ASKED._replace(accelerators=())
    assert options(alone, state=120) == [*both, "--optimizer adamw_8bit --seq-len 8", "--gpus 4"]
    assert options(alone, state=10**9) == []


def test_what_is_done_already_is_not_offered() -> None:
    done = ASKED._replace(recompute="full", optimizer="sgd", batch_size=1, seq_len=1)
    assert options(done, state=150) == ["--gpus 2", "--gpu small"]


def test_running_is_offered_rounded_weights_and_no_more_gpus() -> None:
    def offered(asked: Request) -> list[str]:
        return [each.options for each in inference_remedies(asked, needing(130))]

    assert offered(ASKED._replace(batch_size=1)) == ["--quantize int4", "--gpu small"]
    rounded = ASKED._replace(rounding=QuantizationConfig("int4"), batch_size=4)
    assert offered(rounded) == ["--batch-size 1", "--seq-len 8", "--gpu small"]


@pytest.mark.parametrize(
    ("pipeline", "zeros"), [(1, ["zero=1", "zero=2", "zero=3"]), (2, ["pp=2,zero=1", "pp=2,zero=2", "pp=2,zero=3"])]
)
def test_replicas_share_more_in_a_pipeline_too(pipeline: int, zeros: list[str]) -> None:
    tried: list[str] = []

    def need(asked: Request) -> int:
        if asked.layout is not None and asked[:2] == ASKED[:2] and asked.gpus == 8 and asked.recompute == "none":
            tried.append(asked.layout.typed)
        return 10**9

    assert list(training_remedies(ASKED._replace(gpus=8, layout=Layout(8 // pipeline, pipeline=pipeline)), need)) == []
    assert [each for each in dict.fromkeys(tried) if "zero" in each] == zeros
