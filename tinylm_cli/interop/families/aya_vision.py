"""Aya Vision: a Cohere2 and a SigLIP."""

from tinylm_cli.interop.families.cohere import Cohere2Keys
from tinylm_cli.interop.families.multimodal import LLAVA_KEYS, llava_names


class AyaVisionKeys(Cohere2Keys):
    """``AyaVisionConfig``.

    Its logits have the scale of its Cohere2, as when the model was published; transformers 5.24 leaves it out.
    """

    tensor_names = llava_names(Cohere2Keys.tensor_names)
    language_model_key = "text_config"
    ignored_outer_keys = (
        *LLAVA_KEYS,
        *("adapter_layer_norm_eps", "alignment_intermediate_size", "downsample_factor"),
    )
