"""IQuest-Coder, which transformers runs as a Llama."""

from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.llama import LlamaKeys


class IQuestCoderKeys(LlamaKeys):
    """``IQuestCoderConfig``."""

    ignored = ("sliding_window", "max_window_layers")  # read only with use_sliding_window

    vocab_size: key.VocabSize = 76800
    hidden_size: key.DModel = 5120
    intermediate_size: key.DFF = 27648
    num_hidden_layers: key.NLayers = 80
    num_attention_heads: key.NHeads = 40
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 131072
    rms_norm_eps: key.NormEps = 1e-5
    clip_qkv: float | None = key.only(why="transformers does not support it in this family")
    use_sliding_window: bool = key.only(False, why="transformers does not support it in this family")
