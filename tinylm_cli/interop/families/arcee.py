"""Arcee's AFM: Llama with a feed-forward network without a gate, activated by ReLU²."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.llama import LlamaKeys


class ArceeKeys(LlamaKeys):
    """``ArceeConfig``."""

    constants = {**key.LLAMA_LIKE, "feed_forward.gated": False}

    hidden_size: key.DModel = 2560
    intermediate_size: key.DFF = 18432
    hidden_act: key.Activation = "relu2"
    max_position_embeddings: key.MaxLen = 4096
    rms_norm_eps: key.NormEps = 1e-5
