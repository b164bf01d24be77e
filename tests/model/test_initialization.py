from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import CapacityError
from tinylm_cli.model import TinyTransformerLM, initialization
from tinylm_cli.model.initialization import CHUNK, STATE_WORDS, STD, fill_parameter, keyed_generator, materialize

Make = Callable[..., ModelConfig]


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def weights(config: ModelConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return TinyTransformerLM.from_config(config, seed=seed, dtype=dtype).state_dict()


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_initial_values(make_config: Make) -> None:
    for name, tensor in weights(make_config(d_model=64, d_ff=256, vocab_size=500)).items():
        if name.endswith("bias"):
            assert not tensor.any()
        elif "ln_" in name:
            assert (tensor == 1).all()
        else:
            assert tensor.std() == pytest.approx(STD, rel=0.05)
            assert abs(tensor.mean()) < 4 * STD / tensor.numel() ** 0.5


def test_learned_positions_are_drawn_too(make_config: Make) -> None:
    table = weights(make_config(d_model=64, max_len=200, position={"kind": "learned"}))[
        "embedding.positional_encoding.weight"
    ]
    assert table.std() == pytest.approx(STD, rel=0.05)


def test_a_seed_decides_every_weight(make_config: Make) -> None:
    config = make_config()
    assert equal(weights(config, seed=5), weights(config, seed=5))
    first, second = weights(config, seed=5), weights(config, seed=6)
    assert not any(torch.equal(first[name], second[name]) for name in first if first[name].dim() > 1)


def test_global_generator_kept(make_config: Make) -> None:
    state = torch.random.get_rng_state()
    weights(make_config())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_threads_change_nothing(make_config: Make, threads: Callable[[int], None]) -> None:
    config = make_config(vocab_size=4000)
    threads(1)
    alone = weights(config)
    threads(4)
    assert equal(weights(config), alone)


def test_order_changes_nothing(make_config: Make) -> None:
    config = make_config()
    whole = weights(config)
    for name, tensor in reversed(whole.items()):
        if name != "lm_head.weight":  # tied, so drawn by the embedding's name
            again = torch.empty_like(tensor)
            constant = None if tensor.dim() > 1 else 0.0 if name.endswith("bias") else 1.0
            fill_parameter(again, name=name, seed=0, initial=constant)
            assert torch.equal(again, tensor)


def test_layers_and_tying_change_no_tensor(make_config: Make) -> None:
    tied, deeper = weights(make_config()), weights(make_config(n_layers=5, tie_weights=False))
    assert all(torch.equal(tied[name], deeper[name]) for name in tied if name != "lm_head.weight")
    assert not torch.equal(deeper["lm_head.weight"], tied["lm_head.weight"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(make_config: Make, dtype: torch.dtype) -> None:
    config = make_config(vocab_size=CHUNK // 16 + 3, position={"kind": "learned"})
    wide = {name: tensor.to(dtype) for name, tensor in weights(config).items()}
    assert equal(weights(config, dtype=dtype), wide)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(2, 200), chunk=st.integers(1, 8).map(lambda n: 16 * n))
def test_chunks_are_consecutive_draws(size: int, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initialization, "CHUNK", chunk)
        direct, cast = torch.empty(size, 1), torch.empty(size, 1, dtype=torch.float64)
        fill_parameter(direct, name="weight", seed=3)
        fill_parameter(cast, name="weight", seed=3)
    assert torch.equal(direct.double(), cast)


def test_the_first_values_are_pinned() -> None:
    values = torch.empty(16, 1)
    fill_parameter(values, name="embedding.token_embedding.embedding.weight", seed=0)
    torch.testing.assert_close(values[:3, 0], torch.tensor(PINNED), atol=1e-7, rtol=0)


PINNED = [0.0038856955, -0.0082815941, -0.0164596103]


STARVED = """
import resource, torch
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.errors import CapacityError
from tinylm_cli.model import TinyTransformerLM

torch.set_num_threads(1)
TinyTransformerLM(256, 128, 4, 4, 512)
for limit, field in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
    size = int(open("/proc/self/statm").read().split()[field]) * resource.getpagesize()
    resource.setrlimit(limit, (size + (512 << 20), resource.RLIM_INFINITY))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        TinyTransformerLM(100_000, 1024, 8, 12, 4096)
    except CapacityError as error:
        print(error.message)
        print(error.help)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not enforce these limits")
def test_resource_limits_are_respected() -> None:
    """The limit of address space or data is half a GiB above the current size of the process."""
    done = subprocess.run([sys.executable, "-c", STARVED], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    for limit, (message, help_, grown_kib) in zip(("RLIMIT_AS", "RLIMIT_DATA"), (lines[:3], lines[3:]), strict=True):
        assert message.startswith("holding 253,")
        assert limit in message
        assert "MiB is available" in message
        assert help_ == "choose a smaller model or dtype, or free some memory"
        assert int(grown_kib) < 20_000


def test_largest_config(make_config: Make) -> None:
    config = make_config(vocab_size=100_000_000, d_model=1_048_576, d_ff=16_777_216)
    with pytest.raises(CapacityError, match="holding 223,604,936,540,160 parameters"):
        TinyTransformerLM.from_config(config)
    assert TinyTransformerLM.from_config(config, device="meta").lm_head.weight.is_meta


def test_sinusoids_count_as_memory(make_config: Make) -> None:
    with pytest.raises(CapacityError):
        TinyTransformerLM.from_config(make_config(max_len=1_000_000_000, d_model=65_536))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_meta_dtype(make_config: Make, dtype: torch.dtype) -> None:
    model = TinyTransformerLM.from_config(make_config(), device="meta", dtype=dtype)
    tensors = [*model.parameters(), *model.buffers()]
    assert all(tensor.is_meta and tensor.dtype == dtype for tensor in tensors)


def test_allocator_refuses(make_config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinylm_cli.model.initialization.require_memory", lambda *_, **__: None)
    with pytest.raises(CapacityError, match="cpu cannot allocate the weights"):
        TinyTransformerLM.from_config(make_config(vocab_size=100_000_000, d_model=1_048_576))


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("could not create a primitive"), True),
        (RuntimeError("could not create a primitive descriptor for a matmul primitive"), False),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("Pinned memory is not supported here"), False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_out_of_memory(error: Exception, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Linear(2, 3, device="meta")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch, "empty", fail)
    with pytest.raises(CapacityError if refused else RuntimeError) as caught:
        materialize(module, device=torch.device("cpu"), dtype=torch.float32)
    assert isinstance(caught.value, CapacityError) == refused


def test_generators_differ() -> None:
    drawn = {
        keyed_generator(f"blocks.{i}.attention.q_proj.weight", 0).get_state().numpy().tobytes() for i in range(3000)
    }
    assert len(drawn) == 3000


def test_generator_state_is_the_hash() -> None:
    digest = hashlib.shake_256(b"7:some.weight").digest(4 * STATE_WORDS)
    words = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, len(digest), 4))
    twister = random.Random()
    twister.setstate((3, (*words, STATE_WORDS), None))
    expected = [twister.getrandbits(32) % 65536 for _ in range(1500)]
    found = torch.empty(1500, dtype=torch.int64).random_(0, 65536, generator=keyed_generator("some.weight", 7))
    assert found.tolist() == expected


def test_every_bit_of_a_seed_counts() -> None:
    drawn = {
        float(torch.rand((), generator=keyed_generator("", seed))) for seed in (0, *(1 << bit for bit in range(64)))
    }
    assert len(drawn) == 65
