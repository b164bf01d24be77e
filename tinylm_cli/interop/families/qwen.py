"""Qwen 2 and 2.5 (biases on q, k and v), and Qwen 3, dense or with experts (norms on q and k)."""

# no deferred annotations, as in config.blocks

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families import Family
from tinylm_cli.interop.rope_scaling import RopeKeys, rope, rope_keys
from tinylm_cli.interop.sliding_windows import layer_types, layer_window_keys, layer_windows, window, window_keys
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, LLAMA_NAMES
from tinylm_cli.interop.translation import Translation


class Qwen2Keys(RopeKeys):
    """``Qwen2Config``."""

    vocab_size: key.VocabSize = 151936
    hidden_size: key.DModel = 4096
    intermediate_size: key.DFF = 22016
    num_hidden_layers: key.NLayers = 32
    num_attention_heads: key.NHeads = 32
    num_key_value_heads: key.NKVHeads = 32
    head_dim: key.DHead = None
    hidden_act: key.Activation = "silu"
    max_position_embeddings: key.MaxLen = 32768
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = False
    use_sliding_window: bool | None = False
    sliding_window: key.Window = 4096
    max_window_layers: key.OptionalCount = 28
    layer_types: key.LayerTypes = None


class Qwen3Keys(Qwen2Keys):
    """``Qwen3Config``."""

    head_dim: key.DHead = 128
    attention_bias: key.AttentionBias = False


def _qwen(keys: Qwen2Keys, to: Translation) -> None:
    """Map RoPE and windows: with ``use_sliding_window``, layers from ``max_window_layers`` on have one."""
    rope(keys, to)
    pattern = None
    if keys.use_sliding_window:
        below = min(keys.max_window_layers or 0, keys.num_hidden_layers)
        pattern = "G" * below + "L" * (keys.num_hidden_layers - below)
    else:
        to.ignore("sliding_window", "max_window_layers")
    layer_windows(keys, to, pattern, "max_window_layers")


def _qwen_keys(config: ModelConfig) -> dict[str, Any]:
    if config.attention.window is None:
        return {**rope_keys(config), "use_sliding_window": False}
    below = layer_types(config).index("sliding_attention")
    windows = {"use_sliding_window": True, "max_window_layers": below, **layer_window_keys(config)}
    return {**rope_keys(config), **windows}


QWEN2 = Family(
    model_type="qwen2",
    architecture="Qwen2ForCausalLM",
    title="Qwen2 and Qwen2.5",
    keys=Qwen2Keys,
    constants={**key.LLAMA_LIKE, "attention.bias": True, "attention.out_bias": False},
    to_tinylm=_qwen,
    from_tinylm=_qwen_keys,
    tensor_names=LLAMA_NAMES,
)

QWEN3 = Family(
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    title="Qwen3",
    keys=Qwen3Keys,
    constants={**key.LLAMA_LIKE, "attention.qk_norm": "per_head"},
    to_tinylm=_qwen,
    from_tinylm=_qwen_keys,
    tensor_names=LLAMA_NAMES,
)


class Qwen3MoeKeys(RopeKeys):
    """``Qwen3MoeConfig``."""

    vocab_size: key.VocabSize = 151936
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 6144
    num_hidden_layers: key.NLayers = 24
    num_attention_heads: key.NHeads = 32
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = None
    hidden_act: key.Activation = "silu"
    max_position_embeddings: key.MaxLen = 32768
    rms_norm_eps: key.NormEps = 1e-6
    tie_word_embeddings: key.TieWeights = False
    attention_bias: key.AttentionBias = False
    mlp_bias: Annotated[bool, *key.only(False, why="this family's code has no such biases")] = False
    num_experts: key.Count = 128
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 768
    norm_topk_prob: key.Renormalize = False
    decoder_sparse_step: key.OptionalSize = 1
    mlp_only_layers: key.IntegerList = None
    use_sliding_window: bool | None = False
    sliding_window: key.Window = 4096


def _qwen3_moe(keys: Qwen3MoeKeys, to: Translation) -> None:
    """Map RoPE, windows and experts; tinylm supports dense layers only before all expert layers."""
    rope(keys, to)
    if keys.use_sliding_window:
        window(keys, to)
    else:
        to.ignore("sliding_window")
    if keys.decoder_sparse_step not in (None, 1):
        to.unsupported("decoder_sparse_step", "only leading layers can be dense")
    dense = sorted(set(keys.mlp_only_layers or []))
    if dense != list(range(len(dense))):
        to.unsupported("mlp_only_layers", "only leading layers can be dense", "for example [0, 1]")
        dense = []
    if keys.num_experts == 0 or len(dense) >= keys.num_hidden_layers:
        for field in ("top_k", "d_expert", "router", "renormalize"):
            to.put(f"feed_forward.{field}", None)
        return
    to.put("feed_forward.n_experts", keys.num_experts, "num_experts")
    if dense:
        to.put("feed_forward.n_dense_layers", len(dense), "mlp_only_layers")


def _qwen3_moe_keys(config: ModelConfig) -> dict[str, Any]:
    return {
        **rope_keys(config),
        "use_sliding_window": config.attention.window is not None,
        **window_keys(config),
        "num_experts": config.feed_forward.n_experts,
        "mlp_only_layers": list(range(config.feed_forward.n_dense_layers)),
        "decoder_sparse_step": 1,
    }


QWEN3_MOE = Family(
    model_type="qwen3_moe",
    architecture="Qwen3MoeForCausalLM",
    title="Qwen3 with experts",
    keys=Qwen3MoeKeys,
    constants={**key.LLAMA_LIKE, "attention.qk_norm": "per_head", "feed_forward.router": "softmax"},
    to_tinylm=_qwen3_moe,
    from_tinylm=_qwen3_moe_keys,
    tensor_names=EXPERT_NAMES,
    ignored=frozenset(["max_window_layers"]),  # written by old versions, read by none
    aliases={"num_local_experts": "num_experts"},
)
