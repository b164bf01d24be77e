"""Pydantic types for config.json keys that many families share, and the base class of every family's key schema."""

# no deferred annotations, as in config.blocks

from collections.abc import Collection, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from tinylm_cli.config.base import Block
from tinylm_cli.config.field_types import FieldType
from tinylm_cli.config.fields import fields
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.tensor_names import LLAMA_NAMES, TensorNames
from tinylm_cli.interop.translation import Translation

UNSUPPORTED = "unsupported_setting"
"""Type of the pydantic error for a value that tinylm cannot express; its context holds ``why`` and ``help``."""

MAX_NUMBER = 10**12

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "relu2": "relu2",
    "silu": "silu",
    "swish": "silu",
}
"""Maps transformers names to tinylm activations; several names are one function, such as gelu_new and gelu_fast."""

_ACTIVATION_NAMES = {activation: name for name, activation in reversed(ACTIVATIONS.items())}


def activation_name(activation: str) -> str:
    """Return the name in transformers of a tinylm activation; xIELU, which only Apertus supports, has the same name."""
    return _ACTIVATION_NAMES.get(activation, activation)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


class Fills(NamedTuple):
    """The tinylm fields that a key is copied to."""

    fields: tuple[str, ...]  # Their dotted names.


def only(*values: Any, why: str) -> Any:
    """Return the default of a key for which tinylm can express only these values; null always passes.

    Args:
        values: The supported values, the family's default first; empty for a key that must be absent or null.
        why: The reason, shown after "is not supported".
    """
    allowed = " or ".join(map(_written, values))

    def check(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        value = None if value is None else validate(value)
        if value is not None and not any(type(value) is type(each) and value == each for each in values):
            raise unsupported(why, f"tinylm supports only {{key}}: {allowed}" if allowed else "omit {key}")
        return value

    field = FieldInfo.from_field(values[0] if values else None)
    field.metadata += [WrapValidator(check), FieldType("text", allowed or "null")]
    return field


def unsupported(why: str, help_: str) -> PydanticCustomError:
    """Return the error for a value that tinylm cannot express; ``{key}`` in the help stands for the key."""
    return PydanticCustomError(UNSUPPORTED, "not supported", {"why": why, "help": help_})


def like(name: str) -> tuple[Any, ...]:
    """Annotate a key with the bounds and descriptions of the tinylm field it maps to."""
    field = fields()[name]
    return (*field.constraints, FieldType(field.kind, field.expected), Field(examples=[field.example]))


def fills(*names: str) -> tuple[Any, ...]:
    """Annotate a key whose value is copied to these tinylm fields, within the bounds of the first one."""
    bounds = like(names[0])
    optional = fields()[names[0]].default is None and not fields()[names[0]].required
    return (Fills(names), *(bounds if optional else bounds[:-1]))  # the family's default is a better example


def known_activation(name: str | None) -> str | None:
    """Return the name of an activation that families share; raise the error of any other."""
    if name is not None and name not in ACTIVATIONS:
        from tinylm_cli.config.suggestions import suggest_choice

        meant = suggest_choice(name, tuple(ACTIVATIONS))
        help_ = f"did you mean {meant}?" if meant else f"the activations are {', '.join(ACTIVATIONS)}"
        raise unsupported("tinylm does not support this activation", help_)
    return name


class KeyBlock(Block):
    """An object of a config.json."""

    model_config = ConfigDict(defer_build=True)  # a run needs only one of many families


class Keys(KeyBlock):
    """Base of a family's keys, each with the family's default; holds keys that a decoder-only model must not set."""

    constants: ClassVar[Mapping[str, Any]]  # tinylm fields with the same value in every model, unless a key sets them.
    tensor_names: ClassVar[TensorNames]  # Its tensor names.
    aliases: ClassVar[Mapping[str, str]] = {}  # Alternative names of keys.
    ignored: ClassVar[Collection[str]] = ()  # Keys without effect on the model, besides ``inert_keys.INERT``.
    # Key of the object that holds the language model's keys in a multimodal config; else empty. tinylm does not
    # export multimodal configs.
    language_model_key: ClassVar[str] = ""
    # Top-level keys of a multimodal config without effect on the language model; empty for a text model.
    ignored_outer_keys: ClassVar[Collection[str]] = ()
    # Whether a multimodal config without that object has the language model's keys at its top level.
    reads_flat_configs: ClassVar[bool] = False
    # How a multimodal model computes text otherwise than tinylm does with its language model; empty if it does not.
    caveat: ClassVar[str] = ""

    is_encoder_decoder: bool = only(False, why="tinylm models have no encoder")
    add_cross_attention: bool = only(False, why="cross-attention needs an encoder")
    tie_encoder_decoder: bool = only(False, why="tinylm models have no encoder")
    cross_attention_hidden_size: int | None = only(why="tinylm models have no encoder")

    @classmethod
    def tensor_names_for(cls, config: ModelConfig) -> TensorNames:  # noqa: ARG003
        """Return the names of a model's tensors."""
        return cls.tensor_names

    def to_tinylm(self, to: Translation) -> None:
        """Set the tinylm fields that depend on several keys; the others are copied (:func:`fills`)."""

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:  # noqa: ARG003
        """Return the keys that ``to_tinylm`` reads, for a model to export."""
        return {}


VocabSize = Annotated[int, *fills("vocab_size")]
DModel = Annotated[int, *fills("d_model")]
NHeads = Annotated[int, *fills("n_heads")]
NLayers = Annotated[int, *fills("n_layers")]
DFF = Annotated[int, *fills("d_ff")]
OptionalDFF = Annotated[int | None, *fills("d_ff"), Field(examples=[2048])]
MaxLen = Annotated[int, *fills("max_len")]
Dropout = Annotated[float, *fills("dropout")]
TieWeights = Annotated[bool, *fills("tie_weights")]
NormEps = Annotated[float, *fills("norm.eps")]
NKVHeads = Annotated[int | None, *fills("attention.n_kv_heads")]
DHead = Annotated[int | None, *fills("attention.d_head")]
AttentionBias = Annotated[bool, *fills("attention.bias")]
FeedForwardBias = Annotated[bool, *fills("feed_forward.bias")]
AllBiases = Annotated[bool, *fills("attention.bias", "feed_forward.bias")]
NExperts = Annotated[int, *fills("feed_forward.n_experts")]
NSharedExperts = Annotated[int, *fills("feed_forward.n_shared_experts")]
TopK = Annotated[int, *fills("feed_forward.top_k")]
DExpert = Annotated[int | None, *fills("feed_forward.d_expert")]
RoutedScale = Annotated[float, *fills("feed_forward.routed_scale")]
Renormalize = Annotated[bool, *fills("feed_forward.renormalize")]
ScoreSoftcap = Annotated[float | None, *fills("attention.logit_softcap")]
ClipQKV = Annotated[float | None, *fills("attention.clip_qkv")]
Window = Annotated[int | None, *fills("attention.window")]
LogitSoftcap = Annotated[float | None, *fills("head.logit_softcap")]

# keys whose meaning depends on other keys; ``to_tinylm`` reads them
ActivationName = Annotated[str, AfterValidator(known_activation), FieldType("text", "the name of an activation")]
Activation = Annotated[ActivationName, Fills(("feed_forward.activation",))]
Count = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Size = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
OptionalCount = Annotated[int | None, Field(ge=0, le=MAX_NUMBER, examples=[1])]
OptionalSize = Annotated[int | None, Field(ge=1, le=MAX_NUMBER, examples=[1])]
LayerWindow = Annotated[int | None, *like("attention.window")]
Number = Annotated[float | None, Field(ge=-MAX_NUMBER, le=MAX_NUMBER, examples=[1.0])]
Text = Annotated[str | None, FieldType("text", "text")]
AnyValue = Annotated[Any, FieldType("text", "text")]
NumberList = Annotated[list[float] | None, FieldType("numbers", "a list of numbers"), Field(examples=[[1.0]])]
_Sizes = Annotated[list[Size], Field(min_length=1)]
LayerSizes = Annotated[Size | _Sizes, FieldType("numbers", "an integer or a list of integers"), Field(examples=[16384])]
"""A size of all layers, or a list with one of each."""
IntegerList = Annotated[list[int] | None, FieldType("numbers", "a list of integers"), Field(examples=[[0]])]
LayerTypes = Annotated[
    list[str] | None, FieldType("names", "a list of names"), Field(examples=[["full_attention", "sliding_attention"]])
]

LLAMA_LIKE: dict[str, Any] = {
    "dropout": 0.0,
    "embedding.multiplier": 1.0,
    "position.kind": "rope",
    "norm.kind": "rmsnorm",
    "attention.bias": False,
    "feed_forward.gated": True,
    "feed_forward.bias": False,
}
"""Unscaled embeddings, RoPE that pairs the halves of a head, pre-norm RMSNorm, gated feed-forward, no biases."""


class LlamaLikeKeys(Keys):
    """The keys that most families share, with the defaults of Llama."""

    constants = LLAMA_LIKE
    tensor_names = LLAMA_NAMES

    vocab_size: VocabSize = 32000
    hidden_size: DModel = 4096
    intermediate_size: DFF = 11008
    num_hidden_layers: NLayers = 32
    num_attention_heads: NHeads = 32
    num_key_value_heads: NKVHeads = None
    hidden_act: Activation = "silu"
    max_position_embeddings: MaxLen = 2048
    tie_word_embeddings: TieWeights = False


QK_NORM_PER_HEAD = "tinylm does not support query and key norms with separate weights per head"
"""Why the query and key norms of some families are not supported."""


@cache
def filled_fields(keys: type[Keys], key: str) -> tuple[str, ...]:
    """Return the tinylm fields that ``key`` is copied to; empty if only ``to_tinylm`` reads it."""
    return next((each.fields for each in keys.model_fields[key].metadata if isinstance(each, Fills)), ())
