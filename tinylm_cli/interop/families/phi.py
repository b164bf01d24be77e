"""Microsoft's Phi: 1, 1.5 and 2 (parallel blocks with one norm), 3 and 4 (similar to Llama), and 3.5 with experts."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, RopeParameters, RotaryFraction, Theta
from tinylm_cli.interop.tensor_names import GATE_UP, LLAMA_NAMES, MIXTRAL_EXPERTS, QKV, Fused
from tinylm_cli.interop.translation import Translation


class PhiKeys(key.LlamaLikeKeys, RopeKeys):
    """``PhiConfig``."""

    constants = {
        "embedding.multiplier": 1.0,
        "position.kind": "rope",
        "block.parallel": True,
        "block.shared_norm": True,
        "head.bias": True,
    }
    tensor_names = LLAMA_NAMES.override(
        top_level={"ln_f": "model.final_layernorm"},
        layer={
            "attention.o_proj": "self_attn.dense",
            "attention.q_norm": "self_attn.q_layernorm",
            "attention.k_norm": "self_attn.k_layernorm",
            "feed_forward.up_proj": "mlp.fc1",
            "feed_forward.down_proj": "mlp.fc2",
        },
    )

    vocab_size: key.VocabSize = 51200
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 8192
    num_hidden_layers: key.NLayers = 24
    head_dim: key.DHead = None
    hidden_act: key.Activation = "gelu_new"
    partial_rotary_factor: RotaryFraction = 0.5
    resid_pdrop: key.Dropout = 0.0
    layer_norm_eps: key.NormEps = 1e-5
    qk_layernorm: bool | None = False

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        if self.qk_layernorm:
            to.put("attention.qk_norm", "per_head", "qk_layernorm")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"qk_layernorm": config.attention.qk_norm == "per_head"}


_NO_BIASES = "this family's code has no biases"


class Phi3Keys(key.LlamaLikeKeys, RopeKeys):
    """``Phi3Config``."""

    tensor_names = LLAMA_NAMES.override(fused=(Fused(QKV, "self_attn.qkv_proj"), GATE_UP))

    scaling_names: ClassVar[Mapping[str, str]] = {"su": "longrope", "yarn": "longrope"}

    vocab_size: key.VocabSize = 32064
    hidden_size: key.DModel = 3072
    intermediate_size: key.DFF = 8192
    head_dim: key.DHead = None
    max_position_embeddings: key.MaxLen = 4096
    original_max_position_embeddings: key.OptionalSize = 4096
    partial_rotary_factor: RotaryFraction = 1.0
    resid_pdrop: key.Dropout = 0.0
    rms_norm_eps: key.NormEps = 1e-5
    sliding_window: key.Window = None
    attention_bias: bool = key.only(False, why=_NO_BIASES)
    mlp_bias: bool = key.only(False, why=_NO_BIASES)
    lm_head_bias: bool = key.only(False, why=_NO_BIASES)
    full_attn_mod: int = key.only(1, why="this family's code has only one kind of layer")
    interpolate_factor: int = key.only(1, why="this family's code does not support it")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys of RoPE; ``original_max_position_embeddings`` is also a top-level key."""
        original = config.position.original_max_len
        length = {} if original is None else {"original_max_position_embeddings": original}
        return super().from_tinylm(config) | length


class Phi4MultimodalKeys(Phi3Keys):
    """``Phi4MultimodalConfig``, which has the keys of the language model at its top level."""

    tensor_names = Phi3Keys.tensor_names.override(skipped_prefixes=("model.embed_tokens_extend.",))
    ignored_outer_keys = ("vision_config", "audio_config")

    vocab_size: key.VocabSize = 200064
    num_key_value_heads: key.NKVHeads = 8
    max_position_embeddings: key.MaxLen = 131072


class PhimoeRopeParameters(RopeParameters):
    """RoPE, with LongRoPE's attention factors for short and for long sequences."""

    short_mscale: Annotated[float | None, *key.like("position.attention_factor")] = None
    long_mscale: Annotated[float | None, *key.like("position.attention_factor")] = None


class PhimoeKeys(key.LlamaLikeKeys, RopeKeys):
    """``PhimoeConfig``."""

    constants = {
        **key.LLAMA_LIKE,
        "norm.kind": "layernorm",
        "feed_forward.router": "sparsemixer",
    }
    tensor_names = LLAMA_NAMES.override(
        layer={"feed_forward.router": "block_sparse_moe.gate"},
        experts=MIXTRAL_EXPERTS,
    )
    ignored = ("input_jitter_noise", "hidden_dropout")  # training

    vocab_size: key.VocabSize = 32064
    intermediate_size: key.DFF = 6400
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = None
    max_position_embeddings: key.MaxLen = 131072
    rope_theta: Theta = 1e6
    rope_scaling: PhimoeRopeParameters | None = None
    rope_parameters: PhimoeRopeParameters | None = None
    rms_norm_eps: key.NormEps = 1e-5
    sliding_window: key.Window = None
    num_local_experts: key.NExperts = 16
    num_experts_per_tok: int = key.only(2, why="this family's code always selects two experts")
    router_jitter_noise: Annotated[float, *key.fills("feed_forward.router_jitter")] = 0.01
    attention_bias: key.AttentionBias = False
    lm_head_bias: Annotated[bool, *key.fills("head.bias")] = False

    def to_tinylm(self, to: Translation) -> None:
        """Map as Llama; with LongRoPE, transformers 5.24 uses ``short_factor`` at every length."""
        super().to_tinylm(to)
        to.put("feed_forward.top_k", 2)
        block_key, block = self.rope_block()
        scaling = to.get("position.scaling")
        if not isinstance(block, PhimoeRopeParameters) or scaling is None:
            to.ignore(f"{block_key}.short_mscale", f"{block_key}.long_mscale")
            return
        if scaling != "longrope":
            type_key = "rope_type" if block.rope_type is not None else "type"
            to.unsupported(f"{block_key}.{type_key}", "this family's RoPE is scaled only by longrope")
            return
        if block.short_mscale is None or block.long_mscale is None:
            absent = "short_mscale" if block.short_mscale is None else "long_mscale"
            to.missing(f"{block_key}.{absent}", "this family requires it", f'for example "{absent}": 1.24')
            return
        if block.short_mscale != block.long_mscale:
            why = "tinylm multiplies rotations by the same factor at every length"
            to.unsupported(f"{block_key}.long_mscale", why, f"write the value of short_mscale, {block.short_mscale:g}")
        to.put("position.attention_factor", block.short_mscale, f"{block_key}.short_mscale")
        to.put("position.long_factors", block.short_factor, f"{block_key}.short_factor")
        to.ignore(f"{block_key}.long_factor")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        keys = super().from_tinylm(config)
        scaling, factor = keys["rope_scaling"], config.position.attention_factor
        if scaling is not None:
            keys["rope_scaling"] = {**scaling, "short_mscale": factor, "long_mscale": factor}
        return keys
