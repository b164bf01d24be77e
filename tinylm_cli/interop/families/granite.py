"""IBM's Granite: Llama with multipliers of embeddings, attention scores, residual branches and logits."""

from typing import Annotated, Any

from pydantic import Field

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.families.llama import LlamaKeys
from tinylm_cli.interop.translation import Translation


class GraniteKeys(LlamaKeys):
    """``GraniteConfig``."""

    embedding_multiplier: Annotated[float, *key.fills("embedding.multiplier")] = 1.0
    attention_multiplier: Annotated[float, *key.fills("attention.scale")] = 1.0
    residual_multiplier: Annotated[float, *key.fills("block.residual_multiplier")] = 1.0
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
