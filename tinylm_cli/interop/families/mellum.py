"""JetBrains' Mellum with experts: norms on queries and keys, and a RoPE for each kind of layers."""

from typing import Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import MlpLayerTypeKeys, expert_kind
from tinylm_cli.interop.rope_scaling import RopeParameters, Theta
from tinylm_cli.interop.sliding_windows import LayerRopeKeys, LayerRopeParameters
from tinylm_cli.interop.tensor_names import EXPERT_NAMES
from tinylm_cli.interop.translation import Translation

_BLOCKS = {"full_attention": {"rope_theta": 5e5}, "sliding_attention": {"rope_theta": 1e4}}


class MellumKeys(MlpLayerTypeKeys, LayerRopeKeys):
    """``MellumConfig``: by default, every layer has experts and attends to all positions."""

    constants = {**key.LLAMA_LIKE, "attention.qk_norm": "per_head", "feed_forward.router": "softmax"}
    tensor_names = EXPERT_NAMES
    aliases = {"num_local_experts": "num_experts"}
    # multi-token prediction layers, which are not loaded
    ignored = ("num_mtp_layers", "num_nextn_predict_layers", "mtp_layer_types", "mtp_mlp_layer_types")
    default_pattern = "G"

    vocab_size: key.VocabSize = 98304
    hidden_size: key.DModel = 2304
    intermediate_size: key.DFF = 7168
    num_hidden_layers: key.NLayers = 28
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 131072
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: key.AttentionBias = False
    sliding_window: key.LayerWindow = 1024
    num_experts: key.NExperts = 64
    num_experts_per_tok: key.TopK = 8
    moe_intermediate_size: key.DExpert = 896
    norm_topk_prob: key.Renormalize = True
    rope_theta: Theta = 500_000.0
    rope_scaling: RopeParameters | None = key.only(why="this family reads rope_parameters only")
    rope_parameters: LayerRopeParameters | None = LayerRopeParameters.model_validate(_BLOCKS)

    def to_tinylm(self, to: Translation) -> None:
        """Map windows, the RoPE of each kind of layers, and the layers that have experts."""
        super().to_tinylm(to)
        blocks = self.rope_parameters or LayerRopeParameters()
        for name in _BLOCKS:
            block = getattr(blocks, name)
            if block is not None and block.partial_rotary_factor not in (None, 1.0):
                place = f"rope_parameters.{name}.partial_rotary_factor"
                to.unsupported(place, "this family's code rotates all dimensions of a head")
        self.put_sparse_layers(to, self.num_experts, "num_experts", 0)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"num_experts": expert_kind(config).feed_forward.n_experts}
