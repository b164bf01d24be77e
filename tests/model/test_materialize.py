from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import CapacityError
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.materialize import materialize

Make = Callable[..., ModelConfig]

STARVED = """
import resource, torch
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import CapacityError
from tinylm_cli.model import TinyTransformerLM

torch.set_num_threads(1)
size = int(open("/proc/self/statm").read().split()[{field}]) * resource.getpagesize()
resource.setrlimit({limit}, (size + (512 << 20), resource.RLIM_INFINITY))
TinyTransformerLM(256, 128, 4, 4, 512)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    TinyTransformerLM(100_000, 1024, 8, 12, 4096)
except CapacityError as error:
    print(error.message)
    print(error.help)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce these limits")
@pytest.mark.parametrize(("limit", "field"), [("RLIMIT_AS", 0), ("RLIMIT_DATA", 5)])
def test_a_model_over_a_resource_limit_is_refused_before_it_is_allocated(limit: str, field: int) -> None:
    """Half a GiB above what the process has of what is limited: all its addresses, or its data."""
    script = STARVED.format(limit=f"resource.{limit}", field=field)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    message, help_, grown_kib = done.stdout.splitlines()
    assert message.startswith("holding 253,")
    assert limit in message
    assert "MiB is left" in message
    assert help_ == "choose a smaller model or dtype, or free some memory"
    assert int(grown_kib) < 20_000


def test_no_machine_holds_the_largest_config(make_config: Make) -> None:
    config = make_config(vocab_size=100_000_000, d_model=1_048_576, d_ff=16_777_216)
    with pytest.raises(CapacityError, match="holding 223,604,936,540,160 parameters"):
        TinyTransformerLM.from_config(config)
    assert TinyTransformerLM.from_config(config, device="meta").lm_head.weight.is_meta


def test_the_table_of_sinusoids_counts(make_config: Make) -> None:
    with pytest.raises(CapacityError):
        TinyTransformerLM.from_config(make_config(max_len=1_000_000_000, d_model=65_536))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_meta_takes_the_dtype_and_no_memory(make_config: Make, dtype: torch.dtype) -> None:
    model = TinyTransformerLM.from_config(make_config(), device="meta", dtype=dtype)
    tensors = [*model.parameters(), *model.buffers()]
    assert all(tensor.is_meta and tensor.dtype == dtype for tensor in tensors)


def test_a_refusal_by_the_allocator_is_a_capacity_error(make_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinylm_cli.model.materialize.require_memory", lambda *_, **__: None)
    with pytest.raises(CapacityError, match="cpu refused the memory"):
        TinyTransformerLM.from_config(make_config(vocab_size=100_000_000, d_model=1_048_576))


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("Pinned memory is not supported here"), False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_only_an_allocator_that_refuses_is_out_of_memory(
    error: Exception, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = nn.Linear(2, 3, device="meta")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch, "empty", fail)
    with pytest.raises(CapacityError if refused else RuntimeError) as caught:
        materialize(module, device=torch.device("cpu"), dtype=torch.float32)
    assert isinstance(caught.value, CapacityError) == refused
