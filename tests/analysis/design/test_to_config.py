"""A design as a config: its budget holds, measured as validation measures it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.analysis.design.spaces import space_of
from tinylm_cli.analysis.budget_check import budget_conditions, measure
from tinylm_cli.analysis.design.constraints import at_most, fits, within
from tinylm_cli.analysis.design.find_designs import DesignRequest, find_designs
from tinylm_cli.analysis.design.to_config import to_config
from tinylm_cli.analysis.setups import Setups
from tinylm_cli.config.budget import Budget
from tinylm_cli.config.hardware import load_hardware
from tinylm_cli.reports.choices import Optimizer

GIB = 2**30


class TestToConfig:
    """The budget of a written design holds, measured as validation measures it."""

    @pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
    def test_limits_and_conditions(self, optimizer: Optimizer) -> None:
        setups = Setups.of(batch_size=2, seq_len=512, dtype="float32")
        setups = setups._replace(training=setups.training._replace(optimizer=optimizer))
        space = replace(space_of("llama"), setups=setups)
        asked = (
            within("active_params", 10**9, 0.02),
            at_most("train_bytes_per_gpu", 2**35),
            at_most("serve_bytes", 2**34),
        )
        report = find_designs(DesignRequest(space, asked, top=3))
        assert report.designs
        for design in report.designs:
            config = to_config(design, report)
            memory = Budget(max_train_bytes_per_gpu=2**35, batch_size=2, seq_len=512, dtype="float32")
            expected = memory if optimizer == "adamw" else Budget()
            assert config.budget == expected.model_copy(update={"max_active_params": 1_020_000_000})
            conditions = list(budget_conditions(config))
            assert len(conditions) == (2 if optimizer == "adamw" else 1)
            assert all(measure(config, condition).holds for condition in conditions)

    @pytest.mark.parametrize("gpu", ["l4", "h100-sxm", "rtx-4090"])
    def test_gpu_memory_is_rounded_safely(self, gpu: str) -> None:
        accelerator = load_hardware(gpu)
        space = replace(space_of("llama"), setups=Setups.of(seq_len=256), accelerator=accelerator)
        asked = (at_most("train_bytes_per_gpu", 10**12), fits(accelerator, "training"))
        report = find_designs(DesignRequest(space, asked, top=20, purpose="training"))
        assert report.designs
        for design in report.designs:
            config = to_config(design, report)
            limit = config.budget.max_train_bytes_per_gpu
            assert limit is not None
            assert design.figures["train_bytes_per_gpu"] <= limit <= accelerator.capacity_bytes
            assert config.budget == Budget(max_train_bytes_per_gpu=limit, seq_len=256)

    def test_digits_of_gpu_memory(self) -> None:
        """Of 12.3456 GiB, three digits are kept, or as many as the design needs; beyond five, every byte."""
        accelerator = load_hardware("l4")
        space = replace(space_of("llama"), setups=Setups.of(seq_len=256), accelerator=accelerator)
        report = find_designs(DesignRequest(space, (fits(accelerator, "training"),), top=1, purpose="training"))
        (memory,) = (each for each in report.constraints if each.origin == "gpu_memory")
        report = replace(report, constraints=(replace(memory, value=int(12.3456 * GIB)),))

        def limit(needed: float) -> int | None:
            (design,) = report.designs
            design = replace(design, figures={**design.figures, "train_bytes_per_gpu": int(needed * GIB)})
            return to_config(design, report).budget.max_train_bytes_per_gpu

        limits = {12.2: 12.3, 12.33: 12.34, 12.342: 12.345, 12.3455: 12.3456, 12.34560: 12.3456}
        assert {needed: limit(needed) for needed in limits} == {
            needed: int(limit * GIB) for needed, limit in limits.items()
        }
