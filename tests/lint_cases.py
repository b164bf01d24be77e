"""For each code of ``tinylm lint``, a command that finds it and one that does not."""

from __future__ import annotations

from typing import NamedTuple

CLEAN = """\
# A Llama in miniature, without findings.
vocab_size: 512
d_model: 256
n_heads: 4
n_layers: 2
d_ff: 768
max_len: 1024
dropout: 0.0
tie_weights: false
embedding: {multiplier: 1.0}
position: {kind: rope, pairing: adjacent}
norm: {kind: rmsnorm}
attention: {bias: false}
feed_forward: {activation: silu, gated: true, bias: false}
"""

FILE = "mini.yaml"


class Case(NamedTuple):
    """The arguments of a command with a finding, and of one without."""

    found: str
    absent: str


def _mini(found: str, absent: str = "") -> Case:
    return Case(f"{FILE} {found}".strip(), f"{FILE} {absent}".strip())


CASES = {
    "attention-kernel": _mini("--set attention.d_head=320"),
    "attention-sinks": Case("gpt-oss-20b --for vllm", "llama-3-8b --for vllm"),
    "chunked-cache": Case("llama-4-scout --for vllm", "llama-3-8b --for vllm"),
    "fp8-multiple": _mini("--gpu h100 --set d_ff=776", "--gpu h100 --set d_ff=784"),
    "ignored-window": Case(
        "mistral-7b --for gguf --set attention.window=4096",
        "mistral-7b --for gguf --set attention.window=4096 --set max_len=4096",
    ),
    "mxfp4-block": _mini(
        "--set storage.quantization=mxfp4 --set d_ff=784", "--set storage.quantization=mxfp4 --set d_ff=800"
    ),
    "no-implementation": Case("recurrentgemma-2b --for gguf", "gemma-2-2b --for gguf"),
    "no-tensor-split": Case("deepseek-v2-lite --for gguf --tp 2", f"{FILE} --for gguf --tp 2"),
    "quant-block": _mini("--for gguf --set d_ff=800", "--for gguf"),
    "rewritten-fields": Case("tiny --for hf", f"{FILE} --for hf"),
    "tensor-core-multiple": _mini("--for hf --set vocab_size=508", "--for hf"),
    "tp-feed-forward": _mini("--for vllm --tp 4 --set d_ff=770", "--for vllm --tp 4"),
    "tp-heads": _mini("--for vllm --tp 8", "--for vllm --tp 4"),
    "tp-kv-heads": _mini(
        "--for vllm --tp 4 --set n_heads=12 --set attention.d_head=64 --set attention.n_kv_heads=3",
        "--for vllm --tp 4 --set n_heads=12 --set attention.d_head=64 --set attention.n_kv_heads=4",
    ),
    "tp-kv-replication": _mini(
        "--for vllm --tp 4 --set attention.n_kv_heads=2", "--for vllm --tp 4 --set attention.n_kv_heads=4"
    ),
    "tp-state-heads": Case("mamba2-2.7b --for vllm --tp 3", "mamba2-2.7b --for vllm --tp 2"),
    "tp-vocabulary": _mini("--for vllm --tp 3", "--for vllm --tp 3 --set vocab_size=576"),
    "transformers-backend": Case("pythia-160m --for vllm", "gpt2 --for vllm"),
    "unsupported-field": _mini("--for megatron --set attention.logit_softcap=30", "--for megatron"),
    "vocabulary-padding": _mini("--for megatron --set vocab_size=600", "--for megatron"),
}
