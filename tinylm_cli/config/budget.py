"""What a config may say that its model may cost."""

# no deferred annotations, as in config.blocks

from typing import Literal

from pydantic import Field

from tinylm_cli.config.amounts import FlopCount, ParameterCount, Share, Size
from tinylm_cli.config.base import MAX_BATCH_SIZE, MAX_LEN, Block

DType = Literal["float32", "bfloat16", "float16", "float64"]


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
