"""Ling 3: Kimi delta attention with bounded decays, gated latent attention, and DeepSeek V3's experts."""

from typing import Annotated, Any

from pydantic import Field

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.deepseek import IGNORED, LATENT, LATENT_NAMES, LatentKeys
from tinylm_cli.interop.families.kimi_linear import KDA, DeltaLayerKeys, kda_convolution, kda_layer, kda_names
from tinylm_cli.interop.rope_scaling import Theta
from tinylm_cli.interop.tensor_names import EMBEDDING, Fused
from tinylm_cli.interop.translation import Translation

_LATENT_MODULES = {
    f"attention.{ours}": f"attention.{theirs}"
    for ours, theirs in (
        ("q_proj", "q_proj"),
        ("q_a_proj", "q_a_proj"),
        ("q_a_norm", "q_a_layernorm"),
        ("q_b_proj", "q_b_proj"),
        ("kv_a_proj", "kv_a_proj_with_mqa"),
        ("kv_a_norm", "kv_a_layernorm"),
        ("kv_b_proj", "kv_b_proj"),
        ("gate_proj", "g_proj"),
        ("o_proj", "dense"),
    )
}


class BailingHybridKeys(DeltaLayerKeys, LatentKeys):
    """``BailingHybridConfig``: by default, the last of six layers has latent attention."""

    constants = {
        **LATENT,
        "attention.gate": True,
        "attention.gate_per_head": True,
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
    }
    tensor_names = LATENT_NAMES.override(
        top_level={EMBEDDING: "model.word_embeddings"},
        layer={
            **_LATENT_MODULES,
            **kda_names("attention"),
            f"{KDA}.o_proj": "attention.dense",
            f"{KDA}.decay_proj": "attention.f_proj",
            f"{KDA}.gate_proj": "attention.g_proj",
        },
        tensors=(
            Fused((f"{KDA}.A_log",), "attention.A_log"),
            Fused((f"{KDA}.dt_bias",), "attention.dt_bias"),
            Fused(("feed_forward.router.score_correction",), "mlp.gate.expert_bias"),
        ),
        splits=(kda_convolution("attention"),),
    )
    # multi-token prediction layers, which are not loaded; head_dim is read
    ignored = (*(name for name in IGNORED if name != "head_dim"), "mtp_loss_scaling_factor", "rope_interleave")

    vocab_size: key.VocabSize = 157184
    hidden_size: key.DModel = 2560
    intermediate_size: key.DFF = 6144
    num_hidden_layers: key.NLayers = 42
    max_position_embeddings: key.MaxLen = 262144
    rope_theta: Theta = 6e6
    q_lora_rank: Annotated[int | None, *key.fills("attention.q_rank")] = None
    num_local_experts: key.NExperts = 512
    moe_intermediate_size: key.DExpert = 768
    routed_scaling_factor: key.RoutedScale = 2.5
    n_group: Annotated[int, *key.fills("feed_forward.n_groups")] = 8
    topk_group: key.OptionalSize = 4
    first_k_dense_replace: key.OptionalCount = 2
    layer_group_size: key.Size = 6
    head_dim: Annotated[int, *key.like(f"{KDA}.d_head")] = 128
    short_conv_kernel_size: Annotated[int, *key.like(f"{KDA}.kernel_size")] = 4
    linear_head_dim: Annotated[int | None, *key.like(f"{KDA}.d_head")] = None
    linear_num_heads: Annotated[int | None, *key.like(f"{KDA}.n_heads")] = None
    linear_conv_kernel_dim: Annotated[int | None, *key.like(f"{KDA}.kernel_size")] = None
    kda_safe_gate: bool = True
    kda_lower_bound: Annotated[float, Field(lt=0, ge=-1e4)] = -5.0

    def types(self, to: Translation) -> tuple[list[str], str]:  # noqa: ARG002
        """Return the listed types, or attention in the last layer of each group."""
        if self.layer_types is not None:
            return self.layer_types, "layer_types"
        linear = [bool((layer + 1) % self.layer_group_size) for layer in range(self.num_hidden_layers)]
        return ["linear_attention" if each else "full_attention" for each in linear], "layer_group_size"

    def put_sizes(self, to: Translation) -> None:
        """Set the sizes of KDA, by default derived from attention's, and the bound of its decays."""
        for field, own, default in (
            ("d_head", "linear_head_dim", "head_dim"),
            ("n_heads", "linear_num_heads", "num_attention_heads"),
            ("kernel_size", "linear_conv_kernel_dim", "short_conv_kernel_size"),
        ):
            name = default if getattr(self, own) is None else own
            to.put(f"{KDA}.{field}", getattr(self, name), name)
        if self.kda_safe_gate:
            to.put(f"{KDA}.max_decay_rate", -self.kda_lower_bound, "kda_lower_bound")
        else:
            to.ignore("kda_lower_bound")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the sizes of KDA."""
        layer = kda_layer(config)
        settings = layer.kimi_delta_attention
        keys = super().from_tinylm(config) | {
            "head_dim": settings.d_head,
            "linear_num_heads": layer.kimi_delta_attention_heads,
            "short_conv_kernel_size": settings.kernel_size,
            "kda_safe_gate": settings.max_decay_rate is not None,
        }
        bound = settings.max_decay_rate
        return keys | ({} if bound is None else {"kda_lower_bound": -bound})
