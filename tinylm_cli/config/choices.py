"""The choices of fields with named values, and the mixers that a layer can have."""

# no deferred annotations, as in config.blocks

from collections.abc import Iterable
from typing import Literal, get_args

PositionKind = Literal["sinusoidal", "learned", "rope", "alibi", "none"]
Sinusoids = Literal["interleaved", "concatenated", "tensor2tensor"]
Pairing = Literal["half", "adjacent"]
Scaling = Literal["none", "linear", "dynamic", "llama3", "yarn", "longrope"]
NormKind = Literal["layernorm", "rmsnorm"]
Placement = Literal["pre", "post", "sandwich", "post_residual"]
SingleMixer = Literal[
    "attention",
    "short_conv",
    "mamba",
    "mamba2",
    "gated_deltanet",
    "kimi_delta_attention",
    "lightning_attention",
    "mlstm",
    "rg_lru",
    "rwkv",
]
MixerKind = Literal[SingleMixer, "attention_mamba2", "shared_block_mamba", "shared_block_mamba2", "none"]
MIXERS_OF_LAYER: dict[str, tuple[str, ...]] = {
    "attention_mamba2": ("attention", "mamba2"),
    "shared_block_mamba": ("attention", "mamba"),
    "shared_block_mamba2": ("attention", "mamba2"),
    "none": (),
}
"""The mixers of the layers whose ``block.mixer`` is not the name of a single one."""


def mixers_within(kinds: Iterable[str]) -> set[str]:
    """Return the values of ``block.mixer``, and the single mixers that are parts of them."""
    found = set(kinds)
    return found.union(*(MIXERS_OF_LAYER.get(kind, ()) for kind in found))


AttentionKind = Literal["multi_head", "latent"]
ABBREVIATED = ("mha", "gqa", "mqa", "mla")
QkNorm = Literal["none", "per_head", "full"]
PlainActivation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "relu2", "silu"]
Activation = Literal[PlainActivation, "xielu"]
GateActivation = Literal["sigmoid", "softplus"]
GateBias = Literal["none", "full", "per_head"]
TemperatureGrowth = Literal["log_steps", "power"]
HeadKind = Literal["lm", "sequence_classification", "token_classification", "none"]
Router = Literal["softmax", "topk_softmax", "sigmoid", "sparsemixer"]
DType = Literal["bfloat16", "float16", "float32", "float64"]
DEFAULT_DTYPE: DType = "bfloat16"
"""Type of weights, activations and caches, unless another is given."""
KvCacheDtype = Literal[DType, "float8", "int8"]
IntegerWeights = Literal["int8", "int4"]
WeightDtype = Literal["none", IntegerWeights, "float8", "nf4", "fp4", "mxfp4", "nvfp4", "gguf"]
INTEGERS: tuple[str, ...] = get_args(IntegerWeights)
"""Types of weights that are integers times a scale."""
Strategy = Literal["tensor", "channel", "group", "block"]
ScaleDtype = Literal["float32", "bfloat16", "float16", "float8_e8m0fnu"]
ModuleTensor = Literal["g_idx", "weight_shape", "weight_format", "input_scale"]
