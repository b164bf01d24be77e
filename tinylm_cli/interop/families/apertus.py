"""Apertus: norms of queries and keys, and a feed-forward network without a gate, activated by xIELU."""

from typing import Annotated, Any

from pydantic import AfterValidator

from tinylm_cli.config.field_types import FieldType
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys, RopeParameters, Theta
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, Fused, TensorNames
from tinylm_cli.interop.translation import Translation

_XIELU = "xielu"
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "original_max_position_embeddings": 8192,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
}
_NAMES = LLAMA_NAMES.override(layer={"ln_1": "attention_layernorm", "ln_2": "feedforward_layernorm"})
_XIELU_NAMES = _NAMES.override(
    tensors=tuple(Fused((f"feed_forward.xielu.{name}",), f"mlp.act_fn.{name}") for name in ("alpha_p", "alpha_n")),
    constants={"mlp.act_fn.beta": 0.5, "mlp.act_fn.eps": -1e-6},
)


def _known_activation(name: str) -> str:
    return name if name == _XIELU else str(key.known_activation(name))


class ApertusKeys(key.LlamaLikeKeys, RopeKeys):
    """``ApertusConfig``: its scalars are tensors of each layer, which only this family names."""

    constants = {**key.LLAMA_LIKE, "feed_forward.gated": False, "attention.qk_norm": "per_head"}
    tensor_names = _XIELU_NAMES

    vocab_size: key.VocabSize = 131072
    intermediate_size: key.DFF = 14336
    head_dim: key.DHead = None
    hidden_act: Annotated[str, AfterValidator(_known_activation), FieldType("text", "the name of an activation")] = (
        _XIELU
    )
    max_position_embeddings: key.MaxLen = 65536
    rope_theta: Theta = 12e6
    rope_parameters: RopeParameters | None = RopeParameters.model_validate(_LLAMA3)
    rms_norm_eps: key.NormEps = 1e-5
    attention_bias: key.AttentionBias = False
    mlp_bias: bool = key.only(False, why="this family's code has no such biases")
    qk_norm: bool = key.only(True, why="this family's code always normalizes queries and keys")
    post_norm: bool = key.only(False, why="this family's code normalizes only the inputs of sub-layers")

    def to_tinylm(self, to: Translation) -> None:
        """Map RoPE and the activation, which may be xIELU."""
        super().to_tinylm(to)
        to.put("feed_forward.activation", key.ACTIVATIONS.get(self.hidden_act, _XIELU), "hidden_act")

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        return super().from_tinylm(config) | {"hidden_act": key.activation_name(config.feed_forward.activation)}

    @classmethod
    def tensor_names_for(cls, config: ModelConfig) -> TensorNames:
        """Return the names; only xIELU has tensors."""
        return _XIELU_NAMES if config.feed_forward.activation == _XIELU else _NAMES


class Apertus15TextKeys(ApertusKeys):
    """``Apertus1p5TextConfig``."""

    vocab_size: key.VocabSize = 266752
    output_vocab_size: key.OptionalSize = None

    def to_tinylm(self, to: Translation) -> None:
        """Report an LM head with fewer rows than the token embedding."""
        super().to_tinylm(to)
        if self.output_vocab_size not in (None, self.vocab_size):
            to.unsupported("output_vocab_size", "the LM head of tinylm has a row for every token")
