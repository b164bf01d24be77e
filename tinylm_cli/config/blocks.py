"""The blocks of a config: the parts of a transformer that vary between architectures, and the budget.

Users read the descriptions in ``tinylm schema``, in ``tinylm new`` and in their editor. The defaults are the course's
model. None means that the value follows from other fields, as the description states.
"""

# no deferred annotations: pydantic would evaluate each of them, a tenth of the start-up time

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
    """Base of every part of a config: frozen, with strict types and without unknown keys."""

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
    """The token embedding."""

    multiplier: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        examples=[1.0],
        description="Factor on the token embeddings; √d_model when absent, 1.0 for none.",
    )
    norm: bool = Field(default=False, description="Normalize the embeddings before the first layer.")


class Position(Block):
    """The position encoding."""

    kind: PositionKind = Field(
        default="sinusoidal",
        description=(
            "sinusoidal: fixed sines and cosines; learned: an embedding table of max_len × d_model; rope: rotary"
            " embeddings of queries and keys; alibi: attention biases linear in the distance; none: no encoding."
        ),
    )
    offset: int = Field(default=0, ge=0, le=1024, description="Rows of the learned table before position 0 (2 in OPT).")
    theta: float = Field(default=10_000.0, gt=1, le=1e12, description="RoPE base frequency.")
    local_theta: float | None = Field(
        default=None,
        gt=1,
        le=1e12,
        examples=[10_000.0],
        description="RoPE base of sliding-window layers, which are not scaled; theta when absent.",
    )
    rotary_fraction: float = Field(
        default=1.0, gt=0, le=1, description="Fraction of each head's dimensions that RoPE rotates."
    )
    pairing: Pairing = Field(
        default="half",
        description="Pairs that rotate together. half: i and i + half the rotary dimensions; adjacent: 2i and 2i + 1.",
    )
    scaling: Scaling = Field(default="none", description="RoPE scaling to context lengths beyond original_max_len.")
    scaling_factor: float | None = Field(
        default=None,
        ge=1,
        le=MAX_FACTOR,
        examples=[8.0],
        description="Extended over original context length; with longrope, only for attention_factor.",
    )
    original_max_len: int | None = Field(
        default=None, ge=1, le=MAX_LEN, examples=[8192], description="Context length before RoPE scaling."
    )
    low_freq_factor: float = Field(
        default=1.0,
        gt=0,
        le=1e6,
        description="llama3: longer wavelengths than original_max_len / low_freq_factor are fully scaled.",
    )
    high_freq_factor: float = Field(
        default=4.0,
        gt=0,
        le=1e6,
        description="llama3: shorter wavelengths than original_max_len / high_freq_factor are not scaled.",
    )
    beta_fast: float = Field(
        default=32.0, gt=0, le=1e6, description="yarn: pairs with more rotations over original_max_len are not scaled."
    )
    beta_slow: float = Field(
        default=1.0,
        gt=0,
        le=1e6,
        description="yarn: pairs with fewer rotations over original_max_len are fully scaled.",
    )
    truncate: bool = Field(default=True, description="yarn: round the ends of the interpolation ramp to whole pairs.")
    attention_factor: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        examples=[1.0],
        description="yarn, longrope: factor on the rotary cosines and sines; derived from the scaling when absent.",
    )
    short_factors: Factors | None = Field(
        default=None,
        examples=[(1.0, 1.5)],
        description="longrope: frequency divisor of each pair, for sequences up to original_max_len.",
    )
    long_factors: Factors | None = Field(
        default=None,
        examples=[(1.0, 4.0)],
        description="longrope: frequency divisor of each pair, for longer sequences.",
    )

    @property
    def stretch(self) -> float:
        """The factor by which RoPE scaling extends the context length."""
        return 1.0 if self.scaling_factor is None else self.scaling_factor


