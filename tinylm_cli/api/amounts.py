"""Types of numeric arguments, which may be text with a unit as in the commands: ``"8k"``, ``"15B"``, ``"24GiB"``."""

from __future__ import annotations

from typing import Annotated

from tinylm_cli.api.arguments import Amount, Bounds
from tinylm_cli.config.amounts import MAX_COMPUTE
from tinylm_cli.config.base import MAX_BATCH_SIZE, MAX_LEN
from tinylm_cli.quantities import MAX_DESIGNS, MAX_SEED

MAX_GPUS = 1_000_000

Sequences = Annotated[float | str, Amount("count", "1k", MAX_BATCH_SIZE)]
SequenceLength = Annotated[float | str, Amount("length", "8k")]
MaxLength = Annotated[float | str, Amount("length", "8k", MAX_LEN)]
GpuCount = Annotated[float | str, Amount("count", "1k", MAX_GPUS)]
Tokens = Annotated[float | str, Amount("count", "15B")]
Params = Annotated[float | str, Amount("count", "125M")]
VocabSize = Annotated[float | str, Amount("count", "32k", 10**8)]
Bytes = Annotated[float | str, Amount("size", "24GiB")]
Flops = Annotated[float | str, Amount("flops", "2.5G")]
TrainingFlops = Annotated[float | str, Amount("flops", "1e21", MAX_COMPUTE)]
Share = Annotated[float | str, Bounds(0.001, 1)]
Deviation = Annotated[float | str, Bounds(0, 1)]
Dollars = Annotated[float | str, Bounds(0, 1_000_000)]
Rate = Annotated[float | str, Bounds(0)]
GroupSize = Annotated[int, Bounds(1)]
Degree = Annotated[int, Bounds(1, MAX_GPUS)]
Designs = Annotated[int, Bounds(1, MAX_DESIGNS)]
Seed = Annotated[int, Bounds(0, MAX_SEED)]
