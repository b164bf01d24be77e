"""The blocks of a config: what varies between architectures, each part under the name it has in every room.

Every description here is what a user reads in ``tinylm schema``, ``tinylm new`` and an editor's tooltip, so each is
written for that reader. A default is the course's model; None stands for what the description says follows from others.
"""

# no deferred annotations: pydantic would compile and evaluate each of them again, a tenth of a torch-free start

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from tinylm_cli.config.amounts import FlopCount, ParameterCount, Share, Size

MAX_DIM = 1_048_576
MAX_N_HEADS = 65_536
MAX_LEN = 1_000_000_000
MAX_FACTOR = 1e6
MAX_N_LAYERS = 100_000
MAX_D_FF = 16_777_216
MAX_N_EXPERTS = 65_536
MAX_BATCH_SIZE = 1_000_000_000


class Block(BaseModel):
    """Base of every part of a config: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


PositionKind = Literal["sinusoidal", "learned", "rope", "alibi", "none"]
Pairing = Literal["half", "adjacent"]
Scaling = Literal["none", "linear", "dynamic", "llama3", "yarn", "longrope"]
NormKind = Literal["layernorm", "rmsnorm"]
Placement = Literal["pre", "post", "sandwich"]
AttentionKind = Literal["multi_head", "latent"]
ABBREVIATED = ("mha", "gqa", "mqa", "mla")
QkNorm = Literal["none", "per_head", "full"]
Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "relu", "silu"]
Router = Literal["softmax", "topk_softmax", "sigmoid"]
DType = Literal["float32", "bfloat16", "float16", "float64"]

WINDOW_PATTERN = r"^[LG]{1,512}$"

Factors = Annotated[tuple[Annotated[float, Field(gt=0, le=1e9)], ...], Field(strict=False, max_length=MAX_DIM)]


class Embedding(Block):
    """From token ids to the vectors that the first block reads."""

    multiplier: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        examples=[1.0],
        description="Factor on each token's vector; √d_model when absent, 1.0 for none.",
    )
    norm: bool = Field(default=False, description="A norm on what the embedding puts out, before the first block.")


class Position(Block):
    """How a token knows where it stands."""

    kind: PositionKind = Field(
        default="sinusoidal",
        description=(
            "sinusoidal: fixed sines and cosines, no parameters; learned: a table of max_len × d_model; rope: queries"
            " and keys rotated by their position; alibi: scores lowered by distance; none: order from the causal mask."
        ),
    )
    offset: int = Field(
        default=0, ge=0, le=1024, description="Rows of the learned table before the first position (2 in OPT)."
    )
    theta: float = Field(default=10_000.0, gt=1, le=1e12, description="Base of the rotary wavelengths.")
    local_theta: float | None = Field(
        default=None,
        gt=1,
        le=1e12,
        examples=[10_000.0],
        description="Base, unscaled, in layers with a window; theta when absent.",
    )
    rotary_fraction: float = Field(default=1.0, gt=0, le=1, description="Share of each head's dimensions rotated.")
    pairing: Pairing = Field(
        default="half",
        description="Which dimensions rotate together: half: i and i + half of them; adjacent: 2i and 2i + 1.",
    )
    scaling: Scaling = Field(default="none", description="How rotation stretches to lengths beyond original_max_len.")
    scaling_factor: float | None = Field(
        default=None,
        ge=1,
        le=MAX_FACTOR,
        examples=[8.0],
        description="How many times longer the stretch makes it; longrope: only for the rotation's factor.",
    )
    original_max_len: int | None = Field(
        default=None, ge=1, le=MAX_LEN, examples=[8192], description="Longest sequence the model was first trained on."
    )
    low_freq_factor: float = Field(
        default=1.0, gt=0, le=1e6, description="llama3: original_max_len / this is the wavelength fully stretched."
    )
    high_freq_factor: float = Field(
        default=4.0, gt=0, le=1e6, description="llama3: original_max_len / this is the wavelength left alone."
    )
    beta_fast: float = Field(
        default=32.0, gt=0, le=1e6, description="yarn: turns over original_max_len from which a pair is left alone."
    )
    beta_slow: float = Field(
        default=1.0, gt=0, le=1e6, description="yarn: turns over original_max_len up to which a pair is stretched."
    )
    truncate: bool = Field(default=True, description="yarn: round the bounds of the ramp to whole pairs.")
    attention_factor: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        examples=[1.0],
        description="yarn, longrope: factor on the rotation; from scaling when absent.",
    )
    short_factors: Factors | None = Field(
        default=None,
        examples=[(1.0, 1.5)],
        description="longrope: one divisor for each rotated pair, up to original_max_len.",
    )
    long_factors: Factors | None = Field(
        default=None,
        examples=[(1.0, 4.0)],
        description="longrope: one divisor for each rotated pair, beyond original_max_len.",
    )

    @property
    def stretch(self) -> float:
        """How many times longer the stretch makes a sequence."""
        return 1.0 if self.scaling_factor is None else self.scaling_factor


class Norm(Block):
    """The normalization of each sub-layer, and of what the head reads."""

    kind: NormKind = Field(
        default="layernorm", description="layernorm: centres and scales each vector; rmsnorm: only scales it."
    )
    eps: float = Field(
        default=1e-5,
        gt=0,
        le=0.1,
        description="Added to the variance so that a constant vector does not divide by zero.",
    )
    placement: Placement = Field(
        default="pre",
        description="pre: before each sub-layer; post: on what it puts out, before that is added; sandwich: both.",
    )
    weight: bool = Field(default=True, description="Learn a factor for each dimension.")
    bias: bool | None = Field(
        default=None,
        examples=[False],
        description="Learn a shift for each dimension; when absent, layernorm with a weight does.",
    )
    zero_centered: bool = Field(
        default=False, description="Keep the weight as its difference from 1, as Gemma does: it starts at 0."
    )

    @property
    def has_bias(self) -> bool:
        """Whether each norm learns a shift."""
        return self.kind == "layernorm" and self.weight if self.bias is None else self.bias


class Attention(Block):
    """Causal self-attention."""

    kind: Annotated[AttentionKind, WithJsonSchema({"enum": [*get_args(AttentionKind), *ABBREVIATED]})] = Field(
        default="multi_head",
        description=(
            "multi_head: each token keeps keys and values, with n_kv_heads MHA, GQA or MQA; latent: one small vector to"
            " make them from (MLA). Also mha, gqa, mqa and mla."
        ),
    )
    n_kv_heads: int | None = Field(
        default=None,
        ge=1,
        le=MAX_N_HEADS,
        examples=[2],
        description="Heads of keys and values, each shared by a group of queries; n_heads when absent, 1 multi-query.",
    )
    d_head: int | None = Field(
        default=None, ge=1, le=MAX_DIM, examples=[64], description="Dimensions per head; d_model / n_heads when absent."
    )
    bias: bool = Field(default=True, description="Biases on the q, k and v projections.")
    out_bias: bool | None = Field(
        default=None, examples=[False], description="A bias on the output projection; as bias when absent."
    )
    qk_norm: QkNorm = Field(
        default="none",
        description="Norms on queries and keys: per_head: over d_head, one weight for all heads; full: over all heads.",
    )
    window: int | None = Field(
        default=None, ge=1, le=MAX_LEN, examples=[1024], description="Positions a local layer sees, its own included."
    )
    window_pattern: str = Field(
        default="L",
        pattern=WINDOW_PATTERN,
        examples=["LG"],
        description="Which layers are local (L) or global (G), repeated over the layers: L all, LG alternate.",
    )
    logit_softcap: float | None = Field(
        default=None, gt=0, le=1e6, examples=[50.0], description="Cap on the scores: cap × tanh(score / cap)."
    )
    scale: float | None = Field(
        default=None, gt=0, le=1e6, examples=[0.125], description="Factor on the scores; 1/√d_head when absent."
    )
    sinks: bool = Field(default=False, description="A learned score per head that takes weight and adds nothing.")
    kv_rank: int = Field(default=512, ge=1, le=MAX_DIM, description="latent: size of the vector each token keeps.")
    q_rank: int | None = Field(
        default=None, ge=1, le=MAX_DIM, examples=[1536], description="latent: size queries are compressed to, if any."
    )
    d_nope: int = Field(default=128, ge=1, le=MAX_DIM, description="latent: dimensions per head that do not rotate.")
    d_rope: int = Field(default=64, ge=1, le=MAX_DIM, description="latent: dimensions that rotate, keys share them.")
    d_value: int = Field(default=128, ge=1, le=MAX_DIM, description="latent: dimensions of each head's values.")

    @property
    def has_out_bias(self) -> bool:
        """Whether the output projection has a bias."""
        return self.bias if self.out_bias is None else self.out_bias


class FeedForward(Block):
    """The network applied to each position: d_model to d_ff, activation, back to d_model; or a mixture of such."""

    activation: Activation = Field(
        default="gelu",
        description=(
            "gelu: the exact erf form; gelu_tanh: GPT-2's approximation; quick_gelu: x times sigmoid(1.702 x); relu;"
            " silu: x times sigmoid(x)."
        ),
    )
    gated: bool = Field(
        default=False,
        description="Multiply by a second, activated projection: SwiGLU with silu, GeGLU with gelu, ReGLU with relu.",
    )
    bias: bool = Field(default=True, description="Biases on the projections.")
    clamp: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        examples=[7.0],
        description="gated: bound on both projections, the plain one then raised by 1, as gpt-oss does.",
    )
    n_experts: int | None = Field(
        default=None,
        ge=1,
        le=MAX_N_EXPERTS,
        examples=[8],
        description="Experts to choose from; a single one if absent.",
    )
    top_k: int = Field(default=2, ge=1, le=MAX_N_EXPERTS, description="Experts each token is sent to.")
    d_expert: int | None = Field(
        default=None, ge=1, le=MAX_D_FF, examples=[768], description="Hidden width of an expert; d_ff when absent."
    )
    n_shared_experts: int = Field(
        default=0, ge=0, le=MAX_N_EXPERTS, description="Experts that every token is sent to, held as one wide one."
    )
    n_dense_layers: int = Field(
        default=0, ge=0, le=MAX_N_LAYERS, description="Leading layers with one network of width d_ff and no experts."
    )
    router: Router = Field(
        default="topk_softmax",
        description=(
            "What weighs the experts: topk_softmax: softmax over the scores of those chosen; softmax: over all, then"
            " choose; sigmoid: of each score on its own."
        ),
    )
    router_bias: bool = Field(default=False, description="A bias on the router.")
    score_correction: bool = Field(
        default=False, description="sigmoid: a kept, untrained shift of each expert's score that only affects choice."
    )
    renormalize: bool = Field(default=False, description="Make the weights of the chosen experts sum to 1.")
    routed_scale: float = Field(default=1.0, gt=0, le=1e6, description="Factor on what the chosen experts put out.")
    n_groups: int = Field(default=1, ge=1, le=MAX_N_EXPERTS, description="Groups that experts are chosen by first.")
    top_k_groups: int = Field(default=1, ge=1, le=MAX_N_EXPERTS, description="Groups to choose experts from.")


class ResidualBlock(Block):
    """How attention and feed-forward join the stream that runs through the layers."""

    parallel: bool = Field(
        default=False, description="Feed attention and feed-forward from the same vector and add both at once."
    )
    shared_norm: bool = Field(default=False, description="parallel: one norm for both instead of one each.")
    residual_multiplier: float = Field(
        default=1.0, gt=0, le=1e6, description="Factor on what each sub-layer adds to the stream."
    )


class Head(Block):
    """From the last vectors to logits."""

    bias: bool = Field(default=False, description="A bias for each token's logit.")
    logit_softcap: float | None = Field(
        default=None, gt=0, le=1e6, examples=[30.0], description="Cap on the logits: cap × tanh(logit / cap)."
    )


class Budget(Block):
    """What the model may cost: limits, and what they are measured at; tinylm validate holds it to them."""

    max_params: ParameterCount | None = Field(
        default=None, examples=["130M"], description="Most parameters, a tied tensor counted once."
    )
    max_active_params: ParameterCount | None = Field(
        default=None, examples=["13B"], description="Most parameters that one token uses."
    )
    max_kv_bytes: Size | None = Field(
        default=None, examples=["24GiB"], description="Most that keys and values take while decoding; GB is 1000³."
    )
    max_train_bytes_per_gpu: Size | None = Field(
        default=None, examples=["80GB"], description="Most that one GPU holds to train the whole model, with AdamW."
    )
    max_flops_per_token: FlopCount | None = Field(
        default=None, examples=["2.5G"], description="Most operations of a forward pass, for each of its tokens."
    )
    nominal_tolerance: Share | None = Field(
        default=None, examples=[0.05], description="Share of nominal_params by which the true count may differ."
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=MAX_BATCH_SIZE, examples=[8], description="Sequences at once; 1 when absent."
    )
    seq_len: int | None = Field(
        default=None, ge=1, le=MAX_LEN, examples=[1024], description="Tokens in each; max_len when absent."
    )
    dtype: DType | None = Field(
        default=None,
        examples=["float32"],
        description="What weights and caches are stored in; bfloat16 when absent.",
    )


BLOCKS: dict[str, type[Block]] = {
    "embedding": Embedding,
    "position": Position,
    "norm": Norm,
    "attention": Attention,
    "feed_forward": FeedForward,
    "block": ResidualBlock,
    "head": Head,
    "budget": Budget,
}
