"""Microsoft's Phi: 1, 1.5 and 2 (parallel blocks with one norm), and 3 and 4 (similar to Llama)."""

# no deferred annotations, as in config.blocks

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.rope_scaling import RopeKeys, partial_rope_keys, rope
from tinylm_cli.interop.sliding_windows import window, window_keys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, QKV, Fused, TensorLayout
from tinylm_cli.interop.translation import Translation


class PhiKeys(RopeKeys):
    """``PhiConfig``."""

    vocab_size: key.VocabSize = 51200
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 8192
    num_hidden_layers: key.NLayers = 24
    num_attention_heads: key.NHeads = 32
    num_key_value_heads: key.NKVHeads = None
    head_dim: key.DHead = None
    hidden_act: key.Activation = "gelu_new"
    max_position_embeddings: key.MaxLen = 2048
    resid_pdrop: key.Dropout = 0.0
    layer_norm_eps: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = False
    qk_layernorm: bool | None = False


def _phi(keys: PhiKeys, to: Translation) -> None:
    rope(keys, to, fraction=0.5)
    if keys.qk_layernorm:
        to.put("attention.qk_norm", "per_head", "qk_layernorm")


def _phi_keys(config: ModelConfig) -> dict[str, Any]:
    return {**partial_rope_keys(config), "qk_layernorm": config.attention.qk_norm == "per_head"}


PHI = Family(
    model_type="phi",
    architecture="PhiForCausalLM",
    title="Phi, up to 2",
    keys=PhiKeys,
    constants={
        "embedding.multiplier": 1.0,
        "position.kind": "rope",
        "block.parallel": True,
        "block.shared_norm": True,
        "head.bias": True,
    },
    to_tinylm=_phi,
    from_tinylm=_phi_keys,
    tensor_names=LLAMA_NAMES.override(
        top_level={"ln_f": "model.final_layernorm"},
        layer={
            "attention.o_proj": "self_attn.dense",
            "attention.q_norm": "self_attn.q_layernorm",
            "attention.k_norm": "self_attn.k_layernorm",
            "feed_forward.up_proj": "mlp.fc1",
            "feed_forward.down_proj": "mlp.fc2",
        },
    ),
)

_NO_BIASES = "this family's code has no biases"


class Phi3Keys(RopeKeys):
    """``Phi3Config``."""

    vocab_size: key.VocabSize = 32064
    hidden_size: key.DModel = 3072
    intermediate_size: key.DFF = 8192
    num_hidden_layers: key.NLayers = 32
    num_attention_heads: key.NHeads = 32
    num_key_value_heads: key.NKVHeads = None
    head_dim: key.DHead = None
    hidden_act: key.Activation = "silu"
    max_position_embeddings: key.MaxLen = 4096
    original_max_position_embeddings: key.OptionalSize = 4096
    resid_pdrop: key.Dropout = 0.0
    rms_norm_eps: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = False
    sliding_window: key.Window = None
    attention_bias: Annotated[bool, *key.only(False, why=_NO_BIASES)] = False
    mlp_bias: Annotated[bool, *key.only(False, why=_NO_BIASES)] = False
    lm_head_bias: Annotated[bool, *key.only(False, why=_NO_BIASES)] = False
    full_attn_mod: Annotated[int, *key.only(1, why="this family's code has only one kind of layer")] = 1
    interpolate_factor: Annotated[int, *key.only(1, why="this family's code does not interpolate")] = 1


def _phi3(keys: Phi3Keys, to: Translation) -> None:
    rope(keys, to, fraction=1.0, renamed={"su": "longrope", "yarn": "longrope"})
    window(keys, to)


def _phi3_keys(config: ModelConfig) -> dict[str, Any]:
    original = config.position.original_max_len
    length = {} if original is None else {"original_max_position_embeddings": original}
    return {**partial_rope_keys(config), **window_keys(config), **length}


PHI3 = Family(
    model_type="phi3",
    architecture="Phi3ForCausalLM",
    title="Phi 3 and 4",
    keys=Phi3Keys,
    constants=key.LLAMA_LIKE,
    to_tinylm=_phi3,
    from_tinylm=_phi3_keys,
    tensor_names=LLAMA_NAMES.override(
        fused=(
            Fused(QKV, "self_attn.qkv_proj", TensorLayout.concatenated, TensorLayout.concatenated),
            Fused(
                ("feed_forward.gate_proj", "feed_forward.up_proj"),
                "mlp.gate_up_proj",
                TensorLayout.concatenated,
                TensorLayout.concatenated,
            ),
        ),
    ),
)
