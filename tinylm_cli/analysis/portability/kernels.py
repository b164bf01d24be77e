"""Checks of attention: the sizes of heads that kernels take, and the caches and sinks that engines support."""

from __future__ import annotations

from collections.abc import Iterator

from tinylm_cli.analysis.kv_cache import kv_cache_bytes
from tinylm_cli.analysis.portability.dimensions import field_of, kinds_of
from tinylm_cli.analysis.portability.engines import SHAPES
from tinylm_cli.analysis.portability.findings import Request
from tinylm_cli.config.choices import DEFAULT_DTYPE
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import Severity
from tinylm_cli.quantities import binary_bytes
from tinylm_cli.reports.lint import Finding


def attention_findings(request: Request) -> Iterator[Finding]:
    """Yield what kernels and engines do not support of the attention of the model."""
    for name, kind in kinds_of(request.config):
        if "attention" in kind.block.mixers:
            yield from _kernels(request, name, kind)
            if "vllm" in request.targets and kind.attention.sinks:
                message = (
                    "FlashAttention 2 does not support attention sinks: on GPUs before Hopper, vLLM selects its Triton"
                    " backend"
                )
                field = field_of(request.config, name, "attention.sinks")
                yield request.finding("attention-sinks", ["vllm"], field, message, severity="note")
    if "vllm" in request.targets:
        yield from _chunked(request)


def _kernels(request: Request, name: str, kind: ModelConfig) -> Iterator[Finding]:
    attention = kind.attention
    latent = attention.kind == "latent"
    sizes = (attention.kv_rank + attention.d_rope, attention.kv_rank) if latent else (kind.d_head, kind.d_value)
    field = field_of(request.config, name, "attention.kv_rank" if latent else "attention.d_head")
    subject = f"{sizes[0]} compressed dimensions" if latent else f"{sizes[0]} dimensions per head"
    values = f" and {sizes[1]} of values" if sizes[0] != sizes[1] and not latent else ""
    for target in request.targets:
        shapes = SHAPES[target]
        for kernel in shapes.latent_kernels if latent else shapes.kernels:
            if not kernel.takes(*sizes, kind.n_heads // kind.n_kv_heads):
                severity: Severity = "note" if kernel.name == "FlashInfer" else "warning"
                message = f"{kernel.name} takes {kernel.sizes}, not {subject}{values}: {kernel.otherwise}"
                yield request.finding("attention-kernel", [target], field, message, severity=severity)


def _chunked(request: Request) -> Iterator[Finding]:
    """Yield the cache that chunked attention needs in vLLM, which by default stores all tokens of these layers."""
    config = request.config
    chunked = [(name, kind) for name, kind in kinds_of(config) if kind.attention.chunked]
    if not chunked:
        return
    full = config.model_copy(update={"attention": config.attention.model_copy(update={"window": None})})
    needed, stored = (
        kv_cache_bytes(each, batch_size=1, seq_len=config.max_len, dtype=DEFAULT_DTYPE) for each in (config, full)
    )
    cost = ""
    if not config.layers.kinds:
        cost = f": {binary_bytes(stored)} for {config.max_len:,} tokens instead of {binary_bytes(needed)}"
    message = f"vLLM by default caches every token in layers with chunked attention{cost}"
    remedy = "set VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE=1"
    field = field_of(config, chunked[0][0], "attention.chunked")
    yield request.finding("chunked-cache", ["vllm"], field, message, severity="warning", remedy=remedy)
