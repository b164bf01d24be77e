"""Mamba-2 layers and attention in turn: IBM's Bamba, and Granite 4.0 with its experts."""

from collections.abc import Sequence
from typing import Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import put_expert_layers
from tinylm_cli.interop.families.granite import GraniteMoeSharedKeys
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.mamba2_keys import Mamba2LayerKeys, mamba2_names
from tinylm_cli.interop.rope_scaling import RopeKeys, RotaryFraction
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, mlp
from tinylm_cli.interop.translation import Translation

_KINDS = {"mamba": {"block.mixer": "mamba2"}, "attention": {}}
_TYPES = {
    "linear_attention": "mamba",
    "mamba": "mamba",
    "full_attention": "attention",
    "attention": "attention",
}
"""The kind of each layer type, in its present and its earlier name."""

_MODULES, _TENSORS = mamba2_names("mamba")


_SILU = "tinylm activates the convolution with SiLU"


class MambaInTurnKeys(Mamba2LayerKeys):
    """The keys of a family whose layers have either mixer."""

    def put_mixers(self, to: Translation, listed: str, types: Sequence[str], n_layers: int) -> None:
        """Set the mixer of each layer from the types under the key ``listed``."""
        names = kinds_of_types(to, listed, types, _TYPES, n_layers)
        if "mamba" in names and not to.has_error("hidden_size", "mamba_expand"):
            self.put_mamba2(to, self.mamba_expand * to.get("d_model"), "mamba_expand", "hidden_size")
        put_layers(to, names, _KINDS, listed)

    @staticmethod
    def mixer_keys(config: ModelConfig) -> dict[str, Any]:
        """Return the keys of the Mamba-2 layers; without such layers, sizes that transformers accepts."""
        mamba = next((kind for kind in layer_pattern(config).kinds if kind.block.mixer == "mamba2"), None)
        if mamba is None:
            return {"mamba_n_heads": 1, "mamba_expand": 1}
        inner = mamba.mamba2_heads * mamba.mamba2.d_head
        return {**Mamba2LayerKeys.mamba2_keys(mamba), "mamba_expand": inner // mamba.d_model}


def _types(config: ModelConfig) -> list[str]:
    """Return the type of each layer."""
    mixers = (kind.block.mixer for kind in layer_pattern(config))
    return ["linear_attention" if mixer == "mamba2" else "full_attention" for mixer in mixers]


class BambaKeys(key.LlamaLikeKeys, RopeKeys, MambaInTurnKeys):
    """``BambaConfig``: by default, no layer has attention."""

    tensor_names = LLAMA_NAMES.override(
        top_level={"ln_f": "model.final_layernorm"},
        layer={"ln_2": "pre_ff_layernorm", **mlp("feed_forward", "feed_forward"), **_MODULES},
        tensors=_TENSORS,
    )
    ignored = ("num_logits_to_keep", "z_loss_coefficient", "layers_block_type", "layer_types", "attn_rotary_emb")

    vocab_size: key.VocabSize = 128_000
    intermediate_size: key.DFF = 14336
    num_key_value_heads: key.NKVHeads = 8
    hidden_act: key.Activation = key.only("silu", "swish", why=_SILU)
    rms_norm_eps: key.NormEps = 1e-5
    max_position_embeddings: key.MaxLen = 262_144
    partial_rotary_factor: RotaryFraction = key.only(0.5, why="this family's code rotates half of each head")
    attention_bias: key.AttentionBias = False
    mlp_bias: key.FeedForwardBias = False
    attn_layer_indices: key.IntegerList = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the layers with attention, and the Mamba-2 mixers of the others."""
        super().to_tinylm(to)
        if to.has_error("num_hidden_layers", "attn_layer_indices"):
            return
        n_layers, full = self.num_hidden_layers, self.attn_layer_indices or []
        types = ["full_attention" if layer in full else "linear_attention" for layer in range(n_layers)]
        self.put_mixers(to, "attn_layer_indices", types, n_layers)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        full = [layer for layer, name in enumerate(_types(config)) if name == "full_attention"]
        return super().from_tinylm(config) | cls.mixer_keys(config) | {"attn_layer_indices": full}


class GraniteMoeHybridKeys(GraniteMoeSharedKeys, MambaInTurnKeys):
    """``GraniteMoeHybridConfig``: a shared expert with or without routed ones; by default no positions."""

    tensor_names = GraniteMoeSharedKeys.tensor_names.override(
        layer={"feed_forward.down_proj": "shared_mlp.output_linear", **_MODULES},
        fused=(
            *GraniteMoeSharedKeys.tensor_names.fused,
            GraniteMoeSharedKeys.tensor_names.fused[0]._replace(
                names=("feed_forward.gate_proj", "feed_forward.up_proj")
            ),
        ),
        tensors=(*GraniteMoeSharedKeys.tensor_names.tensors, *_TENSORS),
    )
    aliases = {**GraniteMoeSharedKeys.aliases, "layers_block_type": "layer_types"}
    ignored = ("normalization_function", "init_method")  # older versions write them

    hidden_act: key.Activation = key.only("silu", "swish", why=_SILU)
    num_local_experts: key.Count = 8
    num_experts_per_tok: key.Count = 2
    shared_intermediate_size: key.Count = 1024
    position_embedding_type: key.Text = None
    layer_types: key.LayerTypes = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the positions, the experts and the mixers."""
        super().to_tinylm(to)
        n_layers = self.num_hidden_layers
        if self.position_embedding_type != "rope":
            to.put("position.kind", "none", "position_embedding_type")
        if self.num_local_experts:
            to.put("feed_forward.top_k", self.num_experts_per_tok, "num_experts_per_tok")
        else:
            to.put("d_ff", self.shared_intermediate_size, "shared_intermediate_size")
        put_expert_layers(to, self.num_local_experts, "num_local_experts", [False] * n_layers)
        if to.has_error("num_hidden_layers", "layer_types"):
            return
        types = ["linear_attention"] * n_layers if self.layer_types is None else self.layer_types
        self.put_mixers(to, "layer_types", types, n_layers)

    def put_shared_experts(self, to: Translation) -> None:
        """Set the number of shared experts; without routed ones, the network has their width."""
        if self.num_local_experts:
            super().put_shared_experts(to)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        keys = super().from_tinylm(config) | cls.mixer_keys(config)
        experts = config.feed_forward.n_experts
        if experts is None:
            keys["shared_intermediate_size"] = config.d_ff
        positions = (kind.position.kind for kind in layer_pattern(config).kinds if kind.block.mixer == "attention")
        return keys | {
            "num_local_experts": experts or 0,
            "num_experts_per_tok": config.feed_forward.top_k,
            "position_embedding_type": next((kind for kind in positions if kind == "rope"), None),
            "layer_types": _types(config),
        }
