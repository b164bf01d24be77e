"""The blocks of a config: the parts of a transformer that vary between architectures, the storage and the budget.

Each declaration states everything about its field: type, bounds, default, description, and the fields on which it
depends. Users read the descriptions in ``tinylm schema``, in ``tinylm new`` and in their editor. The defaults are the
course's model. None means that the value follows from other fields, as the description states.
"""

# no deferred annotations: pydantic would evaluate every one, a tenth of the start-up time

from typing import Annotated

from pydantic import Field

from tinylm_cli.config.base import (
    KIND_NAME,
    MAX_DIM,
    MAX_FACTOR,
    MAX_LEN,
    MAX_N_CODEBOOKS,
    MAX_N_MTP_LAYERS,
    MAX_ROPE_BASE,
    MAX_STREAMS,
    MAX_VOCAB_SIZE,
    WITH_SHARED_BLOCK,
    Block,
    Dim,
    Factor,
    Factors,
    RopeBase,
    is_false,
    is_true,
    one_of,
    optional,
)
from tinylm_cli.config.budget import Budget
from tinylm_cli.config.choices import (
    MIXERS_OF_LAYER,
    HeadKind,
    MixerKind,
    NormKind,
    Pairing,
    Placement,
    PlainActivation,
    PositionKind,
    Scaling,
    Sinusoids,
)
from tinylm_cli.config.feed_forward import FeedForward
from tinylm_cli.config.field_types import FieldType
from tinylm_cli.config.loop import Loop
from tinylm_cli.config.mixers.attention import Attention
from tinylm_cli.config.mixers.gated_deltanet import GatedDeltaNet
from tinylm_cli.config.mixers.kimi_delta_attention import KimiDeltaAttention
from tinylm_cli.config.mixers.lightning_attention import LightningAttention
from tinylm_cli.config.mixers.mamba import Mamba
from tinylm_cli.config.mixers.mamba2 import Mamba2
from tinylm_cli.config.mixers.mlstm import Mlstm
from tinylm_cli.config.mixers.rg_lru import RgLru
from tinylm_cli.config.mixers.rwkv import Rwkv
from tinylm_cli.config.mixers.short_conv import ShortConv
from tinylm_cli.config.requirements import (
    CLASSIFIES,
    FEED_FORWARD,
    HEAD,
    HYPER,
    LLAMA3,
    LM,
    LONGROPE,
    MIXES,
    NORM_BEFORE,
    ONE_STREAM,
    PER_LAYER,
    ROPE,
    SCALED,
    SEQUENTIAL,
    SHARED_BLOCK,
    WINDOW,
    WITHOUT_MTP,
    WITHOUT_PER_LAYER,
    YARN,
)
from tinylm_cli.config.storage import Storage

BlockName = Annotated[str, Field(pattern=f"^{KIND_NAME}$"), FieldType("text", "a short name, such as first")]


class Embedding(Block):
    """The token embedding."""

    multiplier: float | None = optional(
        1.0, "Multiplier of the token embeddings; default: √d_model; 1.0 turns it off.", gt=0, le=MAX_FACTOR
    )
    norm: bool = Field(False, description="Normalize the embeddings before the first layer.")
    d_per_layer: int | None = optional(
        256,
        "Per-layer embeddings (Gemma 4): dimensions of the extra token embedding that each layer multiplies by a gate;"
        " default: none.",
        ge=1,
        le=MAX_DIM,
    )
    per_layer_vocab_size: Annotated[int | None, PER_LAYER] = optional(
        262144,
        "Rows of the table of per-layer embeddings; tokens beyond them read the first row (Gemma 3n). Default:"
        " vocab_size.",
        ge=1,
        le=MAX_VOCAB_SIZE,
    )
    n_codebooks: int = Field(
        1,
        ge=1,
        le=MAX_N_CODEBOOKS,
        description="Token ids of each position, one from each codebook of an audio codec (MusicGen): their embeddings,"
        " from vocab_size rows for each codebook, are added, and an LM head gives logits for each codebook.",
    )


