"""The checks of sizes: what divides, what kernels take, and what padding costs by arithmetic written out."""

from __future__ import annotations

from fractions import Fraction

import pytest

from tests.lint_cases import CLEAN
from tinylm_cli.analysis.portability.dimensions import Dimension, dimensions, padding
from tinylm_cli.analysis.portability.engines import SHAPES
from tinylm_cli.analysis.portability.lint import lint
from tinylm_cli.config.loader import LoadedConfig, parse_config
from tinylm_cli.config.source import Source
from tinylm_cli.reports.lint import TARGETS, Expression, Finding, LintReport

D, L, F, V, T = 256, 2, 768, 512, 1024  # the sizes of the config


def loaded(*changes: str) -> LoadedConfig:
    return parse_config(Source("mini.yaml", CLEAN), changes)


def report(*changes: str, tp: int = 1, strict: bool = False) -> LintReport:
    expressions = [Expression(target, "", "some class") for target in TARGETS]
    return lint(loaded(*changes), expressions, tp=tp, strict=strict)


def findings(code: str, *changes: str, tp: int = 1) -> list[Finding]:
    return [each for each in report(*changes, tp=tp).findings if each.diagnostic.code == code]


def test_without_findings() -> None:
    for tp in (1, 2, 4):
        assert report(tp=tp).findings == ()


@pytest.mark.parametrize(
    ("field", "multiple", "changes", "added"),
    [
        ("d_ff", 512, ("d_ff=1024",), L * 3 * D * 256),  # up, gate and down projections
        ("vocab_size", 320, ("vocab_size=640",), 2 * D * 128),  # the embedding and the LM head
        # wider by 64, with heads of the same size: 2 tables, 4 projections and 3 of the network, 2 norms each and 1
        (
            "d_model",
            320,
            ("d_model=320", "attention.d_head=64"),
            64 * (2 * V + L * (4 * 256 + 3 * F + 2) + 1),
        ),
    ],
)  # fmt: skip
def test_padding(field: str, multiple: int, changes: tuple[str, ...], added: int) -> None:
    config = loaded().config
    dimension = next(each for each in dimensions(config) if each.field == field)
    padded = padding(config, dimension, multiple)
    assert padded is not None
    assert padded.changes == changes
    assert padded.added_params == added
    assert padded.added_bytes == 2 * added


def test_flops_of_padding() -> None:
    """Of a sequence of 1,024 tokens: matmuls with weights, and causal pairs of queries and keys."""
    padded = padding(loaded().config, Dimension("d_ff", F, True), 1024)
    weights = L * (4 * D * D + 3 * D * F) + D * V
    pairs = T * (T + 1) // 2
    flops = 2 * T * weights + L * 2 * 2 * D * pairs
    assert padded is not None
    assert padded.added_flops_share == pytest.approx(float(Fraction(2 * T * L * 3 * D * 256, flops)), rel=1e-12)


def test_padding_of_a_kind_of_layers() -> None:
    kinds = "layers.kinds={wide: {d_ff: 776}, narrow: {}}"
    config = loaded(kinds, "layers.pattern=wide, narrow").config
    assert [each.field for each in dimensions(config)] == ["vocab_size", "d_model", "layers.kinds.wide.d_ff", "d_ff"]
    (finding,) = findings("tensor-core-multiple", kinds, "layers.pattern=wide, narrow")
    assert finding.padding is not None
    assert finding.padding.changes == ("layers.kinds.wide.d_ff=832",)
    assert finding.padding.added_params == 3 * D * (832 - 776)


def test_sizes_of_experts() -> None:
    experts = ("feed_forward.n_experts=4", "feed_forward.n_dense_layers=1", "feed_forward.d_expert=320",
               "feed_forward.n_shared_experts=1", "feed_forward.d_shared_expert=640")  # fmt: skip
    fields = [(each.field, each.size) for each in dimensions(loaded(*experts).config)]
    assert fields[2:] == [("d_ff", 768), ("feed_forward.d_expert", 320), ("feed_forward.d_shared_expert", 640)]


