"""Multi-token prediction modules in a pipeline: the last stage has them, and a copy of the embedding."""

from __future__ import annotations

import pytest

from tinylm_cli.analysis.activations import activation_bytes
from tinylm_cli.analysis.flops import train_flops
from tinylm_cli.analysis.parallel.communication import traffic
from tinylm_cli.analysis.parallel.sharding import stage_params, stage_table
from tinylm_cli.analysis.parallel.stage_memory import stage_memory
from tinylm_cli.analysis.parallel.step_time import stage_flops
from tinylm_cli.analysis.params import component_params, total_params
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_memory import training_memory
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.plan import Layout

SETUP = TrainingSetup(batch_size=2, seq_len=64)


def config(*changes: str, n_mtp_layers: int = 2) -> ModelConfig:
    sizes = ["n_layers=4", "dropout=0.0", f"head.n_mtp_layers={n_mtp_layers}"]
    return load_config("small", [*sizes, *changes]).config


@pytest.mark.parametrize("tied", ["true", "false"])
def test_parameters_of_stages(tied: str) -> None:
    """The last stage also holds a copy of the embedding, tied or not."""
    model = config(f"tie_weights={tied}")
    held = [total_params(stage_table(model, Layout(pipeline=4), stage)) for stage in range(4)]
    assert sum(held) == total_params(tensor_table(model)) + model.vocab_size * model.d_model
    plain = total_params(stage_table(config(f"tie_weights={tied}", n_mtp_layers=0), Layout(pipeline=4), 3))
    modules = component_params(tensor_table(model), "mtp")
    copied = 0 if tied == "true" else model.vocab_size * model.d_model  # a tied head has a copy without modules too
    assert held[3] == plain + modules + copied
    assert held[1] == held[2]


def test_flops_of_stages() -> None:
    model = config()
    stages = [stage_flops(model, SETUP, Layout(pipeline=4), stage) for stage in range(4)]
    assert sum(stages) == train_flops(model, batch_size=2, seq_len=64)
    assert stages[3] > stages[2] == stages[1]


def test_one_stage_is_the_model() -> None:
    model, layout = config(), Layout()
    memory = {part.name: part.part_bytes for part in stage_memory(model, SETUP, layout, 0).parts}
    whole = training_memory(model, SETUP)
    assert memory["weights"] == whole.weights_bytes
    assert memory["optimizer state"] == whole.optimizer_bytes
    assert memory["activations"] == activation_bytes(model, SETUP).saved_bytes


@pytest.mark.parametrize("placement", ["pre", "post"])
def test_activations_of_stages(placement: str) -> None:
    """The last stage saves the tokens again, and the embedding's output, which the first layer saves on stage 0."""
    model, layout = config(f"norm.placement={placement}", "position.kind=none"), Layout(pipeline=2)
    stages = [
        {
            part.name: part.part_bytes
            for part in stage_memory(model, SETUP._replace(attention_kernel="flash"), layout, stage).parts
        }
        for stage in range(2)
    ]
    whole = activation_bytes(model, SETUP._replace(attention_kernel="flash"))
    tokens, embedded = 2 * 64 * 8, 2 * 64 * model.d_model * 2
    assert sum(stage["activations"] for stage in stages) == whole.saved_bytes + tokens + embedded


def test_tensor_parallel_projection_is_replicated() -> None:
    table = stage_table(config(), Layout(tensor=2), 0)
    (modules,) = (section for section in table if section.n_mtp_layers)
    shapes = {tensor.name: tensor.shape for tensor in modules.tensors}
    d = config().d_model
    assert shapes["eh_proj.weight"] == (d, 2 * d)
    assert shapes["block.feed_forward.up_proj.weight"] == (config().d_ff // 2, d)
    assert modules.repeats == 2


def test_traffic() -> None:
    """On the last stage, each module adds two sub-layers and the LM head; the embedding counts once."""
    sent = [
        {
            each.name: each.sent_bytes
            for each in traffic(config(n_mtp_layers=n), SETUP, Layout(tensor=2, pipeline=4), 3, None)
        }
        for n in (0, 1, 2)
    ]
    one_tensor = 2 * 64 * config().d_model * 2 // 2
    assert sent[2]["tensor"] - sent[1]["tensor"] == (2 * 5 + 3) * one_tensor
    assert sent[1]["tensor"] - sent[0]["tensor"] == (2 * 5 + 3 + 2) * one_tensor
    untied = config("tie_weights=false")
    names = {each.name for each in traffic(untied, SETUP, Layout(pipeline=4), 3, None)}
    assert "embedding" in names
    assert "embedding" not in {each.name for each in traffic(untied, SETUP, Layout(pipeline=4), 2, None)}


def test_experts_of_modules() -> None:
    """DeepSeek-V3: the module of the last stage routes its tokens too."""
    model = load_config("deepseek-v3", ["head.n_mtp_layers=1", "n_layers=8"]).config
    plain = load_config("deepseek-v3", ["n_layers=8"]).config
    layout, setup = Layout(data=8, pipeline=2, expert=8), TrainingSetup(batch_size=1, seq_len=512)
    routed = [stage_params(each, layout, 1).routed for each in (model, plain)]
    assert routed[0] * 4 == routed[1] * 5
    sent = [{each.name: each.sent_bytes for each in traffic(each, setup, layout, 1, None)} for each in (model, plain)]
    assert sent[0]["expert"] * 4 == sent[1]["expert"] * 5
