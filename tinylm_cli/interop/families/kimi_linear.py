"""Kimi Linear: Kimi delta attention, latent attention without RoPE, and DeepSeek V3's experts."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import MlpLayerTypeKeys, expert_kind, idle_expert_keys, put_expert_groups
from tinylm_cli.interop.families.deepseek import IGNORED, LATENT, LATENT_NAMES, LatentAttentionKeys
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.tensor_names import Fused, Split, TensorLayout, mlp
from tinylm_cli.interop.translation import Translation

KDA = "kimi_delta_attention"
TYPES = {"linear_attention": "linear", "full_attention": "full"}
"""The kind of each layer type."""

_PERIOD = 4
"""Every fourth layer has latent attention by default, without the first."""


def kda_names(stored: str) -> dict[str, str]:
    """Return the names of the modules that the families of Kimi delta attention share, in the module ``stored``."""
    projections = {f"{KDA}.{part}_proj": f"{stored}.{part}_proj" for part in "qkvbo"}
    return {**projections, f"{KDA}.o_norm": f"{stored}.o_norm"}


def kda_convolution(stored: str) -> Split:
    """Return the convolution, stored as separate convolutions of queries, keys and values."""
    return Split(
        f"{KDA}.conv.weight",
        tuple(f"{stored}.{part}_conv1d.weight" for part in "qkv"),
        lambda config: [config.kimi_delta_attention_heads * config.kimi_delta_attention.d_head] * 3,
    )


def kda_layer(config: ModelConfig) -> ModelConfig:
    """Return the config of the layers with Kimi delta attention; without any, ``config`` itself."""
    return next((kind for kind in layer_pattern(config).kinds if kind.block.mixer == KDA), config)


class DeltaLayerKeys(MlpLayerTypeKeys, LatentAttentionKeys):
    """Keys of a family whose layers have Kimi delta attention or latent attention, and experts or none."""

    hidden_act: key.Activation = key.only("silu", why="tinylm activates the convolution of KDA with SiLU")
    tie_word_embeddings: key.TieWeights = key.only(False, why="this family's code does not tie the LM head")
    layer_types: key.LayerTypes = None
    num_local_experts: key.NExperts = 256
    n_shared_experts: key.NSharedExperts = 1
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 1024
    routed_scaling_factor: key.RoutedScale = 1.0
    n_group: Annotated[int, *key.fills("feed_forward.n_groups")] = 1
    topk_group: key.OptionalSize = 1
    norm_topk_prob: key.Renormalize = True
    first_k_dense_replace: key.OptionalCount = 1

    aliases: ClassVar[Mapping[str, str]] = {
        "model_max_length": "max_position_embeddings",
        "moe_renormalize": "norm_topk_prob",
        "num_expert_group": "n_group",
        "num_experts": "num_local_experts",
        "num_experts_per_token": "num_experts_per_tok",
        "num_shared_experts": "n_shared_experts",
    }

    def types(self, to: Translation) -> tuple[list[str], str]:
        """Return the type of each layer, and the key that determines them."""
        raise NotImplementedError

    def put_sizes(self, to: Translation) -> None:
        """Set the sizes of Kimi delta attention."""
        raise NotImplementedError

    def to_tinylm(self, to: Translation) -> None:
        """Map the kinds of layers, the sizes of both kinds of attention, and the layers that have experts."""
        super().to_tinylm(to)
        put_expert_groups(to, self.n_group, self.topk_group)
        if to.has_error("num_hidden_layers", "layer_types"):
            return
        types, listed = self.types(to)
        names = kinds_of_types(to, listed, types, TYPES, self.num_hidden_layers) if types else []
        if "linear" in names:
            self.put_sizes(to)
        put_layers(to, names, {"linear": {"block.mixer": KDA}, "full": {}}, listed)
        if names:
            n_dense = self.first_k_dense_replace or 0
            self.put_sparse_layers(to, self.num_local_experts, "num_local_experts", n_dense, "first_k_dense_replace")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the type of each layer."""
        experts, types = expert_kind(config).feed_forward, {kind: name for name, kind in TYPES.items()}
        mixers = (kind.block.mixer for kind in layer_pattern(config))
        return super().from_tinylm(config) | {
            "layer_types": [types["linear" if mixer == KDA else "full"] for mixer in mixers],
            "num_local_experts": experts.n_experts,
            "topk_group": experts.top_k_groups,
            **idle_expert_keys(cls, config),
        }


class LinearAttentionConfig(key.KeyBlock):
    """The object under ``linear_attn_config``, whose layers count from 1."""

    full_attn_layers: key.IntegerList = None
    kda_layers: key.IntegerList = None
    head_dim: Annotated[int | None, *key.like(f"{KDA}.d_head")] = None
    num_heads: Annotated[int | None, *key.like(f"{KDA}.n_heads")] = None
    short_conv_kernel_size: Annotated[int | None, *key.like(f"{KDA}.kernel_size")] = None


