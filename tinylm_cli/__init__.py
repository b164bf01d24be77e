"""tinylm: validate, count, cost and build transformer language models from their configs.

::

    import tinylm_cli as tinylm

    model = tinylm.load("small", set={"n_layers": 8})
    model.params().total_params  # 6574592
    model.compare("small")
    model.build(seed=0)  # the PyTorch module

The names below are imported when first used: ``import tinylm_cli`` costs nothing, and only a model imports torch.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False  # what type checkers take for true; importing typing costs more than all of this

if TYPE_CHECKING:
    from tinylm_cli.api.model import Model, load
    from tinylm_cli.api.search import design, sweep
    from tinylm_cli.config.schema import ModelConfig
    from tinylm_cli.errors import (
        AnalysisError,
        CapacityError,
        ConfigError,
        Diagnostic,
        InputError,
        OutputError,
        TinylmError,
        UnableError,
        UsageError,
        WeightsError,
    )
    from tinylm_cli.model import TinyTransformerLM
    from tinylm_cli.render.report import Report

_HOMES = {
    "load": "api.model",
    "design": "api.search",
    "sweep": "api.search",
    "Model": "api.model",
    "Report": "render.report",
    "ModelConfig": "config.schema",
    "TinyTransformerLM": "model",
    "TinylmError": "errors",
    "ConfigError": "errors",
    "AnalysisError": "errors",
    "UnableError": "errors",
    "UsageError": "errors",
    "InputError": "errors",
    "OutputError": "errors",
    "CapacityError": "errors",
    "WeightsError": "errors",
    "Diagnostic": "errors",
}
"""The module that holds each public name."""

__all__ = [
    "AnalysisError",
    "CapacityError",
    "ConfigError",
    "Diagnostic",
    "InputError",
    "Model",
    "ModelConfig",
    "OutputError",
    "Report",
    "TinyTransformerLM",
    "TinylmError",
    "UnableError",
    "UsageError",
    "WeightsError",
    "design",
    "load",
    "sweep",
]

if not TYPE_CHECKING:  # a type checker reads the imports above, and reports a name that is not there

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__} has no attribute {name}")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})
