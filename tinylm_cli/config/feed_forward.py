"""The block ``feed_forward``: the feed-forward network of a layer, or its mixture of experts."""

# no deferred annotations, as in config.blocks

from typing import Annotated, ClassVar

from pydantic import Field

from tinylm_cli.config.base import (
    MAX_D_FF,
    MAX_DIM,
    MAX_FACTOR,
    MAX_N_EXPERTS,
    MAX_N_LAYERS,
    Block,
    ExpertCount,
    Factor,
    Requirement,
    is_false,
    is_true,
    one_of,
    optional,
)
from tinylm_cli.config.choices import Activation, Router
from tinylm_cli.config.requirements import (
    DENSE,
    EXPERTS,
    FEED_FORWARD,
    GROUPS,
    MIXES,
    NOT_GATED,
    ONE_GROUP,
    ONE_STREAM,
    PRE_NORM,
    SANDWICH,
    SHARED_BLOCK,
    SHARED_EXPERTS,
    WITHOUT_ALTUP,
    WITHOUT_CLAMP,
)


class FeedForward(Block):
    """The feed-forward network (MLP), or a mixture of experts."""

    requires: ClassVar[tuple[Requirement, ...]] = (FEED_FORWARD,)

    activation: Activation = Field(
        "gelu",
        description="gelu: exact, with erf; gelu_tanh: GPT-2's tanh approximation; quick_gelu: x × sigmoid(1.702 x);"
        " relu; relu2: its square; silu: x × sigmoid(x); xielu: quadratic above 0, exponential below, with two"
        " learned scalars per layer (Apertus).",
    )
    gated: bool = Field(
        False,
        description="Gate the hidden units: SwiGLU with silu, GeGLU with gelu, ReGLU with relu.",
    )
    bias: bool = Field(True, description="Whether the projections have biases.")
    clamp: Annotated[float | None, is_true("feed_forward.gated")] = optional(
        7.0,
        "gated: clamp gate and up projections to this bound; add 1 to the up projection (gpt-oss).",
        gt=0,
        le=MAX_FACTOR,
    )
    gate_multiplier: Annotated[Factor, is_true("feed_forward.gated"), DENSE] = Field(
        1.0, description="gated: multiplier of the gate projection, before the activation (Falcon-H1)."
    )
    activation_sparsity: Annotated[float | None, is_true("feed_forward.gated"), DENSE, WITHOUT_CLAMP] = optional(
        0.95,
        "gated: subtract from the gate projection the quantile of this share, of a normal distribution with its mean"
        " and variance, and set negative results to 0 before the activation (statistical top-k; Gemma 3n). Default:"
        " none.",
        gt=0,
        lt=1,
    )
    out_multiplier: Annotated[Factor, DENSE] = Field(1.0, description="Multiplier of the output of a dense network.")
    sub_norm: Annotated[bool, DENSE] = Field(
        False, description="Normalize the hidden units before the down projection (sub-LN; BitNet)."
    )
    channel_mixing: Annotated[bool, DENSE, NOT_GATED] = Field(
        False,
        description="Channel mixing (RWKV-4): the network reads a mix of each token and the one before it, with learned"
        " shares of each dimension, and a sigmoid gate projected from another mix multiplies its output.",
    )
    adapter_rank: Annotated[int | None, SHARED_BLOCK] = optional(
        128,
        "Rank of the low-rank adapter that each layer adds to the gate and up projections of its shared block (Zamba2);"
        " default: none.",
        ge=1,
        le=MAX_DIM,
    )
    n_experts: int | None = optional(8, "Routed experts; default: a dense network.", ge=1, le=MAX_N_EXPERTS)
    top_k: Annotated[ExpertCount, EXPERTS] = Field(2, description="Routed experts per token.")
    n_zero_experts: Annotated[int, EXPERTS, ONE_GROUP] = Field(
        0,
        ge=0,
        le=MAX_N_EXPERTS,
        description="Zero-computation experts, which return their input (LongCat-Flash); the router selects among them,"
        " too. FLOPs, active parameters and memory are upper bounds: they assume that no token selects one.",
    )
    d_expert: Annotated[int | None, EXPERTS] = optional(
        768, "Hidden size of an expert; default: d_ff.", ge=1, le=MAX_D_FF
    )
    expert_bias: Annotated[bool | None, EXPERTS] = optional(
        False, "Whether the projections of routed experts have biases; default: the value of bias."
    )
    d_latent: Annotated[int | None, EXPERTS] = optional(
        1024,
        "Width of the vectors that routed experts read and write: one projection to it, before tokens are dispatched,"
        " and one back to d_model, of the sum of their outputs (LatentMoE; Nemotron 3 Super); default: d_model, without"
        " these projections.",
        ge=1,
        le=MAX_DIM,
    )
    n_shared_experts: Annotated[int, EXPERTS] = Field(
        0, ge=0, le=MAX_N_EXPERTS, description="Shared experts, which every token uses; stored as one wide expert."
    )
    d_shared_expert: Annotated[int | None, EXPERTS, SHARED_EXPERTS] = optional(
        5632, "Hidden size of a shared expert; default: that of a routed expert.", ge=1, le=MAX_D_FF
    )
    shared_expert_gate: Annotated[bool, EXPERTS, SHARED_EXPERTS] = Field(
        False,
        description="Multiply the output of the shared experts by a sigmoid gate, a number per token (Qwen1.5-MoE).",
    )
    shared_scale: Annotated[Factor, EXPERTS, SHARED_EXPERTS] = Field(
        1.0, description="Multiplier of the output of the shared experts (Command A+)."
    )
    shortcut: Annotated[
        bool,
        EXPERTS,
        SHARED_EXPERTS,
        PRE_NORM,
        ONE_STREAM,
        WITHOUT_ALTUP,
        is_false("block.depth_scaled_residual"),
    ] = Field(
        False,
        description="Add the output of the routed experts after the next layer, instead of this one, so that both can"
        " run at once (shortcut-connected experts; LongCat-Flash).",
    )
    out_norm: Annotated[bool, EXPERTS, MIXES, PRE_NORM, is_false("feed_forward.shortcut")] = Field(
        False, description="Normalize the sum of all experts, although no norm follows the mixer (A.X K1)."
    )
    out_bias: Annotated[bool, EXPERTS] = Field(
        False, description="Add a bias to the sum of the routed experts (JetMoE)."
    )
    branch_norms: Annotated[bool, EXPERTS, SHARED_EXPERTS, SANDWICH] = Field(
        False,
        description="Norms of their own (Gemma 4): of the inputs of the router, which is then divided by √d_model, and"
        " of the routed experts, and of the outputs of the routed and of the shared experts before they are added.",
    )
    expert_clamp: Annotated[float | None, EXPERTS, is_true("feed_forward.gated"), WITHOUT_CLAMP] = optional(
        10.0,
        "gated: clamp gate and up projections of routed experts to this bound, without the 1 that clamp adds (Hy4).",
        gt=0,
        le=MAX_FACTOR,
    )
    n_dense_layers: Annotated[int, EXPERTS] = Field(
        0, ge=0, le=MAX_N_LAYERS, description="Leading layers with a dense network of width d_ff."
    )
    router: Annotated[Router, EXPERTS] = Field(
        "topk_softmax",
        description="Expert scores. topk_softmax: softmax over the selected logits; softmax: over all logits, then"
        " select; sigmoid: of each logit; sparsemixer: select one after another, and weight each by a softmax over the"
        " similar logits among those not selected before (Phi-3.5-MoE, as in evaluation).",
    )
    router_jitter: Annotated[float, EXPERTS, one_of("feed_forward.router", "sparsemixer")] = Field(
        0.01,
        ge=0,
        le=MAX_FACTOR,
        description="sparsemixer: logits are similar if they differ by at most twice this share of the higher one, or"
        " of the absolute value of the lower one if that is larger.",
    )
    router_bias: Annotated[bool, EXPERTS] = Field(False, description="Whether the router has a bias.")
    score_correction: Annotated[bool, EXPERTS, one_of("feed_forward.router", "sigmoid", "softmax")] = Field(
        False,
        description="sigmoid, softmax: a bias per expert that affects only the selection; not trained by gradients.",
    )
    correct_logits: Annotated[
        bool, EXPERTS, one_of("feed_forward.router", "sigmoid"), is_true("feed_forward.score_correction")
    ] = Field(
        False, description="Select by the logits plus this bias, instead of the sigmoid scores plus it (Kolibri-1)."
    )
    renormalize: Annotated[bool, EXPERTS, one_of("feed_forward.router", "softmax", "sigmoid")] = Field(
        False, description="Normalize the weights of the selected experts to sum to 1."
    )
    router_weight_on_input: Annotated[bool, EXPERTS] = Field(
        False, description="Multiply the input of an expert, rather than its output, by its routing weight (Llama 4)."
    )
    routed_scale: Annotated[Factor, EXPERTS] = Field(
        1.0, description="Multiplier of the weights of the routed experts."
    )
    expert_scale: Annotated[bool, EXPERTS] = Field(
        False, description="Multiply the weights of each routed expert by a learned factor (Gemma 4)."
    )
    n_groups: Annotated[ExpertCount, EXPERTS] = Field(
        1, description="Number of expert groups; the router first selects top_k_groups of them."
    )
    top_k_groups: Annotated[ExpertCount, GROUPS] = Field(1, description="Number of groups that the router selects.")
    zero_other_groups: Annotated[bool, EXPERTS, GROUPS, is_true("feed_forward.score_correction")] = Field(
        False,
        description="The corrected scores of experts outside these groups are 0, so that they are selected before those"
        " with negative scores, instead of not at all (A.X K2).",
    )

    @property
    def has_expert_bias(self) -> bool:
        """Whether the projections of routed experts have biases."""
        return self.bias if self.expert_bias is None else self.expert_bias

    @property
    def n_scores(self) -> int:
        """Scores that the router computes for each token; 0 without experts."""
        return 0 if self.n_experts is None else self.n_experts + self.n_zero_experts
