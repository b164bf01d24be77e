"""Which targets express a model: by family, by class, through transformers, or not at all."""

from __future__ import annotations

import pytest

from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.portability import express_for
from tinylm_cli.reports.lint import TARGETS, Expression


def expressed(name: str, *changes: str) -> dict[str, Expression]:
    return {each.target: each for each in express_for(load_config(name, changes), TARGETS)}


@pytest.mark.parametrize(
    ("name", "family", "vllm", "gguf"),
    [
        ("llama-3-8b", "llama", "LlamaForCausalLM", "LlamaForCausalLM"),
        ("mixtral-8x7b", "mixtral", "MixtralForCausalLM", "MixtralForCausalLM"),
        ("gemma-2-2b", "gemma2", "Gemma2ForCausalLM", "Gemma2ForCausalLM"),
        ("deepseek-v3", "deepseek_v3", "DeepseekV3ForCausalLM", "DeepseekV3ForCausalLM"),
        ("pythia-160m", "gpt_neox", "GPTNeoXForCausalLM", "GPTNeoXForCausalLM"),
        ("rwkv-4-169m", "rwkv", "", ""),
        ("zamba2-2.7b", "zamba2", "Zamba2ForCausalLM", ""),
    ],
)
def test_classes(name: str, family: str, vllm: str, gguf: str) -> None:
    assert [each.expressed_as for each in expressed(name).values()][:3] == [family, vllm, gguf]


def test_another_family() -> None:
    """An engine may implement a later family that expresses the model, too."""
    found = expressed("gpt2", "block.parallel=false")
    assert found["vllm"].expressed_as == "GPT2LMHeadModel"
    assert found["vllm"].diagnostics == ()


def test_equivalent() -> None:
    (finding,) = expressed("tiny")["gguf"].diagnostics
    assert (finding.code, finding.severity) == ("rewritten-fields", "warning")
    assert "position.kind: sinusoidal → learned" in finding.message


def test_transformers_backend() -> None:
    (listed,) = expressed("pythia-160m")["vllm"].diagnostics
    assert listed.message.endswith("it runs the code of transformers")
    (tried,) = expressed("recurrentgemma-2b")["vllm"].diagnostics
    assert "it tries to run the code of transformers, which may not work" in tried.message
    (refused,) = expressed("rwkv-4-169m")["vllm"].diagnostics
    assert (refused.code, refused.severity) == ("no-implementation", "error")


def test_no_family() -> None:
    """Each field in the way is one finding at its place; all targets share it."""
    found = expressed("llama-3-8b", "attention.clip_qkv=4", "attention.sub_norm=true")
    assert {each.expressed_as for each in found.values()} == {""}
    assert [each.message for each in found["megatron"].diagnostics] == [
        "megatron-core 0.16.1 does not support attention.clip_qkv 4",
        "megatron-core 0.16.1 does not support attention.sub_norm true",
    ]
    fields = {each.field: each.span for each in found["hf"].diagnostics}
    assert fields.keys() == {"attention.clip_qkv", "attention.sub_norm"}
    assert found["hf"].diagnostics == found["vllm"].diagnostics == found["gguf"].diagnostics
    span = fields["attention.sub_norm"]
    assert span is not None
    assert span.text == "attention.sub_norm=true"


def test_ignored_window() -> None:
    """Mistral has a window; llama.cpp computes it as Llama, without one."""
    (found,) = expressed("mistral-7b", "attention.window=4096")["gguf"].diagnostics
    assert (found.code, found.severity, str(found.help)) == ("ignored-window", "error", 'write set="max_len=4096"')
    assert expressed("mistral-7b", "attention.window=4096")["vllm"].diagnostics == ()
    assert expressed("mistral-7b", "attention.window=32768")["gguf"].diagnostics == ()


def test_split_by_tensors() -> None:
    assert expressed("llama-3-8b")["gguf"].splits_tensors
    assert not expressed("olmo-2-7b")["gguf"].splits_tensors
    assert expressed("olmo-2-7b")["vllm"].splits_tensors


def test_frameworks() -> None:
    found = expressed("llama-3.2-1b")
    assert (found["litgpt"].expressed_as, found["megatron"].expressed_as) == ("GPT", "GPTModel")
    (untied,) = found["litgpt"].diagnostics
    assert (untied.code, untied.severity) == ("rewritten-fields", "warning")
    assert untied.message.endswith("tie_weights: true → false")
    assert found["megatron"].diagnostics == ()
    assert expressed("gpt2")["litgpt"].expressed_as == ""
