"""Setups of training and serving: defaults that depend on other fields, and sizes out of range."""

from __future__ import annotations

from typing import Any

import pytest

from tinylm_cli.analysis.setups import (
    ServingSetup,
    Setups,
    TrainingSetup,
    check_length,
    check_sizes,
)
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.config.storage import Storage
from tinylm_cli.errors import AnalysisError
from tinylm_cli.reports.plan import Layout

CONFIG = ModelConfig(vocab_size=8, d_model=8, n_heads=2, n_layers=1, d_ff=8, max_len=32)


def test_length_is_max_len_by_default() -> None:
    for setup in (TrainingSetup(), ServingSetup()):
        assert setup.length(CONFIG) == 32
        assert setup._replace(seq_len=7).length(CONFIG) == 7


@pytest.mark.parametrize(
    ("dtype", "given", "has_them"),
    [
        ("bfloat16", None, True),
        ("float16", None, True),
        ("float32", None, False),
        ("float64", None, False),
        ("bfloat16", False, False),
        ("float32", True, True),
    ],
)
def test_master_weights(dtype: str, given: bool | None, has_them: bool) -> None:
    assert TrainingSetup(dtype=dtype, master_weights=given).has_master_weights is has_them


def test_gradients_and_cache_have_the_dtype_of_the_weights_by_default() -> None:
    assert TrainingSetup(dtype="bfloat16").grad_element_bytes == 2
    mixed = TrainingSetup(dtype="bfloat16", grad_dtype="float32")
    assert (mixed.element_bytes, mixed.grad_element_bytes) == (2, 4)
    assert ServingSetup(dtype="float32").kv_cache_dtype == "float32"
    assert ServingSetup(dtype="float32", cache_dtype="float8").kv_cache_dtype == "float8"


def test_one_pass() -> None:
    """It does not depend on how GPUs divide the work."""
    setup = TrainingSetup(batch_size=3, dtype="float32", recompute="full")
    divided = setup._replace(n_gpus=8, layout=Layout(data=8), derives_micro_batches=True, global_batch_size=24)
    assert divided != setup
    assert divided.one_pass == setup.one_pass == setup


@pytest.mark.parametrize(
    ("setup", "storage", "dtypes"),
    [
        (ServingSetup(), {}, ("bfloat16", "bfloat16")),
        (ServingSetup(), {"dtype": "float32"}, ("float32", "float32")),
        (ServingSetup(), {"dtype": "float32", "kv_cache_dtype": "float8"}, ("float32", "float8")),
        (ServingSetup(dtype="float16"), {"dtype": "float32"}, ("float16", "float16")),
        (ServingSetup(cache_dtype="int8"), {"kv_cache_dtype": "float8"}, ("bfloat16", "int8")),
    ],
)
def test_types_as_stored(setup: ServingSetup, storage: dict[str, Any], dtypes: tuple[str, str]) -> None:
    resolved = setup.resolved(CONFIG.model_copy(update={"storage": Storage.model_validate(storage)}))
    assert (resolved.compute_dtype, resolved.kv_cache_dtype) == dtypes


def test_a_field_of_both_setups() -> None:
    both = Setups.of(dtype="float32", batch_size=4)
    assert (both.training.dtype, both.serving.dtype) == ("float32", "float32")
    changed = both.changed(optimizer="sgd", prefill_tokens=16)
    assert changed.training == both.training._replace(optimizer="sgd")
    assert changed.serving == both.serving._replace(prefill_tokens=16)


@pytest.mark.parametrize("setup", [TrainingSetup(), ServingSetup()])
def test_sizes_out_of_range(setup: TrainingSetup | ServingSetup) -> None:
    check_sizes(CONFIG, setup._replace(batch_size=1, seq_len=1))
    check_sizes(CONFIG, setup._replace(seq_len=32))
    with pytest.raises(AnalysisError, match=r"^batch_size must be at least 1, not 0\n"):
        check_sizes(CONFIG, setup._replace(batch_size=0))
    with pytest.raises(AnalysisError, match=r"^seq_len 33 is outside 1\.\.32: the model's max_len is 32\n") as raised:
        check_sizes(CONFIG, setup._replace(seq_len=33))
    assert raised.value.help == "give a seq_len of at most 32; or change the model to max_len=33"


def test_named_length() -> None:
    with pytest.raises(AnalysisError, match=r"^prompt 0 is outside 1\.\.32") as raised:
        check_length(CONFIG, 0, "prompt")
    assert raised.value.help == "give a prompt of 1 or more"
