"""What each target can express: the classes of transformers that it implements, as its registry lists them.

The records are here because the classes belong to Hugging Face families; the shapes that a target accepts are in
``analysis/portability/engines.py``. Only classes of families that tinylm exports are listed.

References:
    vLLM 0.33.0, vllm/model_executor/models/registry.py;
    llama.cpp 0c1e57098, conversion/__init__.py and src/llama-arch.cpp
"""

from __future__ import annotations

from typing import NamedTuple

from tinylm_cli.config.lint_codes import LLAMA_CPP, TRANSFORMERS, VLLM


class Engine(NamedTuple):
    """A target and the classes of transformers that it implements.

    Attributes:
        title: Its name and version.
        classes: The classes that it implements; None for every class of transformers.
        through_transformers: Classes that it runs with the code of transformers.
        refused: Classes that it neither implements nor runs with the code of transformers; it tries any other class.
            None if it has no such fallback.
        unsplit: Implemented classes whose tensors it cannot split over GPUs.
        ignores_windows: Implemented classes whose sliding windows it ignores.
    """

    title: str
    classes: frozenset[str] | None
    through_transformers: frozenset[str] = frozenset()
    refused: frozenset[str] | None = None
    unsplit: frozenset[str] = frozenset()
    ignores_windows: frozenset[str] = frozenset()


def _causal(names: str, others: str = "") -> frozenset[str]:
    """Return ``names`` with ForCausalLM appended, and ``others`` unchanged."""
    return frozenset([*(f"{name}ForCausalLM" for name in names.split()), *others.split()])


_VLLM = _causal(
    """
    AXK1 Afmoe Apertus Beam Bloom Cohere Cohere2 Cohere2Moe Dbrx DeepseekV2 DeepseekV3 DeepseekV32 Ernie4_5
    Ernie4_5_Moe Exaone Exaone4 ExaoneMoe Falcon FalconH1 FalconMamba Flint GPTJ Gemma Gemma2 Gemma3 Gemma3n Gemma4
    Glm4 Glm4Moe Glm4MoeLite GlmMoeDsa GptOss Granite GraniteMoe GraniteMoeHybrid GraniteMoeSWA GraniteMoeShared
    GraniteSWA HYV3 HYV4 HrmText HyperCLOVAX IQuestCoder InternLM3 Jamba KimiLinear Laguna Lfm2 Lfm2Moe Llama Llama4
    LongcatFlash Mamba Mamba2 MiMoV2Flash MiniCPM3 MiniMaxM2 Ministral3 Mistral Mixtral Nemotron NemotronH OPT
    OlmoHybrid Olmoe Phi3 Qwen2 Qwen2Moe Qwen3 Qwen3Moe Qwen3Next Qwen3_5 Qwen3_5Moe StableLm Zamba2
    """,
    "GPT2LMHeadModel",
)
_VLLM_TRANSFORMERS = _causal(
    """
    Arcee Cwm FlexOlmo GPTBigCode GPTNeoX Glm HunYuanDenseV1 HunYuanMoEV1 Jais2 Kolibri1 Mellum Olmo Olmo2 Olmo3 Phi
    SeedOss SmolLM3 Starcoder2 VaultGemma
    """
)
_VLLM_REFUSED = _causal("GPTNeo GPTNeoXJapanese Mpt Rwkv XGLM", "OpenAIGPTLMHeadModel")
"""Classes whose attention transformers cannot replace: neither ``is_backend_compatible`` nor
``_can_set_attn_implementation`` is true of them."""

_LLAMA_CPP = _causal(
    """
    Afmoe Apertus Arcee Bamba BitNet Bloom Cohere Cohere2 Cohere2Moe Dbrx DeepseekV2 DeepseekV3 DeepseekV32 Dots1
    Dots3Note Ernie4_5 Ernie4_5_Moe Exaone Exaone4 ExaoneMoe Falcon FalconH1 FalconMamba GPTBigCode GPTNeoX Gemma
    Gemma2 Gemma3 Gemma3n Gemma4 Glm Glm4 Glm4Moe Glm4MoeLite GlmMoeDsa GptOss Granite GraniteMoe GraniteMoeHybrid
    GraniteMoeSWA GraniteMoeShared GraniteSWA HYV3 HYV4 HrmText HunYuanDenseV1 HunYuanMoEV1 IQuestCoder InternLM3
    Jais2 Jamba KimiLinear Laguna Lfm2 Lfm2Moe Llama Llama4 Mamba Mamba2 Mellum MiMoV2Flash MiniCPM3 MiniMaxM2
    Ministral3 Mistral Mixtral Nemotron NemotronH Olmo Olmo2 Olmo3 Olmoe Phi Phi3 Qwen2 Qwen2Moe Qwen3 Qwen3Moe
    Qwen3Next Qwen3_5 Qwen3_5Moe SeedOss SmolLM3 SolarOpen StableLm Starcoder2 Youtu
    """,
    "GPT2LMHeadModel",
)
_LLAMA_CPP_UNSPLIT = _causal(
    """
    Bamba BitNet DeepseekV2 DeepseekV3 DeepseekV32 Dots3Note FalconH1 FalconMamba Gemma3n Glm4MoeLite GlmMoeDsa
    GraniteMoeHybrid HYV4 Jamba KimiLinear Mamba Mamba2 MiniCPM3 MiniMaxM2 NemotronH Olmo2 Olmo3 Olmoe Youtu
    """
)

ENGINES: dict[str, Engine] = {
    "hf": Engine(TRANSFORMERS, None),
    "vllm": Engine(VLLM, _VLLM, _VLLM_TRANSFORMERS, _VLLM_REFUSED),
    "gguf": Engine(LLAMA_CPP, _LLAMA_CPP, unsplit=_LLAMA_CPP_UNSPLIT, ignores_windows=_causal("Mistral Mixtral")),
}
"""The targets that take a model as a class of transformers."""