class Norm(Block):
    """The norms of each layer and the final norm."""

    kind: NormKind = Field(
        default="layernorm",
        description="layernorm: center and scale to unit variance; rmsnorm: scale to unit root mean square.",
    )
    eps: float = Field(
        default=1e-5,
        gt=0,
        le=0.1,
        description="Added to the variance, against division by zero.",
    )
    placement: Placement = Field(
        default="pre",
        description="pre: before each sub-layer; post: on its output, before the residual addition; sandwich: both.",
    )
    weight: bool = Field(default=True, description="Learn a weight for each dimension.")
    bias: bool | None = Field(
        default=None,
        examples=[False],
        description="Learn a bias for each dimension; when absent, only layernorm with a weight does.",
    )
    zero_centered: bool = Field(default=False, description="Store the weight minus 1, initialized to 0, as Gemma does.")

    @property
    def has_bias(self) -> bool:
        """Whether each norm learns a bias."""
        return self.kind == "layernorm" and self.weight if self.bias is None else self.bias


class Attention(Block):
    """Causal self-attention."""

    kind: Annotated[AttentionKind, WithJsonSchema({"enum": [*get_args(AttentionKind), *ABBREVIATED]})] = Field(
        default="multi_head",
        description=(
            "multi_head: MHA, GQA or MQA, by n_kv_heads; latent: multi-head latent attention (MLA), which caches one"
            " compressed vector per token. mha, gqa, mqa and mla are accepted too."
        ),
    )
    n_kv_heads: int | None = Field(
        default=None,
        ge=1,
        le=MAX_N_HEADS,
        examples=[2],
        description="KV heads, each shared by n_heads / n_kv_heads query heads; n_heads when absent, 1 for MQA.",
    )
    d_head: int | None = Field(
        default=None, ge=1, le=MAX_DIM, examples=[64], description="Dimensions per head; d_model / n_heads when absent."
    )
    bias: bool = Field(default=True, description="Biases of the Q, K and V projections.")
    out_bias: bool | None = Field(
        default=None, examples=[False], description="A bias of the output projection; as bias when absent."
    )
    qk_norm: QkNorm = Field(
        default="none",
        description="Normalize queries and keys. per_head: over d_head, weights shared; full: over all heads.",
    )
    window: int | None = Field(
        default=None,
        ge=1,
        le=MAX_LEN,
        examples=[1024],
        description="Sliding window of local layers: positions that a token attends to, itself included.",
    )
    window_pattern: str = Field(
        default="L",
        pattern=WINDOW_PATTERN,
        examples=["LG"],
        description="Local (L) and global (G) layers, repeated over all layers: L: all local; LG: alternating.",
    )
    logit_softcap: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        examples=[50.0],
        description="Soft cap on the attention scores: cap × tanh(score / cap).",
    )
    scale: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        examples=[0.125],
        description="Factor on the attention scores; 1/√d_head when absent.",
    )
    sinks: bool = Field(
        default=False, description="Attention sinks: a learned logit per head in the softmax, without a value."
    )
    kv_rank: int = Field(
        default=512,
        ge=1,
        le=MAX_DIM,
        description="latent: rank of the compressed keys and values that each token caches.",
    )
    q_rank: int | None = Field(
        default=None,
        ge=1,
        le=MAX_DIM,
        examples=[1536],
        description="latent: rank of the compressed queries; not compressed when absent.",
    )
    d_nope: int = Field(default=128, ge=1, le=MAX_DIM, description="latent: dimensions per head without RoPE.")
    d_rope: int = Field(
        default=64, ge=1, le=MAX_DIM, description="latent: dimensions per head with RoPE; all heads share one key."
    )
    d_value: int = Field(default=128, ge=1, le=MAX_DIM, description="latent: value dimensions per head.")

    @property
    def has_out_bias(self) -> bool:
        """Whether the output projection has a bias."""
        return self.bias if self.out_bias is None else self.out_bias