@pytest.mark.parametrize(
    ("n_kv_heads", "tp", "code", "words"),
    [
        (8, 8, "", ""),
        (4, 8, "tp-kv-replication", "each of the 4 KV heads 2 times"),
        (1, 8, "tp-kv-replication", "the KV head 8 times"),
        (8, 16, "tp-heads", "n_heads 8 is not divisible"),
        (2, 1, "", ""),
    ],
)
def test_heads(n_kv_heads: int, tp: int, code: str, words: str) -> None:
    changes = ("n_heads=8", "attention.d_head=64", f"attention.n_kv_heads={n_kv_heads}", "d_ff=1024")
    found = [each.diagnostic for each in report(*changes, tp=tp).findings if each.diagnostic.code.startswith("tp-")]
    if not code:
        assert found == []
    else:
        assert found[0].code == code
        assert words in found[0].message


@pytest.mark.parametrize(("n_kv_heads", "tp"), [(6, 4), (3, 4)])
def test_kv_heads_that_neither_divide_nor_multiply(n_kv_heads: int, tp: int) -> None:
    changes = ("n_heads=12", "attention.d_head=64", f"attention.n_kv_heads={n_kv_heads}")
    (finding,) = findings("tp-kv-heads", *changes, tp=tp)
    assert str(finding.diagnostic.help) == f"use tp={ {6: 3, 3: 3}[n_kv_heads] }"


def test_latent_attention() -> None:
    latent = ("attention.kind=latent", "attention.kv_rank=512", "attention.d_rope=64", "tie_weights=false")
    (finding,) = findings("tp-kv-replication", *latent, tp=4)
    assert "4 times the KV cache" in finding.diagnostic.message
    assert findings("attention-kernel", *latent) == []
    odd = findings("attention-kernel", *latent, "attention.kv_rank=384")
    assert [each.targets for each in odd] == [("vllm",), ("gguf",)]


@pytest.mark.parametrize(
    ("vocab_size", "tp", "padded"),
    [(500, 4, ""), (512, 3, "vocab_size=576"), (500, 3, "vocab_size=576"), (576, 3, ""), (32000, 8, "")],
)
def test_vocabulary(vocab_size: int, tp: int, padded: str) -> None:
    """vLLM pads it to a multiple of 64, which the GPUs then share."""
    found = findings("tp-vocabulary", f"vocab_size={vocab_size}", tp=tp)
    changes = [each.padding.changes for each in found if each.padding is not None]
    assert changes == ([(padded,)] if padded else [])


@pytest.mark.parametrize(
    ("d_ff", "severity"), [(764, "warning"), (776, "note"), (768, None), (832, None)]
)  # fmt: skip
def test_tensor_cores(d_ff: int, severity: str | None) -> None:
    found = findings("tensor-core-multiple", f"d_ff={d_ff}")
    assert [each.diagnostic.severity for each in found] == ([severity] if severity else [])
    assert all(each.targets == ("hf", "vllm", "litgpt", "megatron", "torchtitan") for each in found)


def test_share_of_each_gpu() -> None:
    """The multiples of vLLM's shares count; transformers is not split."""
    (finding,) = findings("tensor-core-multiple", "d_ff=1152", tp=4)
    assert finding.targets == ("vllm", "megatron")
    assert "d_ff 1,152, 288 on each GPU" in finding.diagnostic.message
    assert finding.padding is not None
    assert finding.padding.changes == ("d_ff=1280",)  # 320 on each GPU, a multiple of 64


@pytest.mark.parametrize(("vocab_size", "tp", "padded"), [(512, 4, []), (500, 1, [512, 512]), (640, 2, [768])])
def test_padded_vocabulary(vocab_size: int, tp: int, padded: list[int]) -> None:
    """VLLM pads to a multiple of 64, Megatron-LM to one of 128 on each GPU."""
    found = findings("vocabulary-padding", f"vocab_size={vocab_size}", tp=tp)
    assert [each.padding.changes for each in found if each.padding] == [(f"vocab_size={rows}",) for rows in padded]
    assert all(
        each.padding and each.padding.added_params == 2 * D * (rows - vocab_size)
        for each, rows in zip(found, padded, strict=True)
    )


