"""The phases of the backward pass of multi-token prediction modules, compared with hand-computed values."""

from __future__ import annotations

from itertools import pairwise

from tinylm_cli.analysis.mtp_backward import layer_section, mtp_module_memory
from tinylm_cli.analysis.saved_tensors.saved_tensor import ForwardPass
from tinylm_cli.analysis.setups import TrainingSetup
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.analysis.training_peak import training_timeline
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.load import load_config
from tinylm_cli.reports.memory import PhaseMemory

B, T, VOCAB, D, F = 3, 5, 23, 16, 40
STREAM, LOGITS = B * T * D, B * T * VOCAB
BF16, FP32 = 2, 4
LAYER = 4 * D * D + 2 * D * F + 2 * D
MODULE = 2 * D * D + 3 * D + LAYER
SETUP = TrainingSetup(batch_size=B, seq_len=T)


def config(n_mtp_layers: int) -> ModelConfig:
    sizes = [f"vocab_size={VOCAB}", f"d_model={D}", "n_heads=4", "n_layers=1", f"d_ff={F}", "max_len=32", "dropout=0"]
    plain = ["position.kind=none", "attention.bias=false", "feed_forward.bias=false", "norm.bias=false"]
    return load_config("tiny", [*sizes, *plain, "tie_weights=false", f"head.n_mtp_layers={n_mtp_layers}"]).config


def phases(n_mtp_layers: int) -> list[PhaseMemory]:
    model = config(n_mtp_layers)
    return list(training_timeline(ForwardPass(model, SETUP), tensor_table(model), step_bytes=7))


def test_one_module() -> None:
    """Its loss comes first; then the model's, while the gradients of hidden states and embeddings are held."""
    found, plain = phases(1), phases(0)
    of_module = ["loss", "head gradient", "backward", "backward", "backward"]
    of_model = [
        "loss",
        "head gradient",
        "head gradient",
        "backward",
        "backward",
        "embedding gradient",
        "optimizer step",
    ]
    assert [each.name for each in found] == of_module + of_model
    loss, head, feed_forward, _, projection = found[:5]
    assert (loss.gradients_bytes, loss.working_bytes) == (0, 2 * LOGITS * FP32)
    assert head.gradients_bytes == (D + VOCAB * D) * BF16
    assert head.working_bytes == (LOGITS + STREAM) * BF16
    assert feed_forward.gradients_bytes == (D + VOCAB * D + D * F) * BF16
    assert projection.gradients_bytes == (MODULE + VOCAB * D) * BF16
    assert projection.working_bytes == 3 * STREAM * BF16
    own_loss, own_head = found[5:7]
    assert own_loss.gradients_bytes == projection.gradients_bytes
    assert own_loss.working_bytes == (2 * LOGITS * FP32) + 2 * STREAM * BF16
    assert own_head.gradients_bytes == (MODULE + 2 * VOCAB * D + D) * BF16
    assert own_loss.activations_bytes == plain[0].activations_bytes
    for later, without in zip(found[8:10], plain[2:4], strict=True):
        assert later.gradients_bytes - without.gradients_bytes == MODULE * BF16
        assert later.working_bytes - without.working_bytes == STREAM * BF16
        assert later.activations_bytes == without.activations_bytes
    assert found[-1].gradients_bytes - plain[-1].gradients_bytes == MODULE * BF16


def test_several_modules() -> None:
    """The last of them comes first; each saves equally much, and leaves the gradients of its parameters."""
    found = phases(3)
    losses = [each for each in found if each.name == "loss"]
    assert [each.gradients_bytes for each in losses] == [
        (n * MODULE + (VOCAB * D if n else 0)) * BF16 for n in range(4)
    ]
    memory = mtp_module_memory(ForwardPass(config(3), SETUP), tensor_table(config(3)))
    saved = [each.activations_bytes for each in losses]
    assert [one - other for one, other in pairwise(saved)] == [memory.saved] * 3
    of_layer, of_earlier_layer = found[2], found[8]
    assert of_layer.name == of_earlier_layer.name == "backward"
    assert of_earlier_layer.working_bytes - of_layer.working_bytes == STREAM * BF16, "of the embeddings"
    heads = [each for each in found if each.name == "head gradient"]
    assert len(heads) == 1 + 2 * 3, "all but the first are summed with those before"
    assert heads[2].working_bytes == (2 * VOCAB * D + 3 * STREAM) * BF16


def test_bytes_of_a_module() -> None:
    memory = mtp_module_memory(ForwardPass(config(2), SETUP), tensor_table(config(2)))
    statistics = 2 * 2 * B * T * FP32  # mean and deviation in both norms
    assert memory.inputs == statistics + 2 * STREAM * BF16
    assert memory.loss == LOGITS * FP32 + B * T * 8 + FP32
    assert memory.head == memory.loss + 2 * STREAM * BF16 + 2 * B * T * FP32
    assert memory.gradients == MODULE * BF16
    assert memory.head_gradient == VOCAB * D * BF16
    section = layer_section(tensor_table(config(2)))
    assert sum(tensor.params for tensor in section.tensors) == LAYER
