"""What every part of a config is made of: its base, and how large sizes may be."""

# no deferred annotations, as in config.blocks

from pydantic import BaseModel, ConfigDict

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
