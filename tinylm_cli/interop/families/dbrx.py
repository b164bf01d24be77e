"""DBRX: experts in every layer, LayerNorm without biases, and clamped queries, keys and values."""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.tensor_names import EMBEDDING, QKV, Fused, TensorLayout, TensorNames
from tinylm_cli.interop.translation import Translation

_EXPERTS = "feed_forward.experts"


class DbrxAttentionKeys(key.KeyBlock):
    """The object under ``attn_config``."""

    is_encoder_decoder: bool = key.only(False, why="tinylm models have no encoder")
    clip_qkv: key.ClipQKV = None
    kv_n_heads: Annotated[int, *key.like("attention.n_kv_heads")] = 1
    rope_theta: Theta = None


class DbrxActivationKeys(key.KeyBlock):
    """The object under ``ffn_config.ffn_act_fn``."""

    name: key.ActivationName = "silu"


class DbrxFeedForwardKeys(key.KeyBlock):
    """The object under ``ffn_config``."""

    is_encoder_decoder: bool = key.only(False, why="tinylm models have no encoder")
    hidden_size: key.OptionalSize = None
    ffn_act_fn: DbrxActivationKeys | None = None
    ffn_hidden_size: Annotated[int, *key.like("d_ff")] = 3584
    moe_num_experts: Annotated[int, *key.like("feed_forward.n_experts")] = 4
    moe_top_k: Annotated[int, *key.like("feed_forward.top_k")] = 1
    moe_jitter_eps: key.Number = None
    moe_loss_weight: key.Number = None
    moe_normalize_expert_weights: float = key.only(1.0, why="tinylm divides the weights of experts only by their sum")


class DbrxKeys(RopeKeys):
    """``DbrxConfig``."""

    constants = {
        **key.LLAMA_LIKE,
        "tie_weights": False,
        "norm.kind": "layernorm",
        "norm.eps": 1e-5,
        "norm.bias": False,
        "feed_forward.router": "softmax",
    }
    tensor_names = TensorNames(
        top_level={EMBEDDING: "transformer.wte", "ln_f": "transformer.norm_f", "lm_head": "lm_head"},
        prefix="transformer.blocks.{i}.",
        layer={
            "ln_1": "norm_attn_norm.norm_1",
            "attention.o_proj": "norm_attn_norm.attn.out_proj",
            "ln_2": "norm_attn_norm.norm_2",
            "feed_forward.router": "ffn.router.layer",
        },
        fused=(Fused(QKV, "norm_attn_norm.attn.Wqkv"),),
        tensors=(
            Fused((f"{_EXPERTS}.gate_proj.weight",), "ffn.experts.mlp.w1", TensorLayout.flattened),
            Fused((f"{_EXPERTS}.up_proj.weight",), "ffn.experts.mlp.v1", TensorLayout.flattened),
            Fused((f"{_EXPERTS}.down_proj.weight",), "ffn.experts.mlp.w2", TensorLayout.flattened_transposed),
        ),
    )
    aliases = {
        "num_attention_heads": "n_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "max_seq_len": "max_position_embeddings",
    }
    ignored = (
        "num_key_value_heads",  # a copy of attn_config.kv_n_heads
        *("resid_pdrop", "emb_pdrop"),  # training
    )

    vocab_size: key.VocabSize = 32000
    d_model: key.DModel = 2048
    n_heads: key.NHeads = 16
    n_layers: key.NLayers = 24
    tie_word_embeddings: bool = key.only(False, why="this family's code does not tie them")
    attn_config: DbrxAttentionKeys | None = None
    ffn_config: DbrxFeedForwardKeys | None = None

    def to_tinylm(self, to: Translation) -> None:
        """Map attention and experts; ``attn_config.rope_theta`` has no effect in transformers 5.24."""
        super().to_tinylm(to)
        attention, experts = self.attn_config or DbrxAttentionKeys(), self.ffn_config or DbrxFeedForwardKeys()
        to.put("attention.n_kv_heads", attention.kv_n_heads, "attn_config.kv_n_heads")
        to.put("attention.clip_qkv", attention.clip_qkv, "attn_config.clip_qkv")
        theta = to.get("position.theta")
        if theta is not None and attention.rope_theta not in (None, theta):
            place = "attn_config.rope_theta"
            message = (
                f"{to.display(place)} {attention.rope_theta:g} contradicts rope_theta {theta:g}, which is in effect"
            )
            to.contradiction(
                place, message, "write the theta of the model as rope_theta beside attn_config", "rope_theta"
            )
        to.ignore("attn_config.rope_theta")
        activation = (experts.ffn_act_fn or DbrxActivationKeys()).name
        to.put("feed_forward.activation", key.ACTIVATIONS[activation], "ffn_config.ffn_act_fn.name")
        to.put("d_ff", experts.ffn_hidden_size, "ffn_config.ffn_hidden_size")
        to.put("feed_forward.n_experts", experts.moe_num_experts, "ffn_config.moe_num_experts")
        to.put("feed_forward.top_k", experts.moe_top_k, "ffn_config.moe_top_k")
        renormalize = experts.moe_normalize_expert_weights is not None
        to.put("feed_forward.renormalize", renormalize, "ffn_config.moe_normalize_expert_weights")
        to.ignore(*(f"ffn_config.{name}" for name in ("hidden_size", "moe_jitter_eps", "moe_loss_weight")))

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        attention, experts = config.attention, config.feed_forward
        return super().from_tinylm(config) | {
            "attn_config": {
                "kv_n_heads": config.n_kv_heads,
                "clip_qkv": attention.clip_qkv,
                "rope_theta": config.position.theta,  # required, but not read
            },
            "ffn_config": {
                "ffn_act_fn": {"name": experts.activation},
                "ffn_hidden_size": config.d_expert,
                "moe_num_experts": experts.n_experts,
                "moe_top_k": experts.top_k,
                "moe_normalize_expert_weights": 1.0 if experts.renormalize else None,
            },
        }
