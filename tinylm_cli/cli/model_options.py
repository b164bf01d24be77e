"""The options of commands that build a model, and :class:`ModelRequest`, which imports torch and builds it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinylm_cli.cli.options import DEFAULT_CONFIG, MODEL_PANEL, complete_config, parse_path
from tinylm_cli.cli.progress import working
from tinylm_cli.errors import CapacityError, UsageError
from tinylm_cli.interrupts import interrupts_deferred
from tinylm_cli.quantities import MAX_SEED

if TYPE_CHECKING:
    import torch

    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.model import TinyTransformerLM


class DType(StrEnum):
    """Storage types of weights, by their names in torch."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    float64 = "float64"


def _seed(value: int) -> int:
    if value > MAX_SEED:
        raise UsageError(f"--seed {value} is too large", help=f"the largest is {MAX_SEED:,}")
    return value


# named, because typer 0.27 takes a metavar that spells the option's name for the option itself
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 or mps.", rich_help_panel=MODEL_PANEL)
]
DTypeOption = Annotated[
    DType | None,
    typer.Option(
        "--dtype",
        help="Storage type of the weights; by default the type in --weights, else float32.",
        show_default=False,
        rich_help_panel=MODEL_PANEL,
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, callback=_seed,
        help="Seed of new weights and of random tokens.",
        rich_help_panel=MODEL_PANEL,
    ),
]  # fmt: skip
MetaOption = Annotated[
    bool,
    typer.Option(
        "--meta",
        help="Build shapes only, without allocating weights.",
        rich_help_panel=MODEL_PANEL,
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", parser=parse_path,
        help="Load weights and their config: a folder from build --save, or from Hugging Face.",
        show_default=False, rich_help_panel=MODEL_PANEL,
    ),
]  # fmt: skip


ModelConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", metavar="NAME|PATH|-",
        help=(
            "A preset or published model, a YAML file, a model folder, or - for standard input;"
            f" by default the config in --weights, else {DEFAULT_CONFIG}."
        ),
        autocompletion=complete_config, show_default=False, rich_help_panel=MODEL_PANEL,
    ),
]  # fmt: skip


@dataclass(frozen=True)
class ModelRequest:
    """The model that a command line requests.

    Attributes:
        loaded: Its config.
        device: Its device, as typed.
        dtype: Storage type; None for the type in the weights, else float32.
        seed: Seed of new weights.
        meta: Whether to build shapes only; None for a command without ``--meta``.
        weights: The folder to load weights from.
    """

    loaded: LoadedConfig
    device: str = "cpu"
    dtype: DType | None = None
    seed: int = 0
    meta: bool | None = None
    weights: Path | None = None

    def __post_init__(self) -> None:
        """Refuse options that cannot be combined."""
        if self.meta and self.weights is not None:
            raise UsageError("--meta loads no weights, so --weights has no effect", help="remove one of them")

    @property
    def dtype_name(self) -> str:
        """Storage type, assumed float32 until weights are read."""
        return (self.dtype or DType.float32).value

    def words(self) -> str:
        """Return the given options with which another command builds the same model."""
        seed = self.seed if self.weights is None else 0  # loaded weights need none
        given = [
            ("--device", self.device, "cpu"),
            ("--dtype", self.dtype, None),
            ("--seed", seed, 0),
        ]
        return shlex.join([word for name, value, usual in given if value != usual for word in (name, str(value))])

    def torch_device(self) -> torch.device:
        """Return the device, after allocating a tensor on it.

        Raises:
            UsageError: If the name is not a device.
            UnableError: If this machine has no such device.
        """
        import_torch()
        import torch

        if self.meta:
            return torch.device("meta")
        from tinylm_cli.model.input_checks import usable_device

        device = usable_device(self.device)
        if device.type == "meta":
            raise UsageError("meta holds no values", help="tinylm build --meta shows shapes without them")
        return device

    def torch_dtype(self) -> torch.dtype:
        """Return the storage type of new weights."""
        import torch

        dtype = getattr(torch, self.dtype_name)
        assert isinstance(dtype, torch.dtype)
        return dtype

    def require_room(self, working_bytes: int = 0, work: str = "") -> None:
        """Check that the model and the work with it fit in memory, before torch is imported.

        Args:
            working_bytes: Bytes that the work needs in addition to the model.
            work: The work, as in "a forward pass of 2 × 8 tokens".

        Raises:
            CapacityError: If they do not fit.
        """
        from tinylm_cli.machine import require_memory

        if self.meta:
            return
        device, name = self.device.partition(":")[0], self.loaded.name
        with self._remedies():
            if work:
                require_memory(working_bytes, work, device=device)
            require_memory(self._model_bytes(), f"building {name}", device=device)
            if work:
                require_memory(self._model_bytes() + working_bytes, f"building {name} and {work}", device=device)

    def _model_bytes(self) -> int:
        """Return the bytes of the model: by its config, or by the size of the files it is loaded from."""
        from tinylm_cli.analysis.params import weights_bytes
        from tinylm_cli.interop.load import is_hugging_face_folder

        if self.weights is None:
            return weights_bytes(self.loaded.config, self.dtype_name)
        if self.dtype is not None and is_hugging_face_folder(self.weights):  # converted while loading
            return weights_bytes(self.loaded.config, self.dtype_name)
        try:
            whole = self.weights / "model.safetensors"
            files = [whole] if whole.is_file() else self.weights.glob("model-*.safetensors")
            return sum(file.stat().st_size for file in files)
        except OSError:  # loading reports it
            return 0

    @contextmanager
    def _remedies(self) -> Iterator[None]:
        """Add ``--meta`` to the help of a capacity error, where the command has it."""
        try:
            yield
        except CapacityError as error:
            if self.meta is None:
                raise
            remedy = f"{error.help}, or add --meta to build shapes only"
            raise CapacityError(error.message, help=remedy) from error

    def build(self) -> TinyTransformerLM:
        """Build and initialize the model, or load it.

        Raises:
            UsageError: If the device name is not a device.
            UnableError: If this machine has no such device.
            CapacityError: If the model does not fit.
            WeightsError: If the folder does not match this model.
        """
        self.require_room()
        with self._remedies(), working(f"building {self.loaded.name}"):
            device, dtype = self.torch_device(), self.torch_dtype()
            if self.weights is not None:
                wanted = dtype if self.dtype is not None else None
                from tinylm_cli.interop.weights.load_model import open_model

                return open_model(self.weights, config=self.loaded.config, device=device, dtype=wanted)
            from tinylm_cli.model import TinyTransformerLM

            return TinyTransformerLM.from_config(self.loaded.config, seed=self.seed, device=device, dtype=dtype)


def import_torch() -> None:
    """Import torch and the model in one step; an interrupt waits until it is done."""
    with interrupts_deferred():
        import torch  # noqa: F401

        import tinylm_cli.model  # noqa: F401
