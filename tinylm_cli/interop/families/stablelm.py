"""StableLM: Llama with LayerNorm, a quarter of each head rotated, and in one model both sub-layers in parallel."""

# no deferred annotations, as in config.blocks

from typing import Annotated

from tinylm_cli.interop.families import Family
from tinylm_cli.interop.rope_scaling import RopeKeys, partial_rope_keys, rope
from tinylm_cli.interop.shared_keys import (
    DFF,
    LLAMA_LIKE,
    Activation,
    AttentionBias,
    DModel,
    Dropout,
    MaxLen,
    NHeads,
    NKVHeads,
    NLayers,
    NormEps,
    TieWeights,
    VocabSize,
    fills,
    only,
)
from tinylm_cli.interop.tensor_names import LLAMA_NAMES
from tinylm_cli.interop.translation import Translation


class StableLmKeys(RopeKeys):
    """``StableLmConfig``."""

    vocab_size: VocabSize = 50304
    hidden_size: DModel = 2560
    intermediate_size: DFF = 6912
    num_hidden_layers: NLayers = 32
    num_attention_heads: NHeads = 32
    num_key_value_heads: NKVHeads = 32
    hidden_act: Activation = "silu"
    max_position_embeddings: MaxLen = 4096
    hidden_dropout: Dropout = 0.0
    layer_norm_eps: NormEps = 1e-5
    tie_word_embeddings: TieWeights = False
    use_qkv_bias: AttentionBias = False
    use_parallel_residual: Annotated[bool, *fills("block.parallel", "block.shared_norm")] = False
    qk_layernorm: Annotated[
        bool, *only(False, why="norms on queries and keys would have weights of their own for each head")
    ] = False


def _stablelm(keys: StableLmKeys, to: Translation) -> None:
    rope(keys, to, fraction=0.25)


STABLELM = Family(
    model_type="stablelm",
    architecture="StableLmForCausalLM",
    title="StableLM",
    keys=StableLmKeys,
    constants={**LLAMA_LIKE, "norm.kind": "layernorm", "attention.out_bias": False},
    to_tinylm=_stablelm,
    from_tinylm=partial_rope_keys,
    tensor_names=LLAMA_NAMES,
)
