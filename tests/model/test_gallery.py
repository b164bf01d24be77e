"""Every published model that ships: closed form = module on meta = the count that its publishers give."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
import transformers
from transformers.initialization import no_init_weights

from tinylm_cli.analysis.params import total_params
from tinylm_cli.analysis.proof import prove
from tinylm_cli.analysis.tensor_table import tensor_table
from tinylm_cli.config.choices import MixerKind, mixers_within
from tinylm_cli.config.layer_kinds import layer_pattern
from tinylm_cli.config.presets import gallery
from tinylm_cli.interop.load import load_config
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.state_dict import parameter_shapes, unique_params

PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "pythia-160m": 162_322_944,
    "llama-2-7b": 6_738_415_616,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "mistral-7b": 7_241_732_096,
    "qwen2.5-0.5b": 494_032_768,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "gemma-2-2b": 2_614_341_888,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b": 3_880_263_168,
    "gemma-3-27b": 27_009_346_304,
    "gemma-4-e2b": 4_628_569_344,
    "gemma-4-26b-a4b": 25_233_141_760,
    "phi-3-mini": 3_821_079_552,
    "nanochat-d20": 560_988_160,
    "olmo-2-7b": 7_298_617_344,
    "mixtral-8x7b": 46_702_792_704,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-235b-a22b": 235_093_634_560,
    "deepseek-v2-lite": 15_706_484_224,
    "deepseek-v3": 671_026_419_200,
    "kimi-k2": 1_026_408_232_448,
    "glm-4.5-air": 106_852_251_264,
    "llama-4-scout": 107_769_861_120,
    "minimax-m2": 228_689_764_864,
    "gpt-oss-20b": 20_914_757_184,
    "gpt-oss-120b": 116_829_156_672,
    "lfm2-1.2b": 1_170_340_608,
    "smollm3-3b": 3_075_098_624,
    "olmo-3-7b": 7_298_011_136,
    "qwen3-next-80b-a3b": 79_674_391_296,
    "qwen3.5-9b": 9_653_104_368 - 456_010_480 - 243_290_624,
    "qwen3.5-35b-a3b": 35_951_822_704 - 446_571_248 - 844_640_768,
    "kimi-linear-48b-a3b": 49_122_681_728,
    "minimax-text-01": 456_089_655_296,
    "granite-4.0-h-micro": 3_191_396_096,
    "granite-4.0-h-small": 32_207_337_984,
    "nemotron-h-8b": 8_100_852_736,
    "nemotron-nano-9b-v2": 8_888_227_328,
    "nemotron-3-super": 120_668_707_840,
    "jamba-v0.1": 51_570_323_328,
    "recurrentgemma-2b": 2_682_862_080,
    "falcon-h1-0.5b": 521_411_104,
    "falcon-mamba-7b": 7_272_665_088,
    "mamba2-2.7b": 2_702_599_680,
    "rwkv-4-169m": 169_342_464,
    "xlstm-7b": 6_865_424_896,
    "zamba-7b": 7_232_490_496,
    "zamba2-2.7b": 2_662_214_560,
}
"""Numbers in the published checkpoint, without multi-token prediction and vision; a tied head counts once.

Zyphra states 7B and 2.7B for the Zamba models; their numbers are those of transformers' modules.
"""

MODULES: dict[str, tuple[type[transformers.PreTrainedModel], transformers.PreTrainedConfig]] = {
    "rwkv-4-169m": (transformers.RwkvForCausalLM, transformers.RwkvConfig(hidden_size=768, num_hidden_layers=12)),
    "xlstm-7b": (transformers.xLSTMForCausalLM, transformers.xLSTMConfig()),
    "zamba-7b": (transformers.ZambaForCausalLM, transformers.ZambaConfig()),
    "zamba2-2.7b": (transformers.Zamba2ForCausalLM, transformers.Zamba2Config(num_mem_blocks=2, n_mamba_heads=80)),
}
"""Modules of transformers with the published configs, which are its defaults except for these keys."""


def test_every_model_has_a_published_count() -> None:
    assert PUBLISHED.keys() == gallery().keys()


@pytest.mark.parametrize("name", gallery())
def test_counts_agree(name: str) -> None:
    config = load_config(name).config
    model = TinyTransformerLM.from_config(config, device="meta")
    proof = prove(config, parameter_shapes(model), unique_params(model))
    assert proof.holds
    assert proof.closed_form_params == config.nominal_params
    corrections = [buffer for path, buffer in model.named_buffers() if path.endswith(".score_correction")]
    assert proof.closed_form_params + sum(map(torch.numel, corrections)) == PUBLISHED[name]


@pytest.mark.parametrize("name", MODULES)
def test_counts_of_transformers(name: str) -> None:
    module_class, config = MODULES[name]
    with torch.device("meta"), no_init_weights():
        module = module_class(config)
    module.tie_weights()
    assert sum(parameter.numel() for parameter in module.parameters()) == PUBLISHED[name]


def test_every_mixer_has_a_published_model() -> None:
    found = {kind.block.mixer for name in gallery() for kind in layer_pattern(load_config(name).config).kinds}
    assert mixers_within(found) == set(get_args(MixerKind))


WITH_MTP = {
    "qwen3-next-80b-a3b": 81_324_862_720,
    "qwen3.5-9b": 9_653_104_368 - 456_010_480,
    "qwen3.5-35b-a3b": 35_951_822_704 - 446_571_248,
    "deepseek-v3": 684_489_845_504 - 2 * 129_280 * 7168,
}
"""Numbers in checkpoints with a module for multi-token prediction, without the vision encoder of Qwen3.5, and without
the embedding and the LM head, which DeepSeek-V3 stores again in that module."""


@pytest.mark.parametrize("name", WITH_MTP)
def test_multi_token_prediction(name: str) -> None:
    config = load_config(name, ["head.n_mtp_layers=1"]).config
    model = TinyTransformerLM.from_config(config, device="meta")
    corrections = [buffer for path, buffer in model.named_buffers() if path.endswith(".score_correction")]
    assert unique_params(model) + sum(map(torch.numel, corrections)) == WITH_MTP[name]
    assert total_params(tensor_table(config)) == unique_params(model)
