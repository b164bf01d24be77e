"""PaliGemma and PaliGemma 2: a Gemma or a Gemma 2, and a SigLIP."""

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.gemma import Gemma2Keys, GemmaKeys
from tinylm_cli.interop.families.multimodal import LLAVA_KEYS, llava_names
from tinylm_cli.interop.tensor_names import TensorNames
from tinylm_cli.interop.translation import Translation


class _PaliGemmaKeys(key.Keys):
    """The keys that the language models of ``PaliGemmaConfig`` share.

    Attention is causal within the answer (``token_type_ids`` 1), and bidirectional within the image and the prompt (0).
    """

    tensor_names = llava_names(GemmaKeys.tensor_names)
    language_model_key = "text_config"
    caveat = "the tokens of its prompts attend to each other in both directions, which tinylm reads causally"
    ignored = ("num_image_tokens",)
    ignored_outer_keys = (*LLAVA_KEYS, "hidden_size", "projection_dim")

    use_bidirectional_attention: key.AnyValue = None

    @classmethod
    def tensor_names_for(cls, config: ModelConfig) -> TensorNames:
        """Return the names of the tensors of a Gemma, or of a Gemma 2."""
        return llava_names(Gemma2Keys.tensor_names) if config.norm.placement == "sandwich" else cls.tensor_names

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        to.ignore("use_bidirectional_attention")


class PaliGemmaGemmaKeys(_PaliGemmaKeys, GemmaKeys):
    """``PaliGemmaConfig`` with a Gemma under ``text_config``."""


class PaliGemmaGemma2Keys(_PaliGemmaKeys, Gemma2Keys):
    """``PaliGemmaConfig`` with a Gemma 2."""


class PaliGemmaKeys(PaliGemmaGemmaKeys):
    """``PaliGemmaConfig`` without ``text_config``."""

    vocab_size: key.VocabSize = 257152
    hidden_size: key.DModel = 2048
    intermediate_size: key.DFF = 16384
    num_hidden_layers: key.NLayers = 18
    num_attention_heads: key.NHeads = 8
    num_key_value_heads: key.NKVHeads = 1
