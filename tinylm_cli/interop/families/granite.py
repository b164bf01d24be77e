"""IBM's Granite, NAVER's HyperCLOVA X: Llama with multipliers of embeddings, scores, residual branches and logits."""

from typing import Annotated, Any

from pydantic import Field

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.llama import LlamaKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES
from tinylm_cli.interop.translation import Translation


class _MultiplierKeys(LlamaKeys):
    embedding_multiplier: Annotated[float, *key.fills("embedding.multiplier")] = 1.0
    residual_multiplier: Annotated[float, *key.fills("block.residual_multiplier")] = 1.0


class GraniteKeys(_MultiplierKeys):
    """``GraniteConfig``."""

    attention_multiplier: Annotated[float, *key.fills("attention.scale")] = 1.0
    logits_scaling: Annotated[float, Field(gt=0, le=key.MAX_NUMBER, examples=[16.0])] = 1.0

    def to_tinylm(self, to: Translation) -> None:
        """Map as Llama; logits are divided by ``logits_scaling``."""
        super().to_tinylm(to)
        to.put("head.logit_scale", 1 / self.logits_scaling, "logits_scaling")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        scale = config.head.logit_scale
        divisor = float(f"{1 / scale:.15g}")  # without the rounding of the two reciprocals
        return super().from_tinylm(config) | {"logits_scaling": divisor if 1 / divisor == scale else 1 / scale}


class HyperCLOVAXKeys(_MultiplierKeys):
    """``HyperCLOVAXConfig``: by default with norms before and after each sub-layer."""

    tensor_names = LLAMA_NAMES.override(layer={"post_ln_1": "post_norm1", "post_ln_2": "post_norm2"})

    attention_multiplier: Annotated[float | None, *key.fills("attention.scale")] = None
    logits_scaling: Annotated[float, *key.fills("head.logit_scale")] = 1.0
    use_post_norm: bool | None = True

    def to_tinylm(self, to: Translation) -> None:
        super().to_tinylm(to)
        if self.attention_multiplier == (self.head_dim or self.hidden_size // self.num_attention_heads) ** -0.5:
            to.put("attention.scale", None)  # transformers writes the default as a number
        to.put("norm.placement", "pre" if self.use_post_norm is False else "sandwich", "use_post_norm")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"use_post_norm": config.norm.placement == "sandwich"}
