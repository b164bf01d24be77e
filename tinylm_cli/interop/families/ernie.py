"""Baidu's ERNIE 4.5: Llama with RoPE that pairs adjacent dimensions, and with experts."""

from typing import Annotated, Any

from pydantic import Field

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import dense_layers, expert_kind, put_expert_layers
from tinylm_cli.interop.rope_scaling import RopeKeys, Theta
from tinylm_cli.interop.tensor_names import ROUTED_EXPERT_NAMES, Fused, TensorLayout
from tinylm_cli.interop.translation import Translation

_CORRECTION = ("feed_forward.router.score_correction",)


class Ernie45Keys(key.LlamaLikeKeys, RopeKeys):
    """``Ernie4_5Config``."""

    constants = {**key.LLAMA_LIKE, "position.pairing": "adjacent"}

    vocab_size: key.VocabSize = 103424
    hidden_size: key.DModel = 1024
    intermediate_size: key.DFF = 3072
    num_hidden_layers: key.NLayers = 18
    num_attention_heads: key.NHeads = 16
    num_key_value_heads: key.NKVHeads = 2
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 131072
    tie_word_embeddings: key.TieWeights = True
    rope_theta: Theta = 500_000.0
    rms_norm_eps: key.NormEps = 1e-5
    use_bias: key.AllBiases = False


class Ernie45MoeKeys(key.LlamaLikeKeys, RopeKeys):
    """``Ernie4_5_MoeConfig``: in a range of layers, every ``moe_layer_interval``-th has experts."""

    constants = {
        **Ernie45Keys.constants,
        "feed_forward.router": "softmax",
        "feed_forward.score_correction": True,
        "feed_forward.renormalize": True,
    }
    tensor_names = ROUTED_EXPERT_NAMES.override(
        tensors=(Fused(_CORRECTION, "mlp.moe_statics.e_score_correction_bias", TensorLayout.one_row),)
    )
    aliases = {"num_experts": "moe_num_experts", "num_experts_per_tok": "moe_k"}
    ignored = (
        *("moe_capacity", "moe_gate"),  # of the training code
        *("num_nextn_predict_layers", "num_mtp_layers"),  # multi-token prediction layers, which are not loaded
    )

    vocab_size: key.VocabSize = 103424
    hidden_size: key.DModel = 2560
    intermediate_size: key.DFF = 12288
    num_hidden_layers: key.NLayers = 28
    num_attention_heads: key.NHeads = 20
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = None
    max_position_embeddings: key.MaxLen = 131072
    tie_word_embeddings: key.TieWeights = True
    rope_theta: Theta = 500_000.0
    rms_norm_eps: key.NormEps = 1e-5
    use_bias: bool = key.only(False, why="tinylm cannot add biases to all but the routed experts")
    moe_intermediate_size: key.DExpert = 1536
    moe_k: key.TopK = 6
    moe_num_experts: key.NExperts = 64
    moe_num_shared_experts: key.NSharedExperts = 2
    moe_layer_start_index: key.Count = 1
    moe_layer_end_index: Annotated[int, Field(ge=-1, le=key.MAX_NUMBER)] = -1
    moe_layer_interval: key.Size = 1
    moe_norm_min: float = key.only(1e-12, why="tinylm has no other bound on the sum of the weights")
    moe_use_aux_free: bool = key.only(True, why="this family's code always corrects the scores of experts")

    def to_tinylm(self, to: Translation) -> None:
        """Map RoPE, and the layers that have experts."""
        super().to_tinylm(to)
        first, last = self.moe_layer_start_index, self.moe_layer_end_index
        if to.has_error("num_hidden_layers"):
            return
        last = self.num_hidden_layers - 1 if last == -1 else last
        is_dense = [
            not first <= layer <= last or (layer + 1) % self.moe_layer_interval != 0
            for layer in range(self.num_hidden_layers)
        ]
        keys = ("moe_layer_start_index", "moe_layer_end_index", "moe_layer_interval")
        put_expert_layers(to, self.moe_num_experts, "moe_num_experts", is_dense, *keys)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys of the first range of layers that fits; without experts, the range is empty."""
        n_layers, is_dense = config.n_layers, dense_layers(config)
        experts = [layer for layer, dense in enumerate(is_dense) if not dense]
        first, last = (experts[0], experts[-1]) if experts else (n_layers, n_layers)
        return super().from_tinylm(config) | {
            "moe_num_experts": expert_kind(config).feed_forward.n_experts or 1,
            "moe_layer_start_index": first,
            "moe_layer_end_index": last,
            "moe_layer_interval": experts[1] - first if len(experts) > 1 else 1,
        }
