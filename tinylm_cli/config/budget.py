"""Limits on the cost of a model."""

# no deferred annotations, as in config.blocks

from typing import Annotated

from tinylm_cli.config.base import MAX_BATCH_SIZE, MAX_LEN, Block, is_set, optional
from tinylm_cli.config.choices import DType
from tinylm_cli.config.field_types import FlopCount, ParameterCount, Share, Size


class Budget(Block):
    """Limits on the cost of the model, which ``tinylm validate`` checks, and the conditions under which they hold."""

    max_params: ParameterCount | None = optional("130M", "Maximum parameters; tied weights count once.")
    max_active_params: ParameterCount | None = optional("13B", "Maximum parameters that one token uses.")
    max_kv_bytes: Size | None = optional("24GiB", "Maximum KV cache of the batch. GB is 1000³, GiB is 1024³.")
    max_train_bytes_per_gpu: Size | None = optional(
        "80GB", "Maximum memory to train the entire model on one GPU with AdamW."
    )
    max_flops_per_token: FlopCount | None = optional("2.5G", "Maximum FLOPs of a forward pass per token.")
    nominal_tolerance: Annotated[Share | None, is_set("nominal_params", "125M")] = optional(
        0.05, "Allowed relative difference between nominal_params and the exact count."
    )
    batch_size: int | None = optional(8, "Sequences per batch; default: 1.", ge=1, le=MAX_BATCH_SIZE)
    seq_len: int | None = optional(1024, "Tokens per sequence; default: max_len.", ge=1, le=MAX_LEN)
    dtype: DType | None = optional("float32", "Dtype of weights and KV cache; default: bfloat16.")
