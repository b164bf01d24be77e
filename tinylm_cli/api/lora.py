"""LoRA adapters as an argument: an adapter_config.json, its folder, or a dictionary with its keys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tinylm_cli.errors import UsageError
from tinylm_cli.wording import Argument

if TYPE_CHECKING:
    from tinylm_cli.analysis.setups import Setups
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.config.lora import Lora

LoraArgument = str | os.PathLike[str] | Mapping[str, Any]
"""The path of an ``adapter_config.json``, of its folder, or a dictionary with its keys."""


def read_counted(
    lora: LoraArgument | None,
    loaded: LoadedConfig,
    by: str,
    *,
    explain: bool,
    convention: str | None,
    gguf: str | None,
) -> Lora | None:
    """Return the adapters to count; for the errors see also :func:`read_lora`.

    Raises:
        UsageError: If another argument shows another count.
    """
    others = (
        ("explain", explain),
        ('by="layer"', by == "layer"),
        ("gguf", gguf is not None),
        ("convention", convention is not None),
    )
    other = next((name for name, is_given in others if is_given), "")
    if lora is not None and other:
        raise UsageError(f"lora cannot be combined with {other}", help="omit one of them")
    return read_lora(lora, loaded)


def with_lora(setups: Setups, lora: LoraArgument | None, loaded: LoadedConfig) -> Setups:
    """Return setups that train adapters only; requested quantization applies to the frozen weights too.

    Raises:
        UsageError: If several GPUs train the model.
    """
    adapters = read_lora(lora, loaded)
    if adapters is None:
        return setups
    if setups.training.n_gpus > 1:
        raise UsageError("lora trains on one GPU: plans describe no frozen weights", help="omit gpus and plan, or lora")
    training = setups.training._replace(lora=adapters, quantization=setups.serving.quantization)
    return setups._replace(training=training)


def read_lora(lora: LoraArgument | None, loaded: LoadedConfig) -> Lora | None:
    """Return the adapters of a model; None without an argument.

    Raises:
        ConfigError: If the settings are invalid, or name modules that the model does not have.
        InputError: If the file cannot be read.
        AnalysisError: If the model has too many tensors.
        UsageError: If the dictionary holds other objects than a file can.
    """
    if lora is None:
        return None
    from tinylm_cli.analysis.tensor_table import stored_shapes
    from tinylm_cli.interop.adapter_config import parse_adapter, read_adapter
    from tinylm_cli.interop.lora_modules import MAX_TENSORS
    from tinylm_cli.interop.lora_targets import resolve_lora

    if isinstance(lora, Mapping):
        import json

        from tinylm_cli.config.lora import ALL_LINEAR
        from tinylm_cli.config.source import Source

        names_targets = {"target_modules", "target_parameters"} & lora.keys()
        keys = {**lora} if names_targets else {**lora, "target_modules": ALL_LINEAR}
        try:
            text = json.dumps(keys, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise UsageError(f"lora: {error}", help="give a dictionary of text, numbers and lists") from None
        config = parse_adapter(Source(Argument("<lora>"), text))
    else:
        config = read_adapter(os.fspath(lora))
    return resolve_lora(config, loaded, stored_shapes(loaded.config, MAX_TENSORS))
