"""StableLM: Llama with LayerNorm, RoPE on a quarter of each head and, in one model, parallel blocks."""

# no deferred annotations, as in config.blocks

from typing import Annotated

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.rope_scaling import RopeKeys, partial_rope_keys, rope
from tinylm_cli.interop.tensor_names import LLAMA_NAMES
from tinylm_cli.interop.translation import Translation


class StableLmKeys(RopeKeys):
    """``StableLmConfig``."""

    vocab_size: key.VocabSize = 50304
    hidden_size: key.DModel = 2560
    intermediate_size: key.DFF = 6912
    num_hidden_layers: key.NLayers = 32
    num_attention_heads: key.NHeads = 32
    num_key_value_heads: key.NKVHeads = 32
    hidden_act: key.Activation = "silu"
    max_position_embeddings: key.MaxLen = 4096
    hidden_dropout: key.Dropout = 0.0
    layer_norm_eps: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = False
    use_qkv_bias: key.AttentionBias = False
    use_parallel_residual: Annotated[bool, *key.fills("block.parallel", "block.shared_norm")] = False
    qk_layernorm: Annotated[
        bool, *key.only(False, why="tinylm does not support query and key norms with separate weights per head")
    ] = False


def _stablelm(keys: StableLmKeys, to: Translation) -> None:
    rope(keys, to, fraction=0.25)


STABLELM = Family(
    model_type="stablelm",
    architecture="StableLmForCausalLM",
    title="StableLM",
    keys=StableLmKeys,
    constants={**key.LLAMA_LIKE, "norm.kind": "layernorm", "attention.out_bias": False},
    to_tinylm=_stablelm,
    from_tinylm=partial_rope_keys,
    tensor_names=LLAMA_NAMES,
)