class Position(Block):
    """The position encoding."""

    kind: PositionKind = Field(
        "sinusoidal",
        description="sinusoidal: fixed sines and cosines; learned: an embedding table of max_len × d_model; rope:"
        " rotary embeddings of queries and keys; alibi: attention biases linear in the distance; none: no encoding.",
    )
    sinusoids: Annotated[Sinusoids, one_of("position.kind", "sinusoidal")] = Field(
        "interleaved",
        description="Dimensions of the sinusoids. interleaved: sines and cosines in turn; concatenated: all sines, then"
        " all cosines; tensor2tensor: concatenated, with the last wavelength exactly 10,000 times the first (XGLM).",
    )
    offset: Annotated[int, one_of("position.kind", "learned", "sinusoidal")] = Field(
        0, ge=0, le=1024, description="Position of the first token (2 in OPT); a learned table has as many more rows."
    )
    theta: Annotated[RopeBase, ROPE] = Field(10_000.0, description="RoPE base frequency.")
    local_theta: Annotated[float | None, ROPE, WINDOW] = optional(
        10_000.0,
        "RoPE base frequency of sliding-window layers, which RoPE scaling does not affect; default: theta.",
        gt=1,
        le=MAX_ROPE_BASE,
    )
    rotary_fraction: Annotated[float, ROPE] = Field(
        1.0, gt=0, le=1, description="Fraction of each head's dimensions that RoPE rotates."
    )
    proportional: Annotated[bool, ROPE, one_of("position.scaling", "none", "linear")] = Field(
        False,
        description="Proportional RoPE (Gemma 4): frequencies are computed for all d_head / 2 pairs, and the first"
        " rotary_fraction of the pairs rotate; false: frequencies are computed for the rotated dimensions only.",
    )
    pairing: Annotated[Pairing, ROPE] = Field(
        "half",
        description="Dimensions that rotate as a pair. half: i and i + R/2, of R rotary ones; adjacent: 2i and 2i + 1.",
    )
    scaling: Annotated[Scaling, ROPE] = Field(
        "none", description="RoPE scaling to context lengths beyond original_max_len."
    )
    scaling_factor: Annotated[float | None, SCALED] = optional(
        8.0,
        "Ratio of the extended to the original context length; longrope uses it only for attention_factor.",
        ge=1,
        le=MAX_FACTOR,
    )
    original_max_len: Annotated[int | None, one_of("position.scaling", "dynamic", "llama3", "yarn", "longrope")] = (
        optional(8192, "Context length before RoPE scaling.", ge=1, le=MAX_LEN)
    )
    low_freq_factor: Annotated[Factor, LLAMA3] = Field(
        1.0, description="llama3: wavelengths above original_max_len / low_freq_factor are fully scaled."
    )
    high_freq_factor: Annotated[Factor, LLAMA3] = Field(
        4.0, description="llama3: wavelengths below original_max_len / high_freq_factor are not scaled."
    )
    beta_fast: Annotated[Factor, YARN] = Field(
        32.0, description="yarn: pairs with more than this number of rotations over original_max_len are not scaled."
    )
    beta_slow: Annotated[Factor, YARN] = Field(
        1.0, description="yarn: pairs with fewer than this number of rotations over original_max_len are fully scaled."
    )
    truncate: Annotated[bool, YARN] = Field(
        True, description="yarn: round the ends of the interpolation ramp to integer pair indices."
    )
    attention_factor: Annotated[float | None, one_of("position.scaling", "yarn", "longrope")] = optional(
        1.0,
        "yarn, longrope: multiplier of the rotary cosines and sines; default: derived from the scaling.",
        gt=0,
        le=MAX_FACTOR,
    )
    short_factors: Annotated[Factors | None, LONGROPE] = optional(
        (1.0, 1.5), "longrope: frequency divisor of each pair, for sequences up to original_max_len."
    )
    long_factors: Annotated[Factors | None, LONGROPE] = optional(
        (1.0, 4.0), "longrope: frequency divisor of each pair, for longer sequences."
    )

    @property
    def stretch(self) -> float:
        """The factor by which RoPE scaling extends the context length."""
        return 1.0 if self.scaling_factor is None else self.scaling_factor


class Norm(Block):
    """The norms of each layer and the final norm."""

    kind: NormKind = Field(
        "layernorm",
        description="layernorm: center and scale to unit variance; rmsnorm: scale to unit root mean square.",
    )
    eps: float = Field(1e-5, gt=0, le=0.1, description="Epsilon added to the variance to avoid division by zero.")
    placement: Placement = Field(
        "pre",
        description="pre: before each sub-layer; post: on its output, before the residual addition; sandwich: both;"
        " post_residual: after the residual addition, without a final norm, as in the original transformer and GPT.",
    )
    weight: bool = Field(True, description="Learn a weight for each dimension.")
    bias: bool | None = optional(False, "Learn a bias for each dimension; default: only for layernorm with a weight.")
    zero_centered: Annotated[bool, is_true("norm.weight")] = Field(
        False, description="Store the weight minus 1, initialized to 0, as Gemma does."
    )

    @property
    def has_bias(self) -> bool:
        """Whether each norm learns a bias."""
        return self.kind == "layernorm" and self.weight if self.bias is None else self.bias

    @property
    def precedes_sublayers(self) -> bool:
        """Whether a norm precedes each sub-layer."""
        return self.placement in ("pre", "sandwich")

    @property
    def is_final(self) -> bool:
        """Whether a final norm follows the last layer; norms after the residual additions replace it."""
        return self.placement != "post_residual"


