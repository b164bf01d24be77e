"""The base of every block, the bounds and types that fields share, and requirements between fields."""

# no deferred annotations: pydantic would evaluate every one, a tenth of the start-up time

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from tinylm_cli.config.diagnostic_codes import either

MAX_DIM = 1_048_576
MAX_N_CODEBOOKS = 256
MAX_N_HEADS = 65_536
MAX_LEN = 1_000_000_000
MAX_FACTOR = 1e6
MAX_N_LAYERS = 100_000
MAX_N_MTP_LAYERS = 64
MAX_STREAMS = 64
MAX_VOCAB_SIZE = 100_000_000
MAX_WINDOW_PATTERN = 512
MAX_D_FF = 16_777_216
MAX_N_EXPERTS = 65_536
MAX_BATCH_SIZE = 1_000_000_000
MAX_ROPE_BASE = 1e12
MAX_KERNEL_SIZE = 1024

KIND_NAME = r"[a-z][a-z0-9_-]{0,31}"
"""Pattern of the names of kinds of layers."""


class Block(BaseModel):
    """Base of every part of a config: frozen, with strict types and without unknown keys.

    A class builds its validator on first use; the validator of the config also validates the blocks inside it.
    """

    # pydantic looks for fields that begin with "model_"; none does, and the search costs start-up time
    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, defer_build=True, protected_namespaces=()
    )

    requires: ClassVar[tuple["Requirement", ...]] = ()
    """The requirements of all its fields."""


def optional(example: Any, description: str, **bounds: Any) -> Any:
    """Declare a field that may be absent; its value then follows from other fields, or is none."""
    return Field(None, examples=[example], description=description, **bounds)


class Requirement(NamedTuple):
    """A condition on another field, without which a field has no effect; an annotation of the field.

    Attributes:
        field: Dotted name of the other field.
        met: Whether a value of the other field satisfies the condition.
        condition: Text of the condition, to follow "unless".
        example: A value of the other field that satisfies it.
    """

    field: str
    met: Callable[[Any], bool]
    condition: str
    example: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Leave the validation of the field as it is."""
        return handler(source)


def one_of(field: str, *values: str) -> Requirement:
    """Return the requirement that ``field`` has one of ``values``."""
    return Requirement(field, values.__contains__, f"{field} is {either(values)}", values[0])


WITH_SHARED_BLOCK = ("shared_block_mamba", "shared_block_mamba2")
"""Values of ``block.mixer`` with a transformer block whose weights several layers share."""

WITH_ATTENTION = ("attention", "attention_mamba2", *WITH_SHARED_BLOCK)
"""Values of ``block.mixer`` with attention."""

WITH_MAMBA = ("mamba", "shared_block_mamba")
"""Values of ``block.mixer`` with Mamba."""

WITH_MAMBA2 = ("mamba2", "attention_mamba2", "shared_block_mamba2")
"""Values of ``block.mixer`` with Mamba-2."""


def is_set(field: str, example: str) -> Requirement:
    """Return the requirement that ``field`` is set."""
    return Requirement(field, lambda value: value is not None, f"{field} is set", example)


def is_true(field: str) -> Requirement:
    """Return the requirement that ``field`` is true."""
    return Requirement(field, bool, f"{field} is true", "true")


def is_false(field: str) -> Requirement:
    """Return the requirement that ``field`` is false."""
    return Requirement(field, lambda value: not value, f"{field} is false", "false")


Dim = Annotated[int, Field(ge=1, le=MAX_DIM)]
Length = Annotated[int, Field(ge=1, le=MAX_LEN)]
HeadCount = Annotated[int, Field(ge=1, le=MAX_N_HEADS)]
ExpertCount = Annotated[int, Field(ge=1, le=MAX_N_EXPERTS)]
HiddenSize = Annotated[int, Field(ge=1, le=MAX_D_FF)]
Factor = Annotated[float, Field(gt=0, le=MAX_FACTOR)]
RopeBase = Annotated[float, Field(gt=1, le=MAX_ROPE_BASE)]
Factors = Annotated[tuple[Annotated[float, Field(gt=0, le=1e9)], ...], Field(strict=False, max_length=MAX_DIM)]