class KimiLinearKeys(DeltaLayerKeys):
    """``KimiLinearConfig``."""

    constants = {
        **LATENT,
        "position.kind": "none",
        "position.pairing": "half",
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
    }
    tensor_names = LATENT_NAMES.override(
        layer={
            **kda_names("self_attn"),
            **{f"{KDA}.decay_{part}_proj": f"self_attn.f_{part}_proj" for part in "ab"},
            **{f"{KDA}.gate_{part}_proj": f"self_attn.g_{part}_proj" for part in "ab"},
            "feed_forward.router": "block_sparse_moe.gate",
            **mlp("feed_forward.shared_experts", "block_sparse_moe.shared_experts"),
        },
        experts={
            "feed_forward.experts.gate_proj": "block_sparse_moe.experts.{e}.w1",
            "feed_forward.experts.up_proj": "block_sparse_moe.experts.{e}.w3",
            "feed_forward.experts.down_proj": "block_sparse_moe.experts.{e}.w2",
        },
        tensors=(
            Fused((f"{KDA}.A_log",), "self_attn.A_log", TensorLayout.broadcast),
            Fused((f"{KDA}.dt_bias",), "self_attn.dt_bias"),
            Fused(("feed_forward.router.score_correction",), "block_sparse_moe.gate.e_score_correction_bias"),
        ),
        splits=(kda_convolution("self_attn"),),
        other_spellings={".mlp.": ".block_sparse_moe."},  # transformers names dense networks so too
    )
    # read by no version of the code, which has no RoPE
    ignored = (*IGNORED, "rope_theta", "rope_scaling", "rope_parameters", "rope_interleave")

    vocab_size: key.VocabSize = 163840
    hidden_size: key.DModel = 2304
    intermediate_size: key.DFF = 9216
    num_hidden_layers: key.NLayers = 27
    max_position_embeddings: key.MaxLen = 1048576
    rms_norm_eps: key.NormEps = 1e-5
    q_lora_rank: Annotated[int | None, *key.fills("attention.q_rank")] = None
    routed_scaling_factor: key.RoutedScale = 2.446
    linear_attn_config: LinearAttentionConfig | None = None
    linear_head_dim: Annotated[int, *key.like(f"{KDA}.d_head")] = 128
    linear_num_heads: Annotated[int, *key.like(f"{KDA}.n_heads")] = 32
    linear_conv_kernel_dim: Annotated[int, *key.like(f"{KDA}.kernel_size")] = 4
    mla_use_nope: bool = key.only(True, why="this family's code has no RoPE")
    moe_layer_freq: int = key.only(1, why="this family's code has only leading dense layers")
    moe_router_activation_func: str = key.only("sigmoid", why="this family's code weights experts with a sigmoid")
    use_grouped_topk: bool = key.only(True, why="this family's code selects groups of experts first")

    def types(self, to: Translation) -> tuple[list[str], str]:
        """Return the types of ``layer_types`` or ``linear_attn_config``; by default attention in every fourth layer."""
        if self.layer_types is not None:
            return self.layer_types, "layer_types"
        block = self.linear_attn_config
        if block is not None and block.full_attn_layers is not None and block.kda_layers is not None:
            return self._checkpoint_types(to, block.full_attn_layers, block.kda_layers), "linear_attn_config.kda_layers"
        is_full = [layer > 0 and layer % _PERIOD == 0 for layer in range(self.num_hidden_layers)]
        return ["full_attention" if full else "linear_attention" for full in is_full], "layer_types"

    def _checkpoint_types(self, to: Translation, full: list[int], linear: list[int]) -> list[str]:
        """Return the type of each layer from two lists of layers, counted from 1; empty if an error is reported."""
        if sorted([*full, *linear]) != list(range(1, self.num_hidden_layers + 1)):
            name = "linear_attn_config.kda_layers"
            message = f"{to.display(name)} and full_attn_layers do not list each layer from 1 to n_layers once"
            to.contradiction(name, message, "list each layer in one of them", "num_hidden_layers")
            return []
        return ["full_attention" if layer in full else "linear_attention" for layer in sorted([*full, *linear])]

    def put_sizes(self, to: Translation) -> None:
        """Set the sizes of KDA, first from ``linear_attn_config``; the rank of gates is the size of a head."""
        for field, inside, outside in (
            ("d_head", "head_dim", "linear_head_dim"),
            ("gate_rank", "head_dim", "linear_head_dim"),
            ("n_heads", "num_heads", "linear_num_heads"),
            ("kernel_size", "short_conv_kernel_size", "linear_conv_kernel_dim"),
        ):
            value = getattr(self.linear_attn_config, inside, None)
            place = outside if value is None else f"linear_attn_config.{inside}"
            to.put(f"{KDA}.{field}", getattr(self, outside) if value is None else value, place)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the sizes of KDA."""
        layer = kda_layer(config)
        return super().from_tinylm(config) | {
            "linear_head_dim": layer.kimi_delta_attention.d_head,
            "linear_num_heads": layer.kimi_delta_attention_heads,
            "linear_conv_kernel_dim": layer.kimi_delta_attention.kernel_size,
        }