class ResidualBlock(Block):
    """The parts of a layer and their residual connections."""

    mixer: MixerKind = Field(
        "attention",
        description="The part of a layer that moves information between positions. attention: causal self-attention;"
        " short_conv: a gated short convolution (LFM2); mamba: a selective state-space model; mamba2: one with scalar"
        " decays (SSD); gated_deltanet: linear attention with the gated delta rule (Qwen3-Next); kimi_delta_attention:"
        " the same with a decay for each channel (Kimi Linear); lightning_attention: linear attention with constant"
        " decays (MiniMax-Text); mlstm: linear attention with exponential gates and a normalizer (xLSTM); rg_lru: a"
        " gated linear recurrence (Griffin); rwkv: the time mixing of RWKV-4, averages that decay with the distance;"
        " attention_mamba2: attention and Mamba-2 on one input, added (Falcon-H1); shared_block_mamba,"
        " shared_block_mamba2: Mamba or Mamba-2; the output of a transformer block that several layers share is added"
        " to its input (Zamba); none: only the feed-forward network.",
    )
    shared_block: Annotated[BlockName, SHARED_BLOCK] = Field(
        "shared",
        description="Name of the shared transformer block: layers with the same name share the weights of its attention"
        " and feed-forward network. It reads the concatenation of hidden states and token embeddings. A projection of"
        " each layer maps its output to the input of the mixer (Zamba).",
    )
    feed_forward: bool = Field(
        True, description="Whether a layer, or its shared transformer block, has a feed-forward network."
    )
    parallel: Annotated[bool, MIXES, FEED_FORWARD] = Field(
        False, description="Run the mixer, such as attention, and the feed-forward network in parallel on one input."
    )
    mixer_norm: Annotated[bool, NORM_BEFORE, MIXES] = Field(
        True,
        description="Whether a norm precedes the mixer. ModernBERT omits it in the first layer, whose input the norm of"
        " the embeddings has normalized.",
    )
    shared_norm: Annotated[bool, is_true("block.parallel"), is_true("block.mixer_norm")] = Field(
        False, description="parallel: one norm for both sub-layers."
    )
    mixer_norm_gate_rank: Annotated[int | None, NORM_BEFORE, MIXES, is_true("block.mixer_norm")] = optional(
        16,
        "Multiply the output of the norm before the mixer by a gate, sigmoid(up(silu(down(y)))), of this rank (A.X K2);"
        " default: no gate.",
        ge=1,
        le=MAX_DIM,
    )
    feed_forward_norm_gate_rank: Annotated[int | None, NORM_BEFORE, FEED_FORWARD, is_false("block.shared_norm")] = (
        optional(16, "The same for the norm before the feed-forward network.", ge=1, le=MAX_DIM)
    )
    residual_multiplier: Factor = Field(
        1.0, description="Multiplier of each sub-layer's output before the residual addition."
    )
    skip_multiplier: Factor = Field(
        1.0, description="Multiplier of the skip connection, alpha in DeepNorm (MiniMax-Text)."
    )
    skip_weight: Annotated[bool, SEQUENTIAL, ONE_STREAM] = Field(
        False,
        description="Multiply the skip connection also by a learned weight of each dimension (Doge).",
    )
    depth_scaled_residual: Annotated[bool, SEQUENTIAL, ONE_STREAM, WITHOUT_MTP, WITHOUT_PER_LAYER] = Field(
        False,
        description="Multiply the output of a sub-layer also by √(1/k), and the skip connection by √((k − 1)/k), where"
        " k is the number of terms in the sum, with the token embedding as the first (Beam).",
    )
    normed_residual: Annotated[bool, NORM_BEFORE, SEQUENTIAL] = Field(
        False,
        description="Add the output of each sub-layer to its normalized input instead of its input (MiniMax-Text; in"
        " BLOOM, apply_residual_connection_post_layernorm).",
    )
    hyper_streams: Annotated[
        int | None,
        SEQUENTIAL,
        WITHOUT_MTP,
        WITHOUT_PER_LAYER,
        one_of("norm.placement", "pre", "post", "sandwich"),
        is_false("block.normed_residual"),
        is_false("feed_forward.branch_norms"),
    ] = optional(
        4,
        "Hyper-connections (Hy4): copies of the residual stream. Each sub-layer reads and writes them with weights that"
        " depend on the token; default: one residual stream.",
        ge=2,
        le=MAX_STREAMS,
    )
    hyper_write_scale: Annotated[Factor, HYPER] = Field(
        2.0, description="Hyper-connections: bound of the weights with which an output is added to the copies."
    )
    hyper_eps: Annotated[float, HYPER] = Field(
        1e-6, gt=0, le=0.1, description="Hyper-connections: added to the weights that read and write the copies."
    )
    altup_streams: Annotated[
        int | None, ONE_STREAM, WITHOUT_MTP, is_false("block.depth_scaled_residual"), is_false("block.skip_weight")
    ] = optional(
        4,
        "AltUp (Gemma 3n): parallel residual streams. A layer computes the first one; coefficients that depend on the"
        " token predict all of them before it, and correct them by its output. Default: one residual stream.",
        ge=2,
        le=MAX_STREAMS,
    )
    laurel_rank: Annotated[
        int | None,
        SEQUENTIAL,
        NORM_BEFORE,
        MIXES,
        is_true("block.mixer_norm"),
        is_false("block.normed_residual"),
        is_false("block.depth_scaled_residual"),
        is_false("block.skip_weight"),
        ONE_STREAM,
    ] = optional(
        64,
        "LAuReL (Gemma 3n): with y, the normalized input of the mixer, add y + norm(up(down(y))) of this rank to the"
        " residual stream beside the mixer's output, and divide the sum by √2. Default: none.",
        ge=1,
        le=MAX_DIM,
    )
    layer_scalar: bool = Field(
        False, description="Multiply the output of a layer by a number that is stored but not trained (Gemma 4)."
    )

    @property
    def mixers(self) -> tuple[str, ...]:
        """The sequence mixers of a layer, in parallel on one input; empty if it has none."""
        return MIXERS_OF_LAYER.get(self.mixer, (self.mixer,))

    @property
    def has_mixer(self) -> bool:
        """Whether a layer moves information between positions."""
        return self.mixer != "none"

    @property
    def has_shared_block(self) -> bool:
        """Whether a layer uses a transformer block whose weights it shares with others."""
        return self.mixer in WITH_SHARED_BLOCK

    @property
    def n_residual_additions(self) -> int:
        """Residual additions of a layer; a parallel block adds the outputs of both sub-layers at once."""
        return 1 if self.parallel or self.has_shared_block else self.has_mixer + self.feed_forward

    @property
    def n_streams(self) -> int:
        """Parallel residual streams between the layers, of hyper-connections or AltUp; 1 without either."""
        return self.hyper_streams or self.altup_streams or 1

    @property
    def n_sublayers(self) -> int:
        """Mixers and feed-forward networks of a layer, its shared block included, that run one after the other."""
        return self.has_mixer + self.feed_forward + self.has_shared_block


