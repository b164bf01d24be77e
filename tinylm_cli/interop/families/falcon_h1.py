"""TII's Falcon-H1: attention and Mamba-2 in parallel in every layer, with multipliers of µP."""

import math
from typing import Annotated, Any

from tinylm_cli.config.mixers.mamba2 import N_MULTIPLIED
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.mamba2_keys import Mamba2LayerKeys, mamba2_names
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, mlp
from tinylm_cli.interop.translation import Translation

_MODULES, _TENSORS = mamba2_names("mamba")
_FOLDED = "with a bias, the multiplier of the input is not one of the output"

Multiplier = Annotated[float, *key.like("attention.out_multiplier")]


class FalconH1Keys(key.LlamaLikeKeys, RopeKeys, Mamba2LayerKeys):
    """``FalconH1Config``."""

    constants = {**key.LLAMA_LIKE, "block.mixer": "attention_mamba2"}
    tensor_names = LLAMA_NAMES.override(
        top_level={"ln_f": "model.final_layernorm"},
        layer={"ln_2": "pre_ff_layernorm", **mlp("feed_forward", "feed_forward"), **_MODULES},
        tensors=_TENSORS,
    )
    ignored = ("num_logits_to_keep", "attn_layer_indices", "mamba_use_mlp")  # this family's code does not read them

    vocab_size: key.VocabSize = 128_000
    intermediate_size: key.DFF = 14336
    num_key_value_heads: key.NKVHeads = 8
    head_dim: key.DHead = None
    hidden_act: key.Activation = key.only("silu", "swish", why="tinylm activates the convolution with SiLU")
    max_position_embeddings: key.MaxLen = 8192
    rms_norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = False
    mlp_bias: key.FeedForwardBias = False
    projectors_bias: bool = False
    mamba_d_ssm: key.OptionalSize = 1024
    mamba_rms_norm: bool = False
    mamba_norm_before_gate: bool = True
    embedding_multiplier: Annotated[float, *key.fills("embedding.multiplier")] = 1.0
    lm_head_multiplier: Annotated[float, *key.fills("head.logit_scale")] = 1.0
    attention_in_multiplier: Multiplier = 1.0
    attention_out_multiplier: Multiplier = 1.0
    key_multiplier: Multiplier = 1.0
    mlp_multipliers: key.NumberList = None
    ssm_in_multiplier: Multiplier = 1.0
    ssm_out_multiplier: Annotated[float, *key.fills("mamba2.out_multiplier")] = 1.0
    ssm_multipliers: key.NumberList = None

    def to_tinylm(self, to: Translation) -> None:
        """Map the mixers and the multipliers; multipliers of inputs are folded into those of outputs."""
        super().to_tinylm(to)
        if to.has_error("hidden_size", "num_attention_heads", "head_dim"):
            return
        self._attention(to)
        self._mamba2(to)
        gate, out = self._numbers(to, "mlp_multipliers", 2)
        to.put("feed_forward.gate_multiplier", gate, "mlp_multipliers")
        to.put("feed_forward.out_multiplier", out, "mlp_multipliers")

    def _attention(self, to: Translation) -> None:
        factor = self.attention_in_multiplier
        if factor != 1 and self.attention_bias:
            to.unsupported("attention_in_multiplier", _FOLDED)
        scale = self.key_multiplier * factor**2
        if scale != 1:
            d_head = self.head_dim or self.hidden_size // self.num_attention_heads
            to.put("attention.scale", scale * d_head**-0.5, "key_multiplier", "attention_in_multiplier")
        out = self.attention_out_multiplier * factor
        to.put("attention.out_multiplier", out, "attention_out_multiplier", "attention_in_multiplier")

    def _mamba2(self, to: Translation) -> None:
        if self.mamba_d_ssm is None:
            self.put_mamba2(to, self.mamba_expand * self.hidden_size, "mamba_expand", "hidden_size")
        else:
            self.put_mamba2(to, self.mamba_d_ssm, "mamba_d_ssm")
        if self.projectors_bias != self.mamba_proj_bias:
            to.unsupported("projectors_bias", "both projections of tinylm's Mamba-2 have a bias, or neither")
        if self.mamba_rms_norm and self.mamba_norm_before_gate:
            to.unsupported("mamba_norm_before_gate", "tinylm normalizes the output of Mamba-2 after the gate")
        to.put("mamba2.norm", "grouped" if self.mamba_rms_norm else "none", "mamba_rms_norm")
        factor = self.ssm_in_multiplier
        if factor != 1 and self.mamba_proj_bias:
            to.unsupported("ssm_in_multiplier", _FOLDED)
        multipliers = [factor * each for each in self._numbers(to, "ssm_multipliers", N_MULTIPLIED)]
        if any(each != 1 for each in multipliers):
            to.put("mamba2.multipliers", multipliers, "ssm_multipliers", "ssm_in_multiplier")

    def _numbers(self, to: Translation, name: str, count: int) -> list[float]:
        """Return the multipliers under a key; 1 each if it is absent or reported."""
        numbers: list[float] | None = getattr(self, name)
        if numbers is None or to.has_error(name):
            return [1.0] * count
        if len(numbers) != count or any(each <= 0 for each in numbers):
            to.unsupported(name, f"this family's code reads {count} multipliers, and tinylm requires them above 0")
            return [1.0] * count
        return numbers

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys; the multipliers of inputs are 1."""
        settings, attention, feed_forward = config.mamba2, config.attention, config.feed_forward
        return (
            super().from_tinylm(config)
            | cls.mamba2_keys(config)
            | {
                "projectors_bias": settings.bias,
                "mamba_d_ssm": config.mamba2_heads * settings.d_head,
                "mamba_rms_norm": settings.norm != "none",
                "mamba_norm_before_gate": False,
                "attention_out_multiplier": attention.out_multiplier,
                "key_multiplier": 1.0 if attention.scale is None else _quotient(attention.scale, config.d_head**-0.5),
                "mlp_multipliers": [feed_forward.gate_multiplier, feed_forward.out_multiplier],
                "ssm_multipliers": list(settings.multipliers or [1.0] * N_MULTIPLIED),
            }
        )


def _quotient(product: float, factor: float) -> float:
    """Return the number whose product with ``factor`` is ``product``, to the bit if there is one."""
    near = product / factor
    candidates = (near, math.nextafter(near, math.inf), math.nextafter(near, 0))
    return next((each for each in candidates if each * factor == product), near)