class FeedForward(Block):
    """The feed-forward network (MLP), or a mixture of experts."""

    activation: Activation = Field(
        default="gelu",
        description=(
            "gelu: exact, with erf; gelu_tanh: GPT-2's tanh approximation; quick_gelu: x × sigmoid(1.702 x); relu;"
            " silu: x × sigmoid(x)."
        ),
    )
    gated: bool = Field(
        default=False,
        description="Multiply by an activated gate projection: SwiGLU with silu, GeGLU with gelu, ReGLU with relu.",
    )
    bias: bool = Field(default=True, description="Biases of the projections.")
    clamp: float | None = Field(
        default=None,
        gt=0,
        le=1e6,
        examples=[7.0],
        description="gated: clamp both projections to this bound and add 1 to the ungated one, as gpt-oss does.",
    )
    n_experts: int | None = Field(
        default=None,
        ge=1,
        le=MAX_N_EXPERTS,
        examples=[8],
        description="Routed experts; a dense network when absent.",
    )
    top_k: int = Field(default=2, ge=1, le=MAX_N_EXPERTS, description="Routed experts per token.")
    d_expert: int | None = Field(
        default=None, ge=1, le=MAX_D_FF, examples=[768], description="Hidden size of an expert; d_ff when absent."
    )
    n_shared_experts: int = Field(
        default=0,
        ge=0,
        le=MAX_N_EXPERTS,
        description="Shared experts, which every token uses; stored as one wide expert.",
    )
    n_dense_layers: int = Field(
        default=0, ge=0, le=MAX_N_LAYERS, description="Leading layers with a dense network of width d_ff."
    )
    router: Router = Field(
        default="topk_softmax",
        description=(
            "Expert weights. topk_softmax: softmax over the selected logits; softmax: over all logits, then select;"
            " sigmoid: of each logit."
        ),
    )
    router_bias: bool = Field(default=False, description="A bias of the router.")
    score_correction: bool = Field(
        default=False,
        description="sigmoid: a bias per expert, not trained by gradients, that affects the selection only.",
    )
    renormalize: bool = Field(default=False, description="Normalize the weights of the selected experts to sum to 1.")
    routed_scale: float = Field(default=1.0, gt=0, le=1e6, description="Factor on the output of the routed experts.")
    n_groups: int = Field(
        default=1, ge=1, le=MAX_N_EXPERTS, description="Expert groups; the router selects groups first."
    )
    top_k_groups: int = Field(default=1, ge=1, le=MAX_N_EXPERTS, description="Groups to select experts from.")


class ResidualBlock(Block):
    """The residual connections of a layer."""

    parallel: bool = Field(default=False, description="Run attention and feed-forward in parallel on the same input.")
    shared_norm: bool = Field(default=False, description="parallel: one norm for both sub-layers.")
    residual_multiplier: float = Field(
        default=1.0, gt=0, le=1e6, description="Factor on each sub-layer's output before the residual addition."
    )


class Head(Block):
    """The LM head."""

    bias: bool = Field(default=False, description="A bias per vocabulary entry.")
    logit_softcap: float | None = Field(
        default=None, gt=0, le=1e6, examples=[30.0], description="Soft cap on the logits: cap × tanh(logit / cap)."
    )


class Budget(Block):
    """Limits on the cost of the model, which ``tinylm validate`` checks, and the conditions that they hold under."""

    max_params: ParameterCount | None = Field(
        default=None, examples=["130M"], description="Maximum parameters; tied weights count once."
    )
    max_active_params: ParameterCount | None = Field(
        default=None, examples=["13B"], description="Maximum parameters that one token uses."
    )
    max_kv_bytes: Size | None = Field(
        default=None, examples=["24GiB"], description="Maximum KV cache of the batch. GB is 1000³, GiB is 1024³."
    )
    max_train_bytes_per_gpu: Size | None = Field(
        default=None, examples=["80GB"], description="Maximum memory to train the entire model on one GPU with AdamW."
    )
    max_flops_per_token: FlopCount | None = Field(
        default=None, examples=["2.5G"], description="Maximum FLOPs of a forward pass per token."
    )
    nominal_tolerance: Share | None = Field(
        default=None,
        examples=[0.05],
        description="Allowed relative difference between nominal_params and the true count.",
    )
    batch_size: int | None = Field(
        default=None, ge=1, le=MAX_BATCH_SIZE, examples=[8], description="Sequences per batch; 1 when absent."
    )
    seq_len: int | None = Field(
        default=None, ge=1, le=MAX_LEN, examples=[1024], description="Tokens per sequence; max_len when absent."
    )
    dtype: DType | None = Field(
        default=None,
        examples=["float32"],
        description="Dtype of weights and KV cache; bfloat16 when absent.",
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