class Head(Block):
    """The head, which maps the hidden states after the final norm to the outputs of the model."""

    kind: HeadKind = Field(
        "lm",
        description="lm: the LM head, logits of the next token; sequence_classification: scores of the labels of a"
        " sequence, at its last token, as in reward models; token_classification: scores of the labels of each token;"
        " none: no head, the outputs are the hidden states.",
    )
    n_labels: Annotated[Dim, CLASSIFIES] = Field(
        2, description="Labels of a classification head; a reward model has 1."
    )
    bias: Annotated[bool, HEAD] = Field(False, description="Whether the head has a bias.")
    dense: Annotated[bool, HEAD, WITHOUT_MTP] = Field(
        False,
        description="A dense layer of d_model × d_model, an activation and a norm before the head (BERT, ModernBERT).",
    )
    dense_activation: Annotated[PlainActivation, is_true("head.dense")] = Field(
        "gelu", description="Activation of this layer, with the values of feed_forward.activation except xielu."
    )
    dense_bias: Annotated[bool, is_true("head.dense")] = Field(True, description="Whether this layer has a bias.")
    logit_scale: Annotated[Factor, LM] = Field(1.0, description="Multiplier of the logits, before the soft-cap.")
    logit_softcap: Annotated[float | None, LM] = optional(
        30.0, "Soft-cap on the logits: cap × tanh(logit / cap).", gt=0, le=MAX_FACTOR
    )
    n_mtp_layers: Annotated[int, LM] = Field(
        0,
        ge=0,
        le=MAX_N_MTP_LAYERS,
        description="Multi-token prediction (MTP) modules after the last layer, for training: module k predicts the"
        " token k + 1 positions ahead (DeepSeek-V3).",
    )


BLOCKS: dict[str, type[Block]] = {
    "embedding": Embedding,
    "position": Position,
    "norm": Norm,
    "attention": Attention,
    "short_conv": ShortConv,
    "mamba": Mamba,
    "mamba2": Mamba2,
    "gated_deltanet": GatedDeltaNet,
    "kimi_delta_attention": KimiDeltaAttention,
    "lightning_attention": LightningAttention,
    "mlstm": Mlstm,
    "rg_lru": RgLru,
    "rwkv": Rwkv,
    "feed_forward": FeedForward,
    "block": ResidualBlock,
    "loop": Loop,
    "head": Head,
    "storage": Storage,
    "budget": Budget,
}
