"""tinylm: validate, count, cost and build transformer language models from their configs.

::

    import tinylm_cli as tinylm

    model = tinylm.load("small", set={"n_layers": 8})
    model.params().total_params  # 6574592
    model.compare("small")
    model.build(seed=0)  # the PyTorch module

The names below are imported when first used: ``import tinylm_cli`` itself is fast, and only building a model imports
torch.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # type checkers treat this name as true; importing typing takes longer than this module

if TYPE_CHECKING:
    from tinylm_cli.api.checkpoints import verify as verify
    from tinylm_cli.api.model import Model as Model
    from tinylm_cli.api.model import load as load
    from tinylm_cli.api.search import design as design
    from tinylm_cli.api.search import sweep as sweep
    from tinylm_cli.config.schema import ModelConfig as ModelConfig
    from tinylm_cli.errors import AnalysisError as AnalysisError
    from tinylm_cli.errors import CapacityError as CapacityError
    from tinylm_cli.errors import ConfigError as ConfigError
    from tinylm_cli.errors import Diagnostic as Diagnostic
    from tinylm_cli.errors import InputError as InputError
    from tinylm_cli.errors import OutputError as OutputError
    from tinylm_cli.errors import TinylmError as TinylmError
    from tinylm_cli.errors import UnableError as UnableError
    from tinylm_cli.errors import UsageError as UsageError
    from tinylm_cli.errors import WeightsError as WeightsError
    from tinylm_cli.model import TinyTransformerLM as TinyTransformerLM
    from tinylm_cli.render.report import Report as Report

_MODULE_OF = {
    **dict.fromkeys(("load", "Model"), "api.model"),
    **dict.fromkeys(("design", "sweep"), "api.search"),
    "verify": "api.checkpoints",
    **dict.fromkeys(("AnalysisError", "CapacityError", "ConfigError", "Diagnostic", "InputError"), "errors"),
    **dict.fromkeys(("OutputError", "TinylmError", "UnableError", "UsageError", "WeightsError"), "errors"),
    "ModelConfig": "config.schema",
    "TinyTransformerLM": "model",
    "Report": "render.report",
}
"""The module that defines each public name."""

__all__ = sorted(_MODULE_OF)

if not TYPE_CHECKING:  # type checkers read the imports above, and report undefined names

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__} has no attribute {name}")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULE_OF})
