"""Memory of a GPU of one pipeline stage, compared with hand-computed values."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.parallel.stage_memory import memory_groups, stage_memory
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.choices import AttentionKernel, Recompute
from tinylm_cli.reports.plan import Layout

LLAMA, GEMMA = load_config("llama-3-8b").config, load_config("gemma-2-2b").config
TOKENS = 2048
STREAM = 2 * 4096
LAYER = 6 * STREAM + 2 * 2 * 1024 + 4 * 32 + 2 * 4 + 4 * 2 * 14336
"""Bytes that one token leaves in a layer: six vectors (its input, after either norm, between, queries, their mixture),
keys and values, a number for each head, two statistics, and four of the hidden layer."""


def held(job: tuple[ModelConfig, TrainingSetup], layout: Layout, stage: int) -> dict[str, int]:
    return {part.name: part.part_bytes for part in stage_memory(*job, layout, stage).parts}


@pytest.mark.parametrize("tensor", [1, 8])
@pytest.mark.parametrize(("recompute", "again"), [("none", 0), ("full", LAYER - STREAM)])
def test_middle_stage(tensor: int, recompute: Recompute, again: int) -> None:
    """The recomputed layer, and the gradients of the residual stream and of the two factors of the hidden layer."""
    job = (LLAMA, TrainingSetup(1, TOKENS, recompute=recompute))
    for stage in range(3):
        working = held(job, Layout(tensor=tensor, pipeline=4, micro_batches=4), stage)["working memory"]
        assert working == TOKENS * (again + STREAM + 2 * 2 * 14336) // tensor


def test_last_stage() -> None:
    """Two float32 copies of the gradient of the logits, in addition to the saved tensors."""
    job = (LLAMA, TrainingSetup(1, TOKENS))
    assert held(job, Layout(pipeline=4), 3)["working memory"] == 2 * 4 * TOKENS * 128256


@pytest.mark.parametrize("ways", [1, 2, 4, 8])
def test_experts(ways: int) -> None:
    """Mixtral: the gradients of the local experts are concatenated after their saved tensors are freed.

    Per token and selected expert, they saved the input, the output, the weighted output, and four hidden vectors. The
    gradients of the residual stream and of the routed input are held as well.
    """
    job = (load_config("mixtral-8x7b").config, TrainingSetup(1, 64))
    found = held(job, Layout(data=8, expert=ways, pipeline=2, micro_batches=2), 0)["working memory"]
    kept = 64 * 2 * (3 * STREAM + 4 * 2 * 14336)
    assert found == 2 * (8 // ways) * 4096 * 14336 + 2 * 64 * STREAM - kept


@pytest.mark.parametrize("name", ["llama-3-8b", "gemma-2-2b", "gpt-oss-20b"])
@pytest.mark.parametrize("kernel", ["flash", "math"])
def test_context_parallelism(name: str, kernel: AttentionKernel) -> None:
    """With a quarter of the queries, the scores with all keys and the other tensors are a quarter, too."""
    job = (load_config(name).config, TrainingSetup(1, 8192, attention_kernel=kernel))
    whole, quarter = (held(job, Layout(pipeline=2, context=context), 0) for context in (1, 4))
    assert whole["activations"] == pytest.approx(4 * quarter["activations"], rel=1e-4), "but for norms' weights"
    if job[0].feed_forward.n_experts is None:  # the gradient of a stack is not of a sequence
        assert whole["working memory"] == pytest.approx(4 * quarter["working memory"], rel=1e-4)


@pytest.mark.parametrize("tensor", [1, 2])
@pytest.mark.parametrize("recompute", ["none", "full"])
def test_shared_keys_and_values(tensor: int, recompute: Recompute) -> None:
    """A stage holds what its own layers share: until the last reader's gradient, or all along if it is kept."""
    kinds = ["layers.kinds={a: {}, b: {attention: {kv_from: a}}}", "layers.pattern='a, b, b'"]
    setup = TrainingSetup(1, 64, recompute=recompute)
    shared, alone = (load_config("tiny", ["n_layers=12", *changes]).config for changes in (kinds, []))

    def activations(config: ModelConfig, pipeline: int) -> list[int]:
        layout = Layout(pipeline=pipeline, tensor=tensor, schedule="gpipe")
        return [held((config, setup), layout, stage)["activations"] for stage in range(pipeline)]

    stages = activations(shared, 4)
    assert stages[1] == stages[2]
    assert sum(stages) == activations(shared, 1)[0]
    # a layer that reads keys and values neither projects nor saves them; K and V of B × T × D, in two bytes each
    kept = 2 * 2 * 64 * 128 // tensor
    difference = [of_alone - of_shared for of_alone, of_shared in zip(activations(alone, 4), stages, strict=True)]
    assert difference == [-kept if recompute == "full" else 2 * kept] * 4


@pytest.mark.parametrize("pattern", ["a, b, b, a, a, b", "a, a, b, a, b, b", "a, b"])
def test_stages_of_a_group_need_equal_memory(pattern: str) -> None:
    """Also where keys and values are shared at other places of a stage."""
    kinds = ["layers.kinds={a: {}, b: {attention: {kv_from: a}}}", f"layers.pattern='{pattern}'"]
    config = load_config("tiny", ["n_layers=48", *kinds]).config
    setup, layout = TrainingSetup(1, 512, recompute="full"), Layout(pipeline=8, schedule="gpipe")
    groups = memory_groups(config, setup, layout)
    needed = [sum(held((config, setup), layout, stage).values()) for stage in range(8)]
    assert needed[1:-1] == [needed[1]] * 6
    assert [each.n_stages for each in groups] == [1, 6, 1]


def test_sliding_windows() -> None:
    """Every second layer of Gemma 2 sees 4,096 positions of 8,192, and all see the whole of 1,024."""

    def layers(seq_len: int, context: int) -> dict[str, int]:
        found = activation_bytes(GEMMA, TrainingSetup(seq_len=seq_len), context=context).layers
        return {each.name: each.count for each in found}

    assert layers(8192, 8) == {"layers, window 4096": 13, "layers, full attention": 13}
    assert layers(1024, 1) == {"layers": 26}
