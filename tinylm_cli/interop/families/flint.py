"""Flint: Qwen3 with sigmoid routing, a shared expert and attention sinks; layers without a window have no RoPE."""

from typing import Annotated

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.qwen import SHARED_EXPERT_NAMES, SharedExpertKeys, SparseStepKeys
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.sliding_windows import WITHOUT_ROPE, LayerWindowKeys
from tinylm_cli.interop.tensor_names import Fused
from tinylm_cli.interop.translation import Translation


class FlintKeys(SparseStepKeys, SharedExpertKeys, LayerWindowKeys, RopeKeys):
    """``FlintConfig``: the first two layers, every fourth and the last have no window."""

    constants = {
        **key.LLAMA_LIKE,
        "attention.qk_norm": "per_head",
        "attention.sinks": True,
        "feed_forward.router": "sigmoid",
        "feed_forward.n_shared_experts": 1,
    }
    tensor_names = SHARED_EXPERT_NAMES.override(
        tensors=(Fused(("attention.sinks",), "self_attn.softmax_offset"),),
    )
    global_fields = WITHOUT_ROPE
    default_dense_layers = (0, 1)

    vocab_size: key.VocabSize = 150144
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 6144
    num_hidden_layers: key.NLayers = 49
    num_key_value_heads: key.NKVHeads = 4
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 262144
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: key.AttentionBias = False
    sliding_window: Annotated[int, *key.like("attention.window")] = 513
    num_experts: key.Count = 256
    num_experts_per_tok: key.TopK = 6
    moe_intermediate_size: key.DExpert = 512
    shared_expert_intermediate_size: Annotated[int, *key.fills("feed_forward.d_shared_expert")] = 1024
    norm_topk_prob: key.Renormalize = True

    def window_pattern(self, to: Translation) -> tuple[str | None, str]:  # noqa: ARG002
        """Return the pattern."""
        last = self.num_hidden_layers - 1
        letters = ("G" if i < 2 or i % 4 == 1 or i == last else "L" for i in range(self.num_hidden_layers))
        return "".join(letters), "sliding_window"
