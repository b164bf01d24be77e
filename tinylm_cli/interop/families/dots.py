"""Rednote's dots.llm1: Qwen 3 with DeepSeek's routed and shared experts."""

from typing import Annotated

from pydantic import Field

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.expert_layers import RoutedExpertKeys
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.sliding_windows import LayerWindowKeys
from tinylm_cli.interop.translation import Translation


class Dots1Keys(RoutedExpertKeys, LayerWindowKeys, RopeKeys):
    """``Dots1Config``: layers from ``max_window_layers`` on have a window."""

    constants = {
        **key.LLAMA_LIKE,
        "attention.qk_norm": "per_head",
        "feed_forward.router": "sigmoid",
        "feed_forward.score_correction": True,
    }

    vocab_size: key.VocabSize = 152064
    hidden_size: key.DModel = 4608
    intermediate_size: key.DFF = 10944
    num_hidden_layers: key.NLayers = 62
    head_dim: key.DHead = None
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: key.AttentionBias = False
    n_routed_experts: Annotated[key.Count, Field(examples=[128])]
    n_shared_experts: Annotated[key.NSharedExperts, Field(examples=[2])]
    num_experts_per_tok: Annotated[key.TopK, Field(examples=[6])]
    norm_topk_prob: key.Renormalize = False
    max_window_layers: key.OptionalCount = 62

    def window_pattern(self, to: Translation) -> tuple[str | None, str]:
        """Return the pattern; None without a window."""
        if self.sliding_window is None:
            to.ignore("max_window_layers")
            return None, "sliding_window"
        n_global = min(self.max_window_layers or 0, self.num_hidden_layers)
        return "G" * n_global + "L" * (self.num_hidden_layers - n_global), "max_window_layers"
