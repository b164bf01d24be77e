"""Layouts that divide a model evenly, and the layouts of a search."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.accelerators import make_accelerator
from tinylm_cli.analysis.parallel.layouts import global_batch_size, layout_mismatches, layouts, with_micro_batches
from tinylm_cli.analysis.parallel.plan import plans
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.errors import AnalysisError
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.plan import Layout

NODE = make_accelerator()
LLAMA, SETUP = load_config("llama-3-8b").config, TrainingSetup(1, 2048)


def test_every_factorization() -> None:
    tried = [
        (each.data, each.tensor, each.pipeline, each.context, each.zero)
        for each in layouts(LLAMA, SETUP._replace(n_gpus=16, global_batch_size=64), 8)
    ]
    ways = [1, 2, 4, 8, 16]
    assert len(tried) == len(set(tried))
    assert set(tried) == {
        (d, t, p, c, zero)
        for d in ways for t in ways for p in ways for c in ways for zero in ((0, 1, 2, 3) if d * c > 1 else (0,))
        if d * t * p * c == 16 and t <= 8
    }  # fmt: skip


def test_same_global_batch() -> None:
    found = list(layouts(LLAMA, SETUP._replace(n_gpus=16, global_batch_size=24), 8))
    assert {each.data * each.micro_batches for each in found} == {24}
    assert max(each.data for each in found) == 8, "16 replicas do not share 24 sequences"


@pytest.mark.parametrize(("gpus", "seq_len", "sequences"), [(8, 2048, 2048), (96, 2048, 2112), (4096, 8192, 4096)])
def test_default_global_batch(gpus: int, seq_len: int, sequences: int) -> None:
    found = global_batch_size(LLAMA, SETUP._replace(seq_len=seq_len, n_gpus=gpus))
    assert found == sequences
    assert found % gpus == 0
    assert (found - gpus) * seq_len < 2**22 <= found * seq_len


def test_micro_batches() -> None:
    """The global batch over replicas and sequences per pass, unless the layout states them."""
    setup = SETUP._replace(batch_size=2, n_gpus=8, global_batch_size=48)
    layout = Layout(data=4, tensor=2, micro_batches=5)
    assert with_micro_batches(LLAMA, setup._replace(derives_micro_batches=True), layout).micro_batches == 6
    assert with_micro_batches(LLAMA, setup._replace(derives_micro_batches=False), layout) == layout
    uneven = setup._replace(derives_micro_batches=True, global_batch_size=44)
    with pytest.raises(AnalysisError, match="a global batch of 44 is not a multiple of 4 replicas × 2"):
        with_micro_batches(LLAMA, uneven, layout)


def test_expert_degrees() -> None:
    mixtral = load_config("mixtral-8x7b").config, TrainingSetup(1, 2048, n_gpus=48, global_batch_size=48)
    assert {each.expert for each in layouts(*mixtral, 8)} == {1, 2, 4, 8}


def test_dominated_zero_stage() -> None:
    """ZeRO 1 dominates ZeRO 0: it sends at most as much and holds less. With one micro-batch, ZeRO 2 dominates ZeRO 1.

    With 4 GPUs, gathering GPT-2's embedding needs more memory than ZeRO 3 saves.
    """
    gpt2, setup = load_config("gpt2").config, TrainingSetup(1, 1024, n_gpus=4)
    many = {
        (each.layout.data, each.layout.zero) for each in plans(gpt2, setup, NODE).fitting if each.layout.pipeline == 1
    }
    assert {zero for data, zero in many if data > 1} == {1, 2}
    once = [
        each.layout.zero
        for each in plans(gpt2, setup._replace(global_batch_size=4), NODE).fitting
        if each.layout.data == 4
    ]
    assert once == [2]


@pytest.mark.parametrize("gpus", [720_720, 1_000_000])
def test_many_gpus(gpus: int) -> None:
    """Layouts divide both the model and the number of GPUs, so the model bounds their number."""
    config, setup = load_config("qwen3-30b-a3b").config, TrainingSetup(1, 40960, n_gpus=gpus)
    assert 0 < len(list(layouts(config, setup, 8))) < 10_000


@pytest.mark.parametrize(
    ("layers", "pipeline", "virtual", "even"),
    [(32, 8, 1, True), (31, 8, 1, True), (30, 8, 1, True), (29, 8, 1, False), (126, 16, 8, True), (6, 7, 1, False),
     (32, 8, 2, True), (32, 8, 3, False)],
)  # fmt: skip
def test_uneven_stages(layers: int, pipeline: int, virtual: int, even: bool) -> None:
    config = load_config("llama-3-8b", [f"n_layers={layers}"]).config
    layout = Layout(pipeline=pipeline, virtual=virtual, micro_batches=pipeline)
    found = [each.field for each in layout_mismatches(config, SETUP, layout)]
    assert (found == []) is even
    assert even or found == ["pipeline"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (("embedding.d_per_layer=8",), "embedding.d_per_layer"),
        (("block.mixer=shared_block_mamba",), "block.shared_block"),
    ],
)
def test_stages_send_hidden_states_only(changes: tuple[str, ...], field: str) -> None:
    """Not the inputs of each layer, keys and values, or embeddings: such models are sharded in other ways."""
    config = load_config("tiny", list(changes)).config
    (found,) = layout_mismatches(config, SETUP._replace(seq_len=64), Layout(pipeline=2))
    assert (found.field, found.config_field) == ("pipeline", field)
    assert f"pipeline parallelism is not supported with {field}" in found.message
    tried = layouts(config, SETUP._replace(seq_len=64, n_gpus=4, global_batch_size=4), 4)
    assert {each.pipeline for each in tried} == {1}


READS = {
    "attention.kv_from": ["layers.kinds={a: {}, b: {attention: {kv_from: a}}}"],
    "attention.index_shared": [
        *("attention.kind=latent", "attention.kv_rank=32", "attention.q_rank=96"),
        *("attention.d_nope=16", "attention.d_rope=16", "attention.d_value=16"),
        *("attention.index_top_k=24", "attention.index_n_heads=4", "attention.index_d_head=32"),
        "layers.kinds={a: {}, b: {attention: {index_shared: true}}}",
    ],
    "feed_forward.shortcut": [
        *("feed_forward.n_experts=4", "feed_forward.n_shared_experts=1"),
        "layers.kinds={a: {feed_forward: {shortcut: true}}, b: {}}",
    ],
}
"""By field, changes with which layers of kind b read more of those of kind a than hidden states."""


@pytest.mark.parametrize("field", READS)
def test_stages_separate_no_layer_from_its_reader(field: str) -> None:
    """Every second of twelve layers reads from the layer before it, so that a stage has an even number of layers."""
    config = load_config("tiny", [*READS[field], "layers.pattern='a, b'", "n_layers=12", "position.kind=rope"]).config
    setup = SETUP._replace(seq_len=64)
    found = {n: layout_mismatches(config, setup, Layout(pipeline=n)) for n in (1, 2, 3, 4, 6, 12)}
    assert [n for n, mismatches in found.items() if not mismatches] == [1, 2, 3, 6]
    (cut,) = found[4]
    assert (cut.field, cut.config_field, cut.help) == ("pipeline", field, "stages that do not: 2, 3, 6")
    assert cut.message.startswith("pipeline parallelism 4 separates layer 3 from layer 2, whose ")
    tried = layouts(config, setup._replace(n_gpus=12, global_batch_size=12), 4)
    assert {each.pipeline for each in tried} == {1, 2, 3, 6}


def test_every_stage_separates_layers() -> None:
    """All layers after the first attend to its keys and values."""
    kinds = "layers.kinds={a: {}, b: {attention: {kv_from: a}}}"
    config = load_config("tiny", [kinds, "layers.first=a", "layers.pattern=b", "n_layers=6"]).config
    (cut,) = layout_mismatches(config, SETUP._replace(seq_len=64), Layout(pipeline=3))
    assert cut.message.startswith("pipeline parallelism 3 separates layer 5 from layer 0, whose keys and values it")
    assert cut.help == "use tensor or data parallelism"


def test_interleaving() -> None:
    assert not list(layout_mismatches(LLAMA, SETUP, Layout(pipeline=4, micro_batches=8, virtual=2)))
    for wrong, field in (
        (Layout(pipeline=4, micro_batches=6, virtual=2), "micro_batches"),
        (Layout(virtual=2), "virtual"),
        (Layout(pipeline=4, micro_batches=8, virtual=2, schedule="gpipe"), "virtual"),
    ):
        assert [each.field for each in layout_mismatches(LLAMA, SETUP, wrong)] == [field]


def test_unused_d_ff() -> None:
    config = load_config("qwen3-30b-a3b", ["d_ff=6145"]).config
    assert not list(layout_mismatches(config, SETUP, Layout(tensor=2)))
    assert list(layout_mismatches(load_config("llama-3-8b", ["d_ff=6145"]).config, SETUP, Layout(tensor=2)))


@given(n_layers=st.integers(1, 400), pipeline=st.integers(1, 120), virtual=st.integers(1, 4))
def test_nearby_stages(n_layers: int, pipeline: int, virtual: int) -> None:
    """The stages in the help are the largest valid ones, up to four times as many as asked for."""
    config = LLAMA.model_copy(update={"n_layers": n_layers})
    layout = Layout(pipeline=pipeline, virtual=virtual, micro_batches=pipeline)
    mismatch = next((each for each in layout_mismatches(config, SETUP, layout) if each.field == "pipeline"), None)
    assume(mismatch is not None)
    assert mismatch is not None
    candidates = range(2 if virtual > 1 else 1, min(n_layers // virtual, 4 * pipeline) + 1)
    near = [str(n) for n in candidates if -n_layers % (n * virtual) <= 2]
    listed = f"nearby stages: {', '.join(near[-4:])}; the first and the last may have one layer fewer"
    assert mismatch.help == (listed if near else "use fewer chunks")
