"""The catalog of the codes of ``tinylm lint``: what each finding means, and where the fact behind it is stated."""

from __future__ import annotations

from typing import NamedTuple

TRANSFORMERS, VLLM, LLAMA_CPP = "transformers 5.24", "vLLM 0.33.0", "llama.cpp 0c1e57098"
LITGPT, MEGATRON_CORE, TORCHTITAN = "litgpt 0.5.13", "megatron-core 0.16.1", "torchtitan 0.3.0"
"""The releases that the facts were looked up in; of llama.cpp, the revision in llama-cpp-python 0.3.36."""

_TRANSFORMER_CONFIG = f"{MEGATRON_CORE}: `TransformerConfig` in `megatron/core/transformer/transformer_config.py`"


class LintCode(NamedTuple):
    """The kind of a finding.

    Attributes:
        meaning: Its meaning, in one line of markdown.
        sources: The project with its version, and the file or page that states the fact.
    """

    meaning: str
    sources: tuple[str, ...]


LINT_CODES = {
    "attention-kernel": LintCode(
        "A size of attention heads that a kernel does not take.",
        (
            f"{VLLM}: `supports_head_size` in `vllm/v1/attention/backends/flash_attn.py`, `get_supported_head_sizes` in"
            " `flashinfer.py` there; `MLACommonBackend` in `vllm/model_executor/layers/attention/mla_attention.py`",
            f"{LLAMA_CPP}: `ggml_cuda_get_best_fattn_kernel` in `ggml/src/ggml-cuda/fattn.cu`",
            "FlashAttention 2: `head_size <= 256` and `head_size % 8 == 0` in `csrc/flash_attn/flash_api.cpp`",
        ),
    ),
    "attention-sinks": LintCode(
        "Attention sinks, which FlashAttention 2 does not support.",
        (f"{VLLM}: `flash_attn_supports_sinks` in `vllm/v1/attention/backends/fa_utils.py`",),
    ),
    "chunked-cache": LintCode(
        "Layers with chunked attention that cache every token by default.",
        (f"{VLLM}: `VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE` in `vllm/config/vllm.py`",),
    ),
    "fp8-multiple": LintCode(
        "A size that is not a multiple of 16, which FP8 matmuls require.",
        ("Transformer Engine: `assert_dim_for_fp8_exec` in `transformer_engine/pytorch/utils.py`, pull request 2894",),
    ),
    "ignored-window": LintCode(
        "A sliding window that a target ignores, so that long sequences have other logits.",
        (f"{LLAMA_CPP}: `conversion/llama.py`, which stores no window of Mistral, and `src/models/llama.cpp`",),
    ),
    "mxfp4-block": LintCode(
        "A size that is not a multiple of 32, the block of values that share a scale in MXFP4.",
        ("gguf 0.19.0: `GGML_QUANT_SIZES` in `gguf/constants.py`",),
    ),
    "no-implementation": LintCode(
        "A model whose classes of transformers a target does not implement.",
        (
            f"{VLLM}: `_TEXT_GENERATION_MODELS` and `_try_resolve_transformers` in"
            " `vllm/model_executor/models/registry.py`",
            f"{LLAMA_CPP}: `TEXT_MODEL_MAP` in `conversion/__init__.py`",
        ),
    ),
    "no-tensor-split": LintCode(
        "A model that a target can split over GPUs only by layers, not by tensors.",
        (f"{LLAMA_CPP}: `llm_arch_supports_sm_tensor` in `src/llama-arch.cpp`, `docs/multi-gpu.md`",),
    ),
    "quant-block": LintCode(
        "Rows of weights that blocks of 256 values do not fill, so that quantization falls back to a larger type.",
        (f"{LLAMA_CPP}: `tensor_type_fallback` in `src/llama-quant.cpp`",),
    ),
    "rewritten-fields": LintCode(
        "A model that a target can express only with other fields, which give the same logits.",
        ("tinylm: `_equivalents` in `interop/export_config.py`, whose logits its tests compare",),
    ),
    "tensor-core-multiple": LintCode(
        "A size that is not a multiple of what tensor cores read at once.",
        (
            "NVIDIA, Matrix Multiplication Background User's Guide (DU-09799-001, February 2023), section 2.2:"
            " multiples of 16 bytes, and of 128 bytes on A100",
        ),
    ),
    "tp-feed-forward": LintCode(
        "A hidden size of feed-forward networks or experts that tensor parallelism cannot split.",
        (
            f"{VLLM}: `MergedColumnParallelLinear` in `vllm/model_executor/layers/linear.py`, `FusedMoEConfig` in"
            " `vllm/model_executor/layers/fused_moe/config.py`",
            f"{MEGATRON_CORE}: `ColumnParallelLinear` in `megatron/core/tensor_parallel/layers.py`",
        ),
    ),
    "tp-heads": LintCode(
        "Attention heads that tensor parallelism cannot split.",
        (f"{VLLM}: `verify_with_parallel_config` in `vllm/config/model.py`", _TRANSFORMER_CONFIG),
    ),
    "tp-kv-heads": LintCode(
        "KV heads that tensor parallelism can neither split nor replicate.",
        (f"{VLLM}: `QKVParallelLinear` in `vllm/model_executor/layers/linear.py`", _TRANSFORMER_CONFIG),
    ),
    "tp-kv-replication": LintCode(
        "KV heads or compressed keys and values that several GPUs store.",
        (f"{VLLM}: `get_num_kv_heads` in `vllm/config/model.py`",),
    ),
    "tp-state-heads": LintCode(
        "Heads or groups of Mamba-2 that tensor parallelism cannot split.",
        (f"{VLLM}: `MambaMixer2` in `vllm/model_executor/layers/mamba/mamba_mixer2.py`",),
    ),
    "tp-vocabulary": LintCode(
        "A vocabulary that tensor parallelism cannot split, although the target pads it.",
        (f"{VLLM}: `VocabParallelEmbedding` in `vllm/model_executor/layers/vocab_parallel_embedding.py`",),
    ),
    "transformers-backend": LintCode(
        "A model that vLLM has no implementation of, and runs with the code of transformers.",
        (f"{VLLM}: `_TRANSFORMERS_SUPPORTED_MODELS` in `vllm/model_executor/models/registry.py`",),
    ),
    "unsupported-field": LintCode(
        "A field whose value a target cannot express.",
        (
            f"{TRANSFORMERS}: the configuration and modeling files of each family, which `interop/families/` follows",
            f"{LITGPT}: `Config` in `litgpt/config.py`, and `litgpt/model.py`",
            f"{TORCHTITAN}: `torchtitan/models/llama3/__init__.py`, `torchtitan/models/qwen3/__init__.py`",
            f"{_TRANSFORMER_CONFIG}; `megatron/core/models/gpt/gpt_model.py`, and `megatron/training/arguments.py`",
        ),
    ),
    "vocabulary-padding": LintCode(
        "A vocabulary that a target pads to a multiple.",
        (
            f"{VLLM}: `DEFAULT_VOCAB_PADDING_SIZE` in `vllm/model_executor/layers/vocab_parallel_embedding.py`",
            "Megatron-LM: `make-vocab-size-divisible-by` in `megatron/training/arguments.py`, and"
            " `_vocab_size_with_padding`",
        ),
    ),
}
"""The meaning and the sources of each code; ``docs/lint.md`` adds an example of each."""
