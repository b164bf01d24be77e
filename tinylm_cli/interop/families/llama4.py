"""Llama 4: most layers attend within chunks, with RoPE; the others attend to all positions, without RoPE.

Sigmoid scores multiply the inputs of routed experts. Every layer with experts also has a shared one.
"""

from typing import Annotated, Any

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import dense_layers, expert_kind, put_expert_layers
from tinylm_cli.interop.layer_order import kinds_of_types, put_layers
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.sliding_windows import WITHOUT_ROPE, RopeLayerKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, Fused, TensorLayout, mlp
from tinylm_cli.interop.translation import Translation

_QK_NORM = {
    "attention.qk_norm": "per_head",
    "attention.qk_norm_weight": False,
    "attention.qk_norm_after_rope": True,
}
"""``Llama4TextL2Norm``, in layers with RoPE."""

_EXPERTS = "feed_forward.experts"


class Llama4TextKeys(RopeLayerKeys, RopeKeys):
    """``Llama4TextConfig``: by default, every fourth layer has no RoPE and attends to all positions."""

    constants = {
        **key.LLAMA_LIKE,
        "position.pairing": "adjacent",
        "feed_forward.router": "sigmoid",
        "feed_forward.router_weight_on_input": True,
        "feed_forward.n_shared_experts": 1,
    }
    tensor_names = LLAMA_NAMES.override(
        layer={
            **mlp("feed_forward", "feed_forward"),
            **mlp("feed_forward.shared_experts", "feed_forward.shared_expert"),
            "feed_forward.router": "feed_forward.router",
        },
        tensors=(
            Fused(
                (f"{_EXPERTS}.gate_proj.weight", f"{_EXPERTS}.up_proj.weight"),
                f"{_EXPERTS}.gate_up_proj",
                TensorLayout.stacked_transposed,
            ),
            Fused((f"{_EXPERTS}.down_proj.weight",), f"{_EXPERTS}.down_proj", TensorLayout.transposed),
        ),
    )
    ignored = ("for_llm_compressor", "router_jitter_noise")  # quantization, training

    vocab_size: key.VocabSize = 202048
    hidden_size: key.DModel = 5120
    intermediate_size: Annotated[int, *key.fills("feed_forward.d_expert")] = 8192
    intermediate_size_mlp: key.DFF = 16384
    num_hidden_layers: key.NLayers = 48
    num_attention_heads: key.NHeads = 40
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 131072
    rms_norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = False
    rope_theta: Theta = 500_000.0
    num_local_experts: key.Count = 16
    num_experts_per_tok: key.TopK = 1
    moe_layers: key.IntegerList = None
    interleave_moe_layer_step: key.OptionalSize = 1
    use_qk_norm: bool = True
    attention_chunk_size: key.LayerWindow = 8192
    layer_types: key.LayerTypes = None
    attn_temperature_tuning: bool = True
    attn_scale: Annotated[float, *key.like("attention.temperature_scale")] = 0.1
    floor_scale: Annotated[int, *key.like("attention.temperature_len")] = 8192

    def to_tinylm(self, to: Translation) -> None:
        """Map the layers with RoPE and its norms, those with chunks, and those with experts."""
        if self.num_local_experts:  # first, so that the fields of experts have an effect
            to.put("feed_forward.n_experts", self.num_local_experts, "num_local_experts")
        super().to_tinylm(to)
        ropes = self.rope_layers(to)
        chunks = self._chunked_layers(to, ropes)
        if not ropes or not chunks:
            return
        kinds = {
            _name(rope=rope, chunked=chunked): {
                **self._position_fields(rope=rope),
                **({"attention.window": self.attention_chunk_size, "attention.chunked": True} if chunked else {}),
            }
            for rope in (True, False)
            for chunked in (True, False)
        }
        names = [_name(rope=rope, chunked=chunked) for rope, chunked in zip(ropes, chunks, strict=True)]
        put_layers(to, names, kinds, "no_rope_layers", "layer_types", "no_rope_layer_interval")
        if not self.attn_temperature_tuning or all(ropes):
            to.ignore("attn_scale", "floor_scale")
        step = self.interleave_moe_layer_step or 1
        sparse = range(step - 1, len(ropes), step) if self.moe_layers is None else self.moe_layers
        is_dense = [layer not in sparse for layer in range(len(ropes))]
        put_expert_layers(
            to, self.num_local_experts, "num_local_experts", is_dense, "moe_layers", "interleave_moe_layer_step"
        )

    def _chunked_layers(self, to: Translation, ropes: list[bool]) -> list[bool]:
        """Return whether each layer attends within chunks; empty if that is reported."""
        if self.layer_types is None or to.has_error("layer_types", "num_hidden_layers"):
            return [rope and self.attention_chunk_size is not None for rope in ropes]
        names = {"chunked_attention": "chunked", "full_attention": "full"}
        kinds = kinds_of_types(to, "layer_types", self.layer_types, names, self.num_hidden_layers)
        if "chunked" in kinds and self.attention_chunk_size is None and not to.has_error("attention_chunk_size"):
            message = f"{to.display('layer_types')} lists chunked_attention, but there is no chunk size"
            remedy = "give attention_chunk_size a number, or write full_attention"
            to.contradiction("layer_types", message, remedy, "attention_chunk_size")
            return []
        if "chunked" not in kinds:
            to.ignore("attention_chunk_size")
        return [kind == "chunked" for kind in kinds]

    def _position_fields(self, *, rope: bool) -> dict[str, Any]:
        """Return the fields of the layers with RoPE, or of those without."""
        if rope:
            return _QK_NORM if self.use_qk_norm else {}
        if not self.attn_temperature_tuning:
            return WITHOUT_ROPE
        return {
            **WITHOUT_ROPE,
            "attention.temperature_scale": self.attn_scale,
            "attention.temperature_len": self.floor_scale,
            "attention.temperature_offset": 1,
        }

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        kinds = list(layer_pattern(config))
        tuned = next((kind.attention for kind in kinds if kind.attention.temperature_scale is not None), None)
        keys = super().from_tinylm(config) | {
            "intermediate_size": expert_kind(config).d_expert,
            "num_local_experts": expert_kind(config).feed_forward.n_experts,
            "moe_layers": [layer for layer, is_dense in enumerate(dense_layers(config)) if not is_dense],
            "use_qk_norm": any(kind.attention.qk_norm != "none" for kind in kinds),
            "attention_chunk_size": next((kind.attention.window for kind in kinds if kind.attention.chunked), None),
            "layer_types": ["chunked_attention" if kind.attention.chunked else "full_attention" for kind in kinds],
            "attn_temperature_tuning": tuned is not None,
        }
        return keys | (
            {} if tuned is None else {"attn_scale": tuned.temperature_scale, "floor_scale": tuned.temperature_len}
        )


def _name(*, rope: bool, chunked: bool) -> str:
    """Return the name of a kind of layers: with RoPE or without, with chunks or without."""
    return f"{'rope' if rope else 'nope'}{'_chunked' if chunked else ''}"


class Llama4Keys(Llama4TextKeys):
    """``Llama4Config``."""

    tensor_names = Llama4TextKeys.tensor_names.override(
        prefix_maps=({"model.": "language_model.model.", "lm_head.": "language_model.lm_head."},),
        skipped_prefixes=("vision_model.", "multi_modal_projector."),
    )
    language_model_key = "text_config"
    ignored_outer_keys = (
        "vision_config",
        *("boi_token_id", "boi_token_index", "eoi_token_index", "image_token_id", "image_token_index"),
    )
