"""The options of commands that run a model, and how they become one. Imports torch only when a model is wanted."""

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
from tinylm_cli.errors import CapacityError, UnableError, UsageError
from tinylm_cli.interrupts import interrupts_deferred
from tinylm_cli.quantities import MAX_SEED

if TYPE_CHECKING:
    import torch

    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.model import TinyTransformerLM


class DType(StrEnum):
    """Storage types of weights, by torch's names."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"
    float64 = "float64"


def _seed(value: int) -> int:
    if value > MAX_SEED:
        raise UsageError(f"--seed {value} is too large", help=f"seeds go up to {MAX_SEED:,}")
    return value


# named, because typer 0.27 takes a metavar that spells the option's name for the option itself
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 or mps.", rich_help_panel=MODEL_PANEL)
]
DTypeOption = Annotated[
    DType | None,
    typer.Option(
        "--dtype",
        help="Storage type of the weights; float32, or what --weights holds.",
        show_default=False,
        rich_help_panel=MODEL_PANEL,
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, callback=_seed,
        help="The same seed draws the same weights, unless --weights brings them, and the same random tokens.",
        rich_help_panel=MODEL_PANEL,
    ),
]  # fmt: skip
MetaOption = Annotated[
    bool,
    typer.Option(
        "--meta",
        help="Shapes only: no weights are allocated, and a layer costs tens of KB.",
        rich_help_panel=MODEL_PANEL,
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", parser=parse_path,
        help="Load weights, and the config unless one is given: a folder that build --save wrote, or of Hugging Face.",
        show_default=False, rich_help_panel=MODEL_PANEL,
    ),
]  # fmt: skip


ModelConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config", "-c", metavar="NAME|PATH|-",
        help=(
            "A preset or published model, a YAML file, a folder with a config.json, or -;"
            f" {DEFAULT_CONFIG}, unless --weights brings its own."
        ),
        autocompletion=complete_config, show_default=False, rich_help_panel=MODEL_PANEL,
    ),
]  # fmt: skip


@dataclass(frozen=True)
class ModelRequest:
    """A model as the command line describes it.

    Attributes:
        loaded: Its config.
        device: Where it goes, as typed.
        dtype: Storage type; None for float32, or what the weights hold.
        seed: What new weights are drawn from.
        meta: Whether it is to have shapes only; None for a command that has no such option.
        weights: The folder to load from.
    """

    loaded: LoadedConfig
    device: str = "cpu"
    dtype: DType | None = None
    seed: int = 0
    meta: bool | None = None
    weights: Path | None = None

    def __post_init__(self) -> None:
        """Refuse options that exclude each other."""
        if self.meta and self.weights is not None:
            raise UsageError("--meta loads nothing, so --weights would have no effect", help="leave one of them out")

    @property
    def dtype_name(self) -> str:
        """Storage type before weights are read."""
        return (self.dtype or DType.float32).value

    def words(self) -> str:
        """Return the options, as far as they were given, that make another command build the same model."""
        seed = self.seed if self.weights is None else 0  # loaded weights need none
        given = [
            ("--device", self.device, "cpu"),
            ("--dtype", self.dtype, None),
            ("--seed", seed, 0),
        ]
        return shlex.join([word for name, value, usual in given if value != usual for word in (name, str(value))])

    def torch_device(self) -> torch.device:
        """Return the device, once a tensor has been placed on it.

        Raises:
            UsageError: If it is not a device.
            UnableError: If it is not in this machine.
        """
        import_torch()
        import torch

        return torch.device("meta") if self.meta else _device(self.device)

    def torch_dtype(self) -> torch.dtype:
        """Return the storage type of new weights."""
        import torch

        dtype = getattr(torch, self.dtype_name)
        assert isinstance(dtype, torch.dtype)
        return dtype

    def require_room(self, working_bytes: int = 0, work: str = "") -> None:
        """Refuse a model, and work with it, that do not fit, before torch is imported or anything built.

        Args:
            working_bytes: What the work takes beside the model.
            work: The work, as in "a forward pass of 2 × 8 tokens".

        Raises:
            CapacityError: If they do not.
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
        """Return what the model takes: by its config, or by the size of the file it is loaded from."""
        from tinylm_cli.analysis.module_memory import build_bytes

        if self.weights is None:
            return build_bytes(self.loaded.config, self.dtype_name)
        if self.dtype is not None and self._is_hugging_face():  # whose weights are converted
            return build_bytes(self.loaded.config, self.dtype_name)
        try:
            whole = self.weights / "model.safetensors"
            files = [whole] if whole.is_file() else self.weights.glob("model-*.safetensors")
            return sum(file.stat().st_size for file in files)
        except OSError:  # which loading tells in its own words
            return 0

    def _is_hugging_face(self) -> bool:
        """Return whether the weights are a Hugging Face folder."""
        from tinylm_cli.interop.config_json import CONFIG_FILE
        from tinylm_cli.interop.load import saved_config

        return self.weights is not None and Path(saved_config(self.weights) or "").name == CONFIG_FILE

    @contextmanager
    def _remedies(self) -> Iterator[None]:
        """Add to a refusal what can be done about it on this command line."""
        try:
            yield
        except CapacityError as error:
            if self.meta is None:
                raise
            remedy = f"{error.help}, or add --meta to go through it without weights"
            raise CapacityError(error.message, help=remedy) from error

    def build(self) -> TinyTransformerLM:
        """Instantiate the model, or load it.

        Raises:
            UsageError: If the device is not one.
            UnableError: If the device is not in this machine.
            CapacityError: If the model does not fit.
            WeightsError: If the folder does not hold this model.
        """
        self.require_room()
        with self._remedies(), working(f"building {self.loaded.name}"):
            device, dtype = self.torch_device(), self.torch_dtype()
            if self.weights is not None:
                wanted = dtype if self.dtype is not None else None
                if self._is_hugging_face():
                    from tinylm_cli.interop.weights.load_model import open_model

                    return open_model(self.weights, config=self.loaded.config, device=device, dtype=wanted)
                from tinylm_cli.model.weights import load_model

                return load_model(self.loaded.config, self.weights, device=device, dtype=wanted)
            from tinylm_cli.model import TinyTransformerLM

            return TinyTransformerLM.from_config(self.loaded.config, seed=self.seed, device=device, dtype=dtype)


def import_torch() -> None:
    """Import torch, and the modules that need it, as one step that an interrupt does not cut in two."""
    with interrupts_deferred():
        import torch  # noqa: F401

        import tinylm_cli.model  # noqa: F401


def _device(name: str) -> torch.device:
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"{name} is not a device", help="write cpu, cuda, cuda:1 or mps") from error
    if device.type == "meta":
        raise UsageError("meta holds no values", help="tinylm build --meta shows shapes without them")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        raise UnableError(f"this machine has no usable device {name}", help="leave --device out") from error
    return device
