"""StableLM: Llama with LayerNorm, RoPE on a quarter of each head and, in one model, parallel blocks."""

from typing import Annotated

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, RotaryFraction


class StableLmKeys(key.LlamaLikeKeys, RopeKeys):
    """``StableLmConfig``."""

    constants = {**key.LLAMA_LIKE, "norm.kind": "layernorm", "attention.out_bias": False}

    vocab_size: key.VocabSize = 50304
    hidden_size: key.DModel = 2560
    intermediate_size: key.DFF = 6912
    num_key_value_heads: key.NKVHeads = 32
    max_position_embeddings: key.MaxLen = 4096
    partial_rotary_factor: RotaryFraction = 0.25
    hidden_dropout: key.Dropout = 0.0
    layer_norm_eps: key.NormEps = 1e-5
    use_qkv_bias: key.AttentionBias = False
    use_parallel_residual: Annotated[bool, *key.fills("block.parallel", "block.shared_norm")] = False
    qk_layernorm: bool = key.only(False, why=key.QK_NORM_PER_HEAD)
