"""Qwen 2 and 2.5 (biases on q, k and v), and Qwen 3 (norms on q and k), each dense or with experts."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import dense_layers, expert_kind, put_expert_layers
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.sliding_windows import LayerWindowKeys
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, mlp
from tinylm_cli.interop.translation import Translation

GATED_SHARED_EXPERT = {
    "feed_forward.router": "softmax",
    "feed_forward.n_shared_experts": 1,
    "feed_forward.shared_expert_gate": True,
}
"""The experts of Qwen since Qwen1.5-MoE: a shared expert with a gate beside the routed ones."""

SHARED_EXPERT_NAMES = EXPERT_NAMES.override(
    layer={
        **mlp("feed_forward.shared_experts", "mlp.shared_expert"),
        "feed_forward.shared_expert_gate": "mlp.shared_expert_gate",
    }
)


class Qwen2Keys(LayerWindowKeys, RopeKeys):
    """``Qwen2Config``: with ``use_sliding_window``, layers from ``max_window_layers`` on have a window."""

    constants = {**key.LLAMA_LIKE, "attention.bias": True, "attention.out_bias": False}

    vocab_size: key.VocabSize = 151936
    intermediate_size: key.DFF = 22016
    num_key_value_heads: key.NKVHeads = 32
    head_dim: key.DHead = None
    max_position_embeddings: key.MaxLen = 32768
    rms_norm_eps: key.NormEps = 1e-6
    use_sliding_window: bool | None = False
    max_window_layers: key.OptionalCount = 28

    def window_pattern(self, to: Translation) -> tuple[str | None, str]:
        """Return the pattern; None without ``use_sliding_window``."""
        if not self.use_sliding_window:
            to.ignore("sliding_window", "max_window_layers")
            return None, "max_window_layers"
        n_global = min(self.max_window_layers or 0, self.num_hidden_layers)
        return "G" * n_global + "L" * (self.num_hidden_layers - n_global), "max_window_layers"

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; without a window, only ``use_sliding_window: false``."""
        keys = super().from_tinylm(config)
        types, window = keys.pop("layer_types"), keys.pop("sliding_window")
        if config.attention.window is None:
            return keys | {"use_sliding_window": False}
        n_global = types.index("sliding_attention")
        windows = {"use_sliding_window": True, "max_window_layers": n_global}
        return keys | windows | {"sliding_window": window, "layer_types": types}


class Qwen3Keys(Qwen2Keys):
    """``Qwen3Config``."""

    constants = {**key.LLAMA_LIKE, "attention.qk_norm": "per_head"}

    head_dim: key.DHead = 128
    attention_bias: key.AttentionBias = False


class SparseStepKeys(key.Keys):
    """Keys of experts in every ``decoder_sparse_step``-th layer, except those in ``mlp_only_layers``."""

    aliases: ClassVar[Mapping[str, str]] = {"num_local_experts": "num_experts"}
    default_dense_layers: ClassVar[Collection[int]] = ()  # In the absence of ``mlp_only_layers``.

    num_experts: key.Count = 128
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 768
    norm_topk_prob: key.Renormalize = False
    decoder_sparse_step: key.OptionalSize = 1
    mlp_only_layers: key.IntegerList = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the layers that have experts, after all else in which layers differ."""
        if self.num_experts:  # first, so that the fields of experts have an effect
            to.put("feed_forward.n_experts", self.num_experts, "num_experts")
        super().to_tinylm(to)
        if to.has_error("num_hidden_layers", "layer_types"):
            return
        step, given = self.decoder_sparse_step or 1, self.mlp_only_layers
        dense = set(self.default_dense_layers if given is None else given)
        is_dense = [layer in dense or bool((layer + 1) % step) for layer in range(to.get("n_layers"))]
        put_expert_layers(to, self.num_experts, "num_experts", is_dense, "mlp_only_layers", "decoder_sparse_step")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; ``mlp_only_layers`` lists the dense layers."""
        return super().from_tinylm(config) | {
            "num_experts": expert_kind(config).feed_forward.n_experts,
            "mlp_only_layers": [layer for layer, is_dense in enumerate(dense_layers(config)) if is_dense],
            "decoder_sparse_step": 1,
        }


class Qwen3MoeKeys(SparseStepKeys, key.LlamaLikeKeys, RopeKeys):
    """``Qwen3MoeConfig``."""

    constants = {**key.LLAMA_LIKE, "attention.qk_norm": "per_head", "feed_forward.router": "softmax"}
    tensor_names = EXPERT_NAMES
    ignored = ("max_window_layers",)  # written by old versions, read by none

    vocab_size: key.VocabSize = 151936
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 6144
    num_hidden_layers: key.NLayers = 24
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = None
    max_position_embeddings: key.MaxLen = 32768
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: key.AttentionBias = False
    mlp_bias: bool = key.only(False, why="this family has no such biases")
    use_sliding_window: bool | None = False
    sliding_window: key.Window = 4096

    def to_tinylm(self, to: Translation) -> None:
        """Map RoPE, the layers that have experts, and windows."""
        super().to_tinylm(to)
        if not self.use_sliding_window:
            to.put("attention.window", None)
            to.ignore("sliding_window")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, and whether there are windows."""
        return super().from_tinylm(config) | {
            "use_sliding_window": expert_kind(config).attention.window is not None,
        }


class SharedExpertKeys(key.Keys):
    """The key of the width of a shared expert."""

    shared_expert_intermediate_size: Annotated[int, *key.fills("feed_forward.d_shared_expert")] = 5632

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; all shared experts are one."""
        d_shared = expert_kind(config).d_shared_experts
        return super().from_tinylm(config) | ({"shared_expert_intermediate_size": d_shared} if d_shared else {})


class Qwen2MoeKeys(SparseStepKeys, SharedExpertKeys, LayerWindowKeys, RopeKeys):
    """``Qwen2MoeConfig``: with ``use_sliding_window``, every other layer before ``max_window_layers`` has a window."""

    constants = {**key.LLAMA_LIKE, "attention.out_bias": False, **GATED_SHARED_EXPERT}
    tensor_names = SHARED_EXPERT_NAMES

    vocab_size: key.VocabSize = 151936
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 5632
    num_hidden_layers: key.NLayers = 24
    num_attention_heads: key.NHeads = 16
    num_key_value_heads: key.NKVHeads = 16
    max_position_embeddings: key.MaxLen = 32768
    rms_norm_eps: key.NormEps = 1e-6
    qkv_bias: key.AttentionBias = True
    num_experts: key.Count = 60
    num_experts_per_tok: key.TopK = 4
    moe_intermediate_size: key.DExpert = 1408
    use_sliding_window: bool | None = False
    sliding_window: key.OptionalCount = 4096  # transformers writes 0 for none
    max_window_layers: key.OptionalCount = 28

    def window_pattern(self, to: Translation) -> tuple[str | None, str]:
        """Return the pattern; None without ``use_sliding_window``."""
        if not self.use_sliding_window:
            to.ignore("sliding_window", "max_window_layers")
            return None, "max_window_layers"
        n_alternating = self.max_window_layers or 0
        letters = ("L" if layer % 2 == 0 and layer < n_alternating else "G" for layer in range(self.num_hidden_layers))
        return "".join(letters), "max_window_layers"

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; ``layer_types`` lists the windows, if any."""
        keys = super().from_tinylm(config)
        has_windows = "sliding_attention" in keys["layer_types"]
        return keys | {"use_sliding_window": has_windows}
