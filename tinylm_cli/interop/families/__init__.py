"""The families of models that tinylm reads and writes: one record each, beside those it is near to.

What a key means, and what its absence stands for, is what transformers 5.24 does with it: the configuration and the
modeling file of the family there.
"""

from __future__ import annotations

from tinylm_cli.interop.families.bloom import BLOOM
from tinylm_cli.interop.families.deepseek import DEEPSEEK_V2, DEEPSEEK_V3
from tinylm_cli.interop.families.falcon import FALCON
from tinylm_cli.interop.families.gemma import GEMMA, GEMMA2, GEMMA3, GEMMA3_TEXT
from tinylm_cli.interop.families.gpt import GPT2, GPT_NEOX, GPTJ
from tinylm_cli.interop.families.gpt_oss import GPT_OSS
from tinylm_cli.interop.families.llama import LLAMA, MISTRAL, MIXTRAL
from tinylm_cli.interop.families.olmo import OLMO, OLMO2, OLMOE
from tinylm_cli.interop.families.opt import OPT
from tinylm_cli.interop.families.phi import PHI, PHI3
from tinylm_cli.interop.families.qwen import QWEN2, QWEN3, QWEN3_MOE
from tinylm_cli.interop.families.stablelm import STABLELM
from tinylm_cli.interop.families.starcoder import STARCODER2
from tinylm_cli.interop.family import Family

FAMILIES: tuple[Family, ...] = (
    GPT2, LLAMA, MISTRAL, QWEN2, QWEN3, GEMMA, GEMMA2, GEMMA3_TEXT, GEMMA3, MIXTRAL, QWEN3_MOE, OLMO, OLMO2, OLMOE,
    GPT_NEOX, GPTJ, OPT, BLOOM, FALCON, PHI, PHI3, STARCODER2, STABLELM, DEEPSEEK_V2, DEEPSEEK_V3, GPT_OSS,
)  # fmt: skip
"""In the order in which a model is tried to be exported as one of them."""

BY_TYPE = {family.model_type: family for family in FAMILIES}
"""Each by its ``model_type``."""