def test_replication_concerns_engines_with_a_cache() -> None:
    (finding,) = findings("tp-kv-replication", "attention.n_kv_heads=2", tp=4)
    assert finding.targets == ("vllm",)
    (uneven,) = findings("tp-kv-heads", "n_heads=12", "attention.d_head=64", "attention.n_kv_heads=3", tp=4)
    assert uneven.targets == ("vllm", "megatron")


def test_small_types() -> None:
    """They are mentioned for any GPU, and a finding if the config stores them."""
    assert findings("fp8-multiple", "d_ff=776") == []
    (mentioned,) = findings("tensor-core-multiple", "d_ff=776")
    assert "(FP8 needs 16, MXFP4 needs 32)" in mentioned.diagnostic.message
    (also_mentioned,) = findings("tensor-core-multiple", "d_ff=784")
    assert "(MXFP4 needs 32)" in also_mentioned.diagnostic.message
    (finding,) = findings("fp8-multiple", "d_ff=776", "storage.quantization=float8")
    assert finding.diagnostic.severity == "warning"
    assert findings("fp8-multiple", "d_ff=784", "storage.quantization=float8") == []


@pytest.mark.parametrize(
    ("d_ff", "larger"), [(800, "types with blocks of 32"), (784, "F16"), (1024, "")]
)  # fmt: skip
def test_quantized_rows(d_ff: int, larger: str) -> None:
    found = findings("quant-block", f"d_ff={d_ff}")
    assert [larger in each.diagnostic.message for each in found] == ([True] if larger else [])


def test_rows_of_attention_outputs() -> None:
    """4 heads of 96 dimensions are rows of 384 weights; no single field pads them."""
    (finding,) = findings("quant-block", "attention.d_head=96")
    assert "rows of 384 weights (n_heads × value dimensions)" in finding.diagnostic.message
    assert finding.padding is None


@pytest.mark.parametrize(
    ("target", "sizes", "taken"),
    [
        ("hf", (128, 128, 1), True),
        ("hf", (320, 320, 1), False),
        ("hf", (100, 100, 1), False),
        ("vllm", (256, 256, 1), True),
        ("vllm", (84, 84, 1), False),
        ("gguf", (128, 128, 1), True),
        ("gguf", (48, 48, 1), False),
        ("gguf", (512, 512, 1), False),
        ("gguf", (512, 512, 4), True),
        ("gguf", (192, 128, 8), True),
        ("gguf", (192, 128, 4), False),
    ],
)
def test_kernels(target: str, sizes: tuple[int, int, int], taken: bool) -> None:
    assert SHAPES[target].kernels[0].takes(*sizes) == taken  # type: ignore[index]


def test_chunked_cache() -> None:
    """Two layers of 2 × 256 values in 2 bytes cache all 1,024 tokens instead of a chunk of 128."""
    (finding,) = findings("chunked-cache", "attention.window=128", "attention.chunked=true")
    of_token = L * 2 * D * 2
    assert of_token * T == 2 * 2**20
    assert of_token * 128 == 256 * 2**10
    assert "2.00 MiB for 1,024 tokens instead of 256.0 KiB" in finding.diagnostic.message


def test_targets_that_cannot_express_the_model_are_not_checked_further() -> None:
    expressions = [Expression("vllm", "vLLM", "")]
    assert lint(loaded("d_ff=771"), expressions, tp=3).findings == ()


def test_strict() -> None:
    severities = {each.diagnostic.severity for each in report("d_ff=776", "attention.d_head=320", strict=True).findings}
    assert severities == {"error", "note"}
    assert not report("attention.d_head=320", strict=True).passes
    assert report("attention.d_head=320").passes
