"""Ministral 3: Mistral with YaRN, whose queries are multiplied by a factor that grows with their position."""

from typing import Any, ClassVar

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.llama import MistralKeys
from tinylm_cli.interop.families.multimodal import LLAVA_KEYS, llava_names
from tinylm_cli.interop.rope_scaling import RopeParameters
from tinylm_cli.interop.tensor_names import LLAMA_NAMES
from tinylm_cli.interop.translation import Translation

_LENGTH, _BETA = "original_max_position_embeddings", "llama_4_scaling_beta"
_YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 16.0, _LENGTH: 16384, "mscale": 1.0, "mscale_all_dim": 1.0}


class Ministral3Keys(MistralKeys):
    """``Ministral3Config``."""

    read_in_block = (_LENGTH, _BETA)

    vocab_size: key.VocabSize = 131072
    num_hidden_layers: key.NLayers = 34
    head_dim: key.DHead = 128
    max_position_embeddings: key.MaxLen = 262144
    rms_norm_eps: key.NormEps = 1e-5
    rope_parameters: RopeParameters | None = RopeParameters.model_validate({**_YARN, _BETA: 0.1})
    sliding_window: key.Window = None

    def to_tinylm(self, to: Translation) -> None:
        """Map RoPE, and the temperature of attention: its scale, and the length of pretraining."""
        super().to_tinylm(to)
        block_key, block = self.rope_block()
        assert block is not None
        scale, scale_key, length_key = block.llama_4_scaling_beta, f"{block_key}.{_BETA}", f"{block_key}.{_LENGTH}"
        is_original = to.get("position.scaling") in ("llama3", "yarn", "longrope")
        length = to.get("position.original_max_len") if is_original else block.original_max_position_embeddings
        if scale is None:
            to.missing(scale_key, "this family's code requires it", 'for example add "llama_4_scaling_beta": 0.1')
        elif scale < 0:
            to.unsupported(scale_key, "attention.temperature_scale is above 0")
        elif length is None:
            to.missing(length_key, f"{_BETA} requires it", "give the context length of pretraining")
        elif scale:
            to.put("attention.temperature_scale", scale, scale_key)
            to.put("attention.temperature_len", length, length_key)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        keys = super().from_tinylm(config)
        attention = config.attention
        temperature = {_LENGTH: attention.temperature_len, _BETA: attention.temperature_scale or 0.0}
        return keys | {"rope_scaling": {**temperature, **keys["rope_scaling"]}}


class Mistral3Ministral3Keys(Ministral3Keys):
    """``Mistral3Config`` with a Ministral 3."""

    tensor_names = llava_names(LLAMA_NAMES)
    language_model_key: ClassVar[str] = "text_config"
    ignored_outer_keys = LLAVA_KEYS
