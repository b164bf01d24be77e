"""StableLM: Llama with LayerNorm, a quarter of each head rotated, and in one model both parts in parallel."""

from __future__ import annotations

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.family import LLAMA_LIKE, Family, Must, usual
from tinylm_cli.interop.key_reader import Reader
from tinylm_cli.interop.key_writers import Keys, partial_rope_keys
from tinylm_cli.interop.rope import rope
from tinylm_cli.interop.tensor_names import LLAMA_NAMES


def _parallel(read: Reader) -> None:
    """In parallel, one norm serves both parts."""
    parallel = read.flag("use_parallel_residual") is True
    read.put("block.parallel", parallel, "use_parallel_residual")
    read.put("block.shared_norm", parallel, "use_parallel_residual")


def _parallel_keys(config: ModelConfig) -> Keys:
    return {"use_parallel_residual": config.block.parallel}


STABLELM = Family(
    model_type="stablelm",
    architecture="StableLmForCausalLM",
    title="StableLM",
    always={**LLAMA_LIKE, "norm.kind": "layernorm", "attention.out_bias": False},
    fields={
        **usual(
            vocab_size=50304, hidden_size=2560, intermediate_size=6912, num_hidden_layers=32, num_attention_heads=32,
            num_key_value_heads=32, hidden_act="silu", max_position_embeddings=4096, hidden_dropout=0.0,
            layer_norm_eps=1e-5, tie_word_embeddings=False,
        ),
        "use_qkv_bias": ("attention.bias", False),
    },
    musts={"qk_layernorm": Must((False,), "norms on queries and keys would have weights of their own for each head")},
    defaults={"use_parallel_residual": False},
    compute=(rope(fraction=0.25), _parallel),
    names=LLAMA_NAMES,
    write=(partial_rope_keys, _parallel_keys),
)  # fmt: skip
