"""The block ``loop``: layers that run several times for each token, with the same weights."""

# no deferred annotations, as in config.blocks

from typing import Annotated

from pydantic import Field

from tinylm_cli.config.base import MAX_N_LAYERS, Block, is_set, optional
from tinylm_cli.config.requirements import LOOPED, WITHOUT_LOW

MAX_N_LOOPS = 64

LoopCount = Annotated[int, Field(ge=1, le=MAX_N_LOOPS)]


class Loop(Block):
    """Layers that run several times for each token: looped, or recurrent-depth, transformers.

    Layers with parameters of their own, the prelude and the coda, may precede and follow the looped layers, the core.

    References:
        Dehghani et al. 2018 (Universal Transformer), https://arxiv.org/abs/1807.03819;
        Geiping et al. 2025 (prelude, core, coda and input injection), https://arxiv.org/abs/2502.05171;
        Wang et al. 2025 (hierarchical reasoning models), https://arxiv.org/abs/2506.21734
    """

    n_loops: int | None = optional(
        2,
        "Passes through the looped layers, which use the same weights in each pass, and have keys and values of their"
        " own in each. The final norm, if there is one, also normalizes what layers pass on between passes; default: no"
        " loop.",
        ge=1,
        le=MAX_N_LOOPS,
    )
    n_prelude_layers: Annotated[int, LOOPED] = Field(
        0, ge=0, le=MAX_N_LAYERS, description="Layers before the loop, which run once."
    )
    n_coda_layers: Annotated[int, LOOPED] = Field(
        0, ge=0, le=MAX_N_LAYERS, description="Layers after the loop, which run once."
    )
    inject: Annotated[bool, LOOPED, WITHOUT_LOW] = Field(
        False,
        description="Add the output of the prelude, or without a prelude the embeddings, to the input of every pass"
        " (input injection).",
    )
    n_low_layers: Annotated[int | None, LOOPED] = optional(
        16,
        "Hierarchical loop (HRM): the first looped layers are the low-level module, the others the high-level module."
        " Each has a hidden state of its own and reads the sum of both. The high-level state begins as the embeddings,"
        " the low-level state as a vector that is stored but not trained; default: one module.",
        ge=1,
        le=MAX_N_LAYERS,
    )
    n_low_loops: Annotated[LoopCount, is_set("loop.n_low_layers", "16")] = Field(
        1, description="Hierarchical loop: passes through the low-level module before each of the high-level module."
    )
