"""IBM's Granite, NAVER's HyperCLOVA X: Llama with multipliers of embeddings, scores, residual branches and logits."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.llama import LlamaKeys
from tinylm_cli.interop.layer_order import kind_with, put_layers
from tinylm_cli.interop.sliding_windows import WITHOUT_ROPE, LayerWindowKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, Fused, TensorLayout
from tinylm_cli.interop.translation import Translation


class _MultiplierKeys(LlamaKeys):
    embedding_multiplier: Annotated[float, *key.fills("embedding.multiplier")] = 1.0
    residual_multiplier: Annotated[float, *key.fills("block.residual_multiplier")] = 1.0


class GraniteKeys(_MultiplierKeys):
    """``GraniteConfig``."""

    attention_multiplier: Annotated[float, *key.fills("attention.scale")] = 1.0
    logits_scaling: Annotated[float, Field(gt=0, le=key.MAX_NUMBER, examples=[16.0])] = 1.0

    def to_tinylm(self, to: Translation) -> None:
        """Map as Llama; logits are divided by ``logits_scaling``."""
        super().to_tinylm(to)
        to.put("head.logit_scale", 1 / self.logits_scaling, "logits_scaling")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        scale = config.head.logit_scale
        divisor = float(f"{1 / scale:.15g}")  # without the rounding of the two reciprocals
        return super().from_tinylm(config) | {"logits_scaling": divisor if 1 / divisor == scale else 1 / scale}


class GraniteSWAKeys(GraniteKeys, LayerWindowKeys):
    """``GraniteSWAConfig``: attention sinks, and windows in three of four layers."""

    constants = {**key.LLAMA_LIKE, "attention.sinks": True}
    tensor_names = LLAMA_NAMES.override(tensors=(Fused(("attention.sinks",), "self_attn.sinks"),))

    default_pattern = "GLLL"

    vocab_size: key.VocabSize = 100352
    hidden_size: key.DModel = 2560
    intermediate_size: key.DFF = 8192
    num_hidden_layers: key.NLayers = 24
    num_attention_heads: key.NHeads = 20
    num_key_value_heads: key.NKVHeads = 4
    max_position_embeddings: key.MaxLen = 8192
    rms_norm_eps: key.NormEps = 1e-5
    tie_word_embeddings: key.TieWeights = True
    sliding_window: key.LayerWindow = 128
    layer_rope_theta: key.NumberList = None

    def to_tinylm(self, to: Translation) -> None:
        """Map as Granite; ``layer_rope_theta`` takes precedence over the other keys of theta."""
        super().to_tinylm(to)
        thetas = self.layer_rope_theta
        if thetas is None or to.has_error("num_hidden_layers"):
            return
        if len(thetas) != self.num_hidden_layers:
            message = (
                f"{to.display('layer_rope_theta')} has {len(thetas):,} values for {self.num_hidden_layers:,} layers"
            )
            to.contradiction("layer_rope_theta", message, "give one theta per layer")
        elif any(theta != 0 and theta <= 1 for theta in thetas):
            to.unsupported("layer_rope_theta", "a theta is above 1, or 0 for a layer without RoPE")
        else:
            self._thetas(thetas, to)

    def _thetas(self, thetas: list[float], to: Translation) -> None:
        """Set the theta of each layer; 0 stands for no RoPE."""
        if len(set(thetas)) == 1 and thetas[0]:
            to.put("position.theta", thetas[0], "layer_rope_theta")
            return
        window, pattern = to.get("attention.window"), to.get("attention.window_pattern") or "L"
        for field in ("attention.window", "attention.window_pattern"):
            to.put(field, None)
        kinds: dict[str, Mapping[str, Any]] = {}
        names = []
        for layer, theta in enumerate(thetas):
            has_window = window is not None and pattern[layer % len(pattern)] == "L"
            fields = ({"attention.window": window} if has_window else {}) | (
                {"position.theta": theta} if theta else WITHOUT_ROPE
            )
            names.append(kind_with(fields, "local" if has_window else "full", kinds))
        put_layers(to, names, kinds, "layer_rope_theta", "layer_types")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        positions = (kind.position for kind in layer_pattern(config))
        thetas = [position.theta if position.kind == "rope" else 0.0 for position in positions]
        return super().from_tinylm(config) | {"layer_rope_theta": thetas}


class HyperCLOVAXKeys(_MultiplierKeys):
    """``HyperCLOVAXConfig``: by default with norms before and after each sub-layer."""

    tensor_names = LLAMA_NAMES.override(layer={"post_ln_1": "post_norm1", "post_ln_2": "post_norm2"})

    attention_multiplier: Annotated[float | None, *key.fills("attention.scale")] = None
    logits_scaling: Annotated[float, *key.fills("head.logit_scale")] = 1.0
    use_post_norm: bool | None = True

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        if self.attention_multiplier == (self.head_dim or self.hidden_size // self.num_attention_heads) ** -0.5:
            to.put("attention.scale", None)  # transformers writes the default as a number
        to.put("norm.placement", "pre" if self.use_post_norm is False else "sandwich", "use_post_norm")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"use_post_norm": config.norm.placement == "sandwich"}


class GraniteMoeKeys(GraniteKeys):
    """``GraniteMoeConfig``."""

    constants = {**key.LLAMA_LIKE, "feed_forward.router": "topk_softmax"}
    tensor_names = LLAMA_NAMES.override(
        layer={"feed_forward.router": "block_sparse_moe.router.layer"},
        tensors=(
            Fused(
                ("feed_forward.experts.gate_proj.weight", "feed_forward.experts.up_proj.weight"),
                "block_sparse_moe.input_linear.weight",
                TensorLayout.stacked,
            ),
            Fused(("feed_forward.experts.down_proj.weight",), "block_sparse_moe.output_linear.weight"),
        ),
    )
    aliases = {"num_experts": "num_local_experts"}

    mlp_bias: bool = key.only(False, why="this family's code has no such biases")
    num_local_experts: key.NExperts = 8
    num_experts_per_tok: key.TopK = 2


class GraniteMoeSharedKeys(GraniteMoeKeys):
    """``GraniteMoeSharedConfig``: a shared expert, if ``shared_intermediate_size`` is not 0."""

    tensor_names = GraniteMoeKeys.tensor_names.override(
        layer={"feed_forward.shared_experts.down_proj": "shared_mlp.output_linear"},
        fused=(
            Fused(
                ("feed_forward.shared_experts.gate_proj", "feed_forward.shared_experts.up_proj"),
                "shared_mlp.input_linear",
            ),
        ),
    )

    shared_intermediate_size: key.Count = 0

    def to_tinylm(self, to: Translation) -> None:
        """Map as Granite with experts, and the shared expert."""
        super().to_tinylm(to)
        self.put_shared_experts(to)

    def put_shared_experts(self, to: Translation) -> None:
        """Set the shared expert and its width."""
        if self.shared_intermediate_size:
            to.put("feed_forward.n_shared_experts", 1)
            to.put("feed_forward.d_shared_expert", self.shared_intermediate_size, "shared_intermediate_size")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"shared_intermediate_size": config.d_shared_experts}


class GraniteMoeSWAKeys(GraniteMoeSharedKeys, GraniteSWAKeys):
    """``GraniteMoeSWAConfig``: Granite with shared experts, attention sinks and sliding windows."""

    constants = {**GraniteSWAKeys.constants, "feed_forward.router": "topk_softmax"}
    tensor_names = GraniteMoeSharedKeys.tensor_names.override(
        layer={"feed_forward.router": "block_sparse_moe.router"},
        tensors=(
            *GraniteSWAKeys.tensor_names.tensors,
            Fused(
                ("feed_forward.experts.gate_proj.weight", "feed_forward.experts.up_proj.weight"),
                "block_sparse_moe.experts.gate_up_proj",
                TensorLayout.stacked,
            ),
            Fused(("feed_forward.experts.down_proj.weight",), "block_sparse_moe.experts.down_proj"),
        ),
    )
