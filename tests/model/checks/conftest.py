"""Fixtures of the check tests: a model under test, which a test may break first."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.proof import closed_form
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.checks.check import CheckContext, ExpectedParams, sample_tokens


def describe_config(config: ModelConfig) -> ExpectedParams:
    return ExpectedParams(closed_form(config), total_params(tensor_table(config)))


@pytest.fixture(scope="session")
def form() -> Callable[[ModelConfig], ExpectedParams]:
    """Return a function that describes a config without building it."""
    return describe_config


@pytest.fixture
def make_context(make_config: Callable[..., ModelConfig]) -> Callable[..., CheckContext]:
    """Return a function that builds a model in evaluation mode, and the context of a check."""

    def put(
        *, dtype: torch.dtype = torch.float32, newly_initialized: bool = True, seed: int = 0, **fields: object
    ) -> CheckContext:
        config = make_config(**fields)
        model = TinyTransformerLM.from_config(config, seed=seed, dtype=dtype).eval()
        return CheckContext(
            model, seed, newly_initialized, describe_config(config), sample_tokens(config, torch.device("cpu"))
        )

    return put
