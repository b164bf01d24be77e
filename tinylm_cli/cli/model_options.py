"""The options of commands that build a model, and :class:`ModelRequest`, which imports torch and builds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tinylm_cli.cli.completion import complete_device
from tinylm_cli.cli.next_steps import config_arguments, model_arguments
from tinylm_cli.cli.options import (
    CONFIG_HELP,
    DEFAULT_CONFIG,
    MODEL_PANEL,
    IgnoreOption,
    SetOption,
    config_option,
    option,
    parse_path,
)
from tinylm_cli.cli.progress import working
from tinylm_cli.cli.requested_config import requested_config
from tinylm_cli.cli.streams import print_note
from tinylm_cli.config.choices import DType
from tinylm_cli.errors import CapacityError, UnableError, UsageError
from tinylm_cli.interrupts import interrupts_deferred
from tinylm_cli.quantities import MAX_SEED, counted
from tinylm_cli.reports.record import Record
from tinylm_cli.shell_quoting import shell_join
from tinylm_cli.wording import Text

if TYPE_CHECKING:
    import torch

    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.model import TinyTransformerLM

DeviceOption = Annotated[
    # named explicitly, because typer 0.27 confuses a metavar DEVICE with the option itself
    str, option("cpu, cuda, cuda:1 or mps.", "--device", panel=MODEL_PANEL, metavar="DEVICE", complete=complete_device)
]
DTypeOption = Annotated[
    DType | None,
    option(
        "Data type of the weights.  [default: the type in --weights, else float32]",
        "--dtype",
        panel=MODEL_PANEL,
    ),
]
SeedOption = Annotated[
    int, option("Seed for random weights and random tokens.", panel=MODEL_PANEL, metavar="N", min=0, max=MAX_SEED)
]
MetaOption = Annotated[
    bool, option("Build on the meta device: shapes only, no weights allocated.", "--meta", panel=MODEL_PANEL)
]
WeightsOption = Annotated[
    Path | None,
    option(
        "Load weights and their config from a folder that build --save wrote, or a Hugging Face folder.",
        panel=MODEL_PANEL, metavar="DIR", parser=parse_path,
    ),
]  # fmt: skip
ModelConfigOption = Annotated[
    str | None,
    config_option(f"{CONFIG_HELP}.  [default: the config in --weights, else {DEFAULT_CONFIG}]"),
]


class ModelOptions(Record):
    """The options that name a model."""

    config: ModelConfigOption = None
    set_: SetOption = None
    ignore: IgnoreOption = None
    weights: WeightsOption = None
    dtype: DTypeOption = None
    seed: SeedOption = 0


class ModelRequest(Record):
    """The model that a command line requests.

    Attributes:
        options: The options that name it.
        loaded: Its config.
        device: Its device, as typed.
        meta: Whether to build shapes only; None for a command without ``--meta``.
    """

    options: ModelOptions
    loaded: LoadedConfig
    device: str = "cpu"
    meta: bool | None = None

    @classmethod
    def of(cls, options: ModelOptions, device: str = "cpu", meta: bool | None = None) -> ModelRequest:
        """Load the config; raises as :func:`requested_config`, and UsageError for options that cannot be combined."""
        loaded = requested_config(options.config, options.set_ or (), options.weights, options.ignore or ())
        request = cls(options, loaded, device, meta)
        if meta and options.weights is not None:
            raise UsageError("--meta loads no weights, so --weights has no effect", help="remove one of them")
        return request

    @property
    def weights(self) -> Path | None:
        """The folder to load weights from."""
        return self.options.weights

    @property
    def dtype(self) -> str:
        """Data type, assumed float32 until weights are read."""
        return self.options.dtype or "float32"

    def build_arguments(self) -> tuple[str, str]:
        """Return the arguments that build the same model in another command; the first is empty for stdin."""
        options = self.options
        seed = options.seed if self.weights is None else 0  # loaded weights need none
        values = (("--device", self.device, "cpu"), ("--dtype", options.dtype, None), ("--seed", seed, 0))
        changed = [(name, str(value)) for name, value, default in values if value != default]
        build = shell_join([argument for option in changed for argument in option])
        return model_arguments(options.config, options.set_, self.weights, options.ignore), build

    def config_arguments(self) -> str:
        """Return the arguments that name the same config in a command that builds no model."""
        return config_arguments(self.options.config, self.options.set_, self.weights, self.options.ignore)

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
        from tinylm_cli.model.input_checks import DEVICE_EXAMPLE, DEVICES, usable_device

        try:
            device = usable_device(self.device)
        except UsageError as error:
            message = f"--device {self.device}: expected {DEVICES}"
            raise UsageError(message, help=f"for example --device {DEVICE_EXAMPLE}") from error
        if device.type == "meta":
            raise UsageError("the meta device has no values", help="tinylm build --meta shows shapes without values")
        return device

    def torch_dtype(self) -> torch.dtype:
        """Return the storage type of new weights."""
        import torch

        dtype = getattr(torch, self.dtype)
        assert isinstance(dtype, torch.dtype)
        return dtype

    def require_memory_for(self, working_bytes: int = 0, work: str = "") -> None:
        """Check that the model and the work with it fit in memory, before torch is imported.

        Args:
            working_bytes: Bytes that the work needs in addition to the model.
            work: The work, as in "a forward pass of 2 × 8 tokens".

        Raises:
            CapacityError: If they do not fit.
        """
        from tinylm_cli.analysis.cpu_memory import module_bytes
        from tinylm_cli.machine import require_memory

        device, name = self.device.partition(":")[0], self.loaded.name
        require_memory(module_bytes(self.loaded.config), f"instantiating the modules of {name}")
        if self.meta:
            return
        with self._remedies():
            if work:
                require_memory(working_bytes, work, device=device)
            require_memory(self._model_bytes(), f"building {name}", device=device)
            if work:
                require_memory(self._model_bytes() + working_bytes, f"building {name} and {work}", device=device)

    def _model_bytes(self) -> int:
        """Return the size of the model: from its config, or from the size of the weights files."""
        from tinylm_cli.analysis.params import weights_bytes
        from tinylm_cli.interop.load import is_hugging_face_folder

        # a Hugging Face folder in another dtype is converted while loading
        if self.weights is None or (self.options.dtype is not None and is_hugging_face_folder(self.weights)):
            return weights_bytes(self.loaded.config, self.dtype)
        try:
            single = self.weights / "model.safetensors"
            files = [single] if single.is_file() else self.weights.glob("model-*.safetensors")
            return sum(file.stat().st_size for file in files)
        except OSError:  # loading reports it
            return 0

    @contextmanager
    def _remedies(self) -> Iterator[None]:
        """Add ``--meta`` to the help of a capacity error, if the command has this option."""
        try:
            yield
        except CapacityError as error:
            if self.meta is not None:
                error.help = Text(error.help, ", or add --meta to build shapes only")
            raise

    def build(self) -> TinyTransformerLM:
        """Build and initialize the model, or load it.

        Raises:
            UsageError: If the device name is not a device.
            UnableError: If this machine has no such device.
            CapacityError: If the model does not fit.
            WeightsError: If the folder does not match this model.
        """
        self.require_memory_for()
        config = self.loaded.config
        with self._remedies(), working(f"building {self.loaded.name}"):
            device, dtype = self.torch_device(), self.torch_dtype()
            if self.weights is not None:
                from tinylm_cli.interop.weights.load_model import open_model

                stored = dtype if self.options.dtype is not None else None
                model = open_model(self.weights, config=config, device=device, dtype=stored)
                _note_non_finite(model, self.weights)
                return model
            from tinylm_cli.model import TinyTransformerLM

            return TinyTransformerLM.from_config(config, seed=self.options.seed, device=device, dtype=dtype)


def _note_non_finite(model: TinyTransformerLM, weights: Path) -> None:
    """Print a note if loaded weights contain NaN or infinity."""
    parameters = dict(model.named_parameters())
    names = [name for name, values in parameters.items() if not values.is_meta and not values.isfinite().all()]
    if names:
        print_note(
            f"{len(names):,} of {counted(len(parameters), 'parameter tensor')} in {weights} contain NaN or infinity: "
            f"{names[0]}{', …' if len(names) > 1 else ''}."
        )


def import_torch() -> None:
    """Import torch and the model; defer interrupts until it is done.

    Raises:
        UnableError: If torch is not installed.
    """
    try:
        with interrupts_deferred():
            import torch  # noqa: F401

            import tinylm_cli.model  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tinylm_cli"):
            raise
        raise UnableError(
            f"{error.name.partition('.')[0]} is not installed, but running a model requires it",
            help="pip install 'torch>=2.6,<2.14'" if error.name == "torch" else "install tinylm-cli again",
        ) from error
