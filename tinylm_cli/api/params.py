"""The counts of ``Model.params``: parameters, adapters, and sizes of GGUF files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tinylm_cli.config.loader import LoadedConfig
    from tinylm_cli.config.lora import Lora
    from tinylm_cli.reports.choices import GgufChoice
    from tinylm_cli.reports.params import ModelParams

By = Literal["component", "layer", "tensor"]


def counted_params(
    loaded: LoadedConfig,
    by: By,
    lora: Lora | None,
    gguf: GgufChoice | None,
    *,
    expand: bool,
    explain: bool,
    imatrix: bool,
) -> ModelParams:
    """Return the counts of a model; for the arguments see :meth:`tinylm_cli.api.model.Model.params`.

    Raises:
        AnalysisError: If ``expand`` would list too many rows.
        UnableError: If ``gguf`` is given and the package gguf is not installed.
    """
    from tinylm_cli.analysis.param_formulas import explain_params
    from tinylm_cli.analysis.params import analyze_params

    counted = explain_params(loaded) if explain else analyze_params(loaded, by=by, expand=expand, lora=lora)
    if gguf is None:
        return counted
    from tinylm_cli.analysis.tensor_table import stored_shapes
    from tinylm_cli.interop.gguf.package import require_gguf

    require_gguf("the sizes of GGUF files")
    from tinylm_cli.interop.gguf.sizes import gguf_sizes

    return replace(counted, gguf=gguf_sizes(loaded.config, stored_shapes, gguf, has_importance_matrix=imatrix))
