"""The Hugging Face model families that tinylm supports; the keys of each are loaded on demand.

Keys, their meanings and defaults follow the configuration and modeling files of transformers 5.24. The other files lack
``from __future__ import annotations``: pydantic would evaluate every annotation, which slows each start.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import NamedTuple

from tinylm_cli.interop.shared_keys import Keys


class Family(NamedTuple):
    """A family of models."""

    model_type: str  # Its name in config.json.
    keys_class: str  # File and name of the class of its keys.
    architecture: str  # Class name in ``architectures`` of its config.json.
    title: str  # Its display name.
    # Of a multimodal family: the class of its keys, by the ``model_type`` of its language model, the default first.
    # ``keys_class`` then has the defaults of a config without a language model.
    language_models: Mapping[str, str] = {}

    @property
    def keys(self) -> type[Keys]:
        """The keys of its config.json, with the conversion in both directions; imports only its file."""
        return _import_keys(self.keys_class)


@cache
def _import_keys(keys_class: str) -> type[Keys]:
    file, name = keys_class.split(".")
    keys: type[Keys] = getattr(import_module(f"{__name__}.{file}"), name)
    return keys


FAMILIES = {
    family.model_type: family
    for family in (
        Family("gpt2", "gpt.GPT2Keys", "GPT2LMHeadModel", "GPT-2"),
        Family("llama", "llama.LlamaKeys", "LlamaForCausalLM", "Llama"),
        Family("mistral", "llama.MistralKeys", "MistralForCausalLM", "Mistral"),
        Family("ministral", "llama.MinistralKeys", "MinistralForCausalLM", "Ministral"),
        Family("ministral3", "ministral3.Ministral3Keys", "Ministral3ForCausalLM", "Ministral 3"),
        Family("qwen2", "qwen.Qwen2Keys", "Qwen2ForCausalLM", "Qwen2 and Qwen2.5"),
        Family("qwen3", "qwen.Qwen3Keys", "Qwen3ForCausalLM", "Qwen3"),
        Family("gemma", "gemma.GemmaKeys", "GemmaForCausalLM", "Gemma"),
        Family("gemma2", "gemma.Gemma2Keys", "Gemma2ForCausalLM", "Gemma 2"),
        Family("gemma3_text", "gemma.Gemma3TextKeys", "Gemma3ForCausalLM", "Gemma 3"),
        Family("gemma3n_text", "gemma3n.Gemma3nTextKeys", "Gemma3nForCausalLM", "Gemma 3n"),
        Family(
            "gemma3n",
            "gemma3n.Gemma3nKeys",
            "Gemma3nForConditionalGeneration",
            "Gemma 3n with vision and audio, its language model",
            {"gemma3n_text": "gemma3n.Gemma3nKeys"},
        ),
        Family("gemma4_text", "gemma4.Gemma4TextKeys", "Gemma4ForCausalLM", "Gemma 4"),
        Family(
            "gemma4",
            "gemma4.Gemma4Keys",
            "Gemma4ForConditionalGeneration",
            "Gemma 4 with vision and audio, its language model",
            {"gemma4_text": "gemma4.Gemma4Keys"},
        ),
        Family("gemma4_unified_text", "gemma4.Gemma4UnifiedTextKeys", "Gemma4UnifiedForCausalLM", "Gemma 4 12B"),
        Family(
            "gemma4_unified",
            "gemma4.Gemma4UnifiedKeys",
            "Gemma4UnifiedForConditionalGeneration",
            "Gemma 4 without encoders, its language model",
            {"gemma4_unified_text": "gemma4.Gemma4UnifiedKeys"},
        ),
        Family(
            "gemma3",
            "gemma.Gemma3Keys",
            "Gemma3ForConditionalGeneration",
            "Gemma 3 with vision, its language model",
            {"gemma3_text": "gemma.Gemma3Keys"},
        ),
        Family(
            "paligemma",
            "paligemma.PaliGemmaKeys",
            "PaliGemmaForConditionalGeneration",
            "PaliGemma and PaliGemma 2, their language model",
            {"gemma": "paligemma.PaliGemmaGemmaKeys", "gemma2": "paligemma.PaliGemmaGemma2Keys"},
        ),
        Family(
            "llava",
            "multimodal.LlavaKeys",
            "LlavaForConditionalGeneration",
            "LLaVA and Pixtral, their language model",
            {"llama": "multimodal.LlavaKeys", "mistral": "multimodal.LlavaMistralKeys"},
        ),
        Family(
            "llava_next",
            "multimodal.LlavaNextKeys",
            "LlavaNextForConditionalGeneration",
            "LLaVA-NeXT, its language model",
            {
                "llama": "multimodal.LlavaNextKeys",
                "mistral": "multimodal.LlavaNextMistralKeys",
                "qwen2": "multimodal.LlavaNextQwen2Keys",
            },
        ),
        Family(
            "llava_onevision",
            "multimodal.LlavaOnevisionKeys",
            "LlavaOnevisionForConditionalGeneration",
            "LLaVA-OneVision, its language model",
            {"qwen2": "multimodal.LlavaOnevisionKeys"},
        ),
        Family(
            "internvl",
            "multimodal.InternVLQwen2Keys",
            "InternVLForConditionalGeneration",
            "InternVL, its language model",
            {
                "qwen2": "multimodal.InternVLQwen2Keys",
                "qwen3": "multimodal.InternVLQwen3Keys",
                "llama": "multimodal.InternVLLlamaKeys",
            },
        ),
        Family(
            "aya_vision",
            "aya_vision.AyaVisionKeys",
            "AyaVisionForConditionalGeneration",
            "Aya Vision, its language model",
            {"cohere2": "aya_vision.AyaVisionKeys"},
        ),
        Family(
            "idefics3",
            "multimodal.Idefics3Keys",
            "Idefics3ForConditionalGeneration",
            "Idefics3 and SmolVLM, their language model",
            {"llama": "multimodal.Idefics3LlamaKeys"},
        ),
        Family(
            "smolvlm",
            "multimodal.Idefics3Keys",
            "SmolVLMForConditionalGeneration",
            "SmolVLM 2, its language model",
            {"llama": "multimodal.Idefics3LlamaKeys"},
        ),
        Family(
            "mistral3",
            "multimodal.Mistral3Keys",
            "Mistral3ForConditionalGeneration",
            "Mistral with vision, its language model",
            {"mistral": "multimodal.LlavaMistralKeys", "ministral3": "ministral3.Mistral3Ministral3Keys"},
        ),
        Family(
            "qwen2_vl",
            "multimodal.Qwen2VLKeys",
            "Qwen2VLForConditionalGeneration",
            "Qwen2-VL, its language model",
            {"qwen2_vl_text": "multimodal.Qwen2VLKeys"},
        ),
        Family(
            "qwen2_5_vl",
            "multimodal.Qwen2VLKeys",
            "Qwen2_5_VLForConditionalGeneration",
            "Qwen2.5-VL, its language model",
            {"qwen2_5_vl_text": "multimodal.Qwen2VLKeys"},
        ),
        Family(
            "qwen3_vl",
            "multimodal.Qwen3VLKeys",
            "Qwen3VLForConditionalGeneration",
            "Qwen3-VL, its language model",
            {"qwen3_vl_text": "multimodal.Qwen3VLKeys"},
        ),
        Family(
            "qwen3_5",
            "qwen_hybrid.Qwen35Keys",
            "Qwen3_5ForConditionalGeneration",
            "Qwen3.5 with vision, its language model",
            {"qwen3_5_text": "qwen_hybrid.Qwen35Keys"},
        ),
        Family(
            "qwen3_5_moe",
            "qwen_hybrid.Qwen35MoeKeys",
            "Qwen3_5MoeForConditionalGeneration",
            "Qwen3.5 with vision and experts, its language model",
            {"qwen3_5_moe_text": "qwen_hybrid.Qwen35MoeKeys"},
        ),
        Family(
            "emu3",
            "multimodal.Emu3Keys",
            "Emu3ForConditionalGeneration",
            "Emu3, its language model",
            {"emu3_text_model": "multimodal.Emu3Keys"},
        ),
        Family(
            "fuyu",
            "multimodal.FuyuKeys",
            "FuyuForCausalLM",
            "Fuyu, its language model",
            {"persimmon": "multimodal.FuyuKeys"},
        ),
        Family(
            "got_ocr2",
            "multimodal.GotOcr2Keys",
            "GotOcr2ForConditionalGeneration",
            "GOT-OCR 2.0, its language model",
            {"qwen2": "multimodal.GotOcr2QwenKeys"},
        ),
        Family(
            "moss_transcribe_diarize",
            "multimodal.MossKeys",
            "MossTranscribeDiarizeForConditionalGeneration",
            "MOSS-Transcribe-Diarize, its language model",
            {"qwen3": "multimodal.MossQwenKeys"},
        ),
        Family(
            "dots3_note",
            "dots3_note.Dots3NoteKeys",
            "Dots3NoteForConditionalGeneration",
            "Dots 3 Note with vision and audio, its language model",
            {"dots3_note_text": "dots3_note.Dots3NoteKeys"},
        ),
        Family(
            "phi4_multimodal",
            "phi.Phi4MultimodalKeys",
            "Phi4MultimodalForCausalLM",
            "Phi-4-multimodal, its language model",
        ),
        Family("git", "git.GitKeys", "GitForCausalLM", "GIT, its text decoder"),
        Family("mixtral", "llama.MixtralKeys", "MixtralForCausalLM", "Mixtral"),
        Family("qwen3_moe", "qwen.Qwen3MoeKeys", "Qwen3MoeForCausalLM", "Qwen3 with experts"),
        Family("qwen2_moe", "qwen.Qwen2MoeKeys", "Qwen2MoeForCausalLM", "Qwen1.5 and Qwen2 with experts"),
        Family("qwen3_next", "qwen_hybrid.Qwen3NextKeys", "Qwen3NextForCausalLM", "Qwen3-Next"),
        Family("qwen3_5_text", "qwen_hybrid.Qwen35TextKeys", "Qwen3_5ForCausalLM", "Qwen3.5"),
        Family("qwen3_5_moe_text", "qwen_hybrid.Qwen35MoeTextKeys", "Qwen3_5MoeForCausalLM", "Qwen3.5 with experts"),
        Family("olmo_hybrid", "qwen_hybrid.OlmoHybridKeys", "OlmoHybridForCausalLM", "OLMo Hybrid"),
        Family("olmo", "olmo.OlmoKeys", "OlmoForCausalLM", "OLMo"),
        Family("olmo2", "olmo.Olmo2Keys", "Olmo2ForCausalLM", "OLMo 2"),
        Family("olmo3", "olmo.Olmo3Keys", "Olmo3ForCausalLM", "OLMo 3"),
        Family("olmoe", "olmo.OlmoeKeys", "OlmoeForCausalLM", "OLMoE"),
        Family("openai-gpt", "openai_gpt.OpenAIGPTKeys", "OpenAIGPTLMHeadModel", "GPT, the first"),
        Family("bert-generation", "bert_generation.BertGenerationKeys", "BertGenerationDecoder", "BERT as a decoder"),
        Family("gpt_neox", "gpt.GPTNeoXKeys", "GPTNeoXForCausalLM", "GPT-NeoX and Pythia"),
        Family("gpt_neox_japanese", "gpt.GPTNeoXJapaneseKeys", "GPTNeoXJapaneseForCausalLM", "GPT-NeoX Japanese"),
        Family("gptj", "gpt.GPTJKeys", "GPTJForCausalLM", "GPT-J"),
        Family("opt", "opt.OPTKeys", "OPTForCausalLM", "OPT"),
        Family("biogpt", "biogpt.BioGptKeys", "BioGptForCausalLM", "BioGPT"),
        Family("xglm", "xglm.XGLMKeys", "XGLMForCausalLM", "XGLM"),
        Family("ctrl", "ctrl.CTRLKeys", "CTRLLMHeadModel", "CTRL"),
        Family("bloom", "bloom.BloomKeys", "BloomForCausalLM", "BLOOM"),
        Family("mpt", "mpt.MptKeys", "MptForCausalLM", "MPT"),
        Family("falcon", "falcon.FalconKeys", "FalconForCausalLM", "Falcon"),
        Family(
            "hunyuan_v1_dense", "hunyuan.HunYuanDenseV1Keys", "HunYuanDenseV1ForCausalLM", "HunYuan without experts"
        ),
        Family("nanochat", "nanochat.NanoChatKeys", "NanoChatForCausalLM", "nanochat"),
        Family("phi", "phi.PhiKeys", "PhiForCausalLM", "Phi, up to 2"),
        Family("phi3", "phi.Phi3Keys", "Phi3ForCausalLM", "Phi 3 and 4"),
        Family("starcoder2", "starcoder.Starcoder2Keys", "Starcoder2ForCausalLM", "StarCoder 2"),
        Family("stablelm", "stablelm.StableLmKeys", "StableLmForCausalLM", "StableLM"),
        Family("deepseek_v2", "deepseek.DeepseekV2Keys", "DeepseekV2ForCausalLM", "DeepSeek V2"),
        Family("deepseek_v3", "deepseek.DeepseekV3Keys", "DeepseekV3ForCausalLM", "DeepSeek V3"),
        Family("glm4_moe_lite", "latent_experts.Glm4MoeLiteKeys", "Glm4MoeLiteForCausalLM", "GLM-4.7-Flash"),
        Family("axk1", "latent_experts.AXK1Keys", "AXK1ForCausalLM", "A.X K1"),
        Family("bailing_hybrid", "bailing_hybrid.BailingHybridKeys", "BailingHybridForCausalLM", "Ling 3"),
        Family("glm_moe_dsa", "sparse_attention.GlmMoeDsaKeys", "GlmMoeDsaForCausalLM", "GLM-5"),
        Family("deepseek_v32", "sparse_attention.DeepseekV32Keys", "DeepseekV32ForCausalLM", "DeepSeek V3.2"),
        Family("hy_v4", "hy_v4.HYV4Keys", "HYV4ForCausalLM", "Hy4"),
        Family("axk2", "axk2.AXK2Keys", "AXK2ForCausalLM", "A.X K2"),
        Family("dots3_note_text", "dots3_note.Dots3NoteTextKeys", "Dots3NoteForCausalLM", "Dots 3 Note"),
        Family("kimi_linear", "kimi_linear.KimiLinearKeys", "KimiLinearForCausalLM", "Kimi Linear"),
        Family("youtu", "deepseek.YoutuKeys", "YoutuForCausalLM", "Youtu-LLM"),
        Family("minicpm3", "minicpm3.MiniCPM3Keys", "MiniCPM3ForCausalLM", "MiniCPM3"),
        Family("hrm_text", "hrm_text.HrmTextKeys", "HrmTextForCausalLM", "HRM-Text"),
        Family("helium", "helium.HeliumKeys", "HeliumForCausalLM", "Helium"),
        Family("ernie4_5", "ernie.Ernie45Keys", "Ernie4_5ForCausalLM", "ERNIE 4.5 without experts"),
        Family("ernie4_5_moe", "ernie.Ernie45MoeKeys", "Ernie4_5_MoeForCausalLM", "ERNIE 4.5 with experts"),
        Family("glm", "glm.GlmKeys", "GlmForCausalLM", "GLM-4"),
        Family("glm4", "glm.Glm4Keys", "Glm4ForCausalLM", "GLM-4-0414"),
        Family("seed_oss", "seed_oss.SeedOssKeys", "SeedOssForCausalLM", "Seed-OSS"),
        Family("granite", "granite.GraniteKeys", "GraniteForCausalLM", "Granite without experts"),
        Family("granite_swa", "granite.GraniteSWAKeys", "GraniteSWAForCausalLM", "Granite with sliding windows"),
        Family("hyperclovax", "granite.HyperCLOVAXKeys", "HyperCLOVAXForCausalLM", "HyperCLOVA X"),
        Family("cohere", "cohere.CohereKeys", "CohereForCausalLM", "Command R and Aya"),
        Family("exaone4", "exaone.Exaone4Keys", "Exaone4ForCausalLM", "EXAONE 4.0"),
        Family("exaone", "exaone.ExaoneKeys", "ExaoneForCausalLM", "EXAONE 3"),
        Family("cohere2", "cohere.Cohere2Keys", "Cohere2ForCausalLM", "Command R7B and A"),
        Family("cohere2_moe", "cohere_moe.Cohere2MoeKeys", "Cohere2MoeForCausalLM", "Command A+"),
        Family("cohere_compass_text", "cohere.CohereCompassTextKeys", "CohereCompassForCausalLM", "Cohere Compass"),
        Family("lfm2", "lfm2.Lfm2Keys", "Lfm2ForCausalLM", "LFM2"),
        Family("lfm3", "lfm3.Lfm3Keys", "Lfm3ForCausalLM", "LFM3"),
        Family("lfm2_moe", "lfm2.Lfm2MoeKeys", "Lfm2MoeForCausalLM", "LFM2 with experts"),
        Family("bamba", "bamba.BambaKeys", "BambaForCausalLM", "Bamba"),
        Family("zamba", "zamba.ZambaKeys", "ZambaForCausalLM", "Zamba"),
        Family("zamba2", "zamba.Zamba2Keys", "Zamba2ForCausalLM", "Zamba2"),
        Family("falcon_h1", "falcon_h1.FalconH1Keys", "FalconH1ForCausalLM", "Falcon-H1"),
        Family("nemotron_h", "nemotron_h.NemotronHKeys", "NemotronHForCausalLM", "Nemotron-H"),
        Family("smollm3", "smollm.SmolLM3Keys", "SmolLM3ForCausalLM", "SmolLM3"),
        Family("cwm", "cwm.CwmKeys", "CwmForCausalLM", "Code World Model"),
        Family("internlm3", "internlm3.InternLM3Keys", "InternLM3ForCausalLM", "InternLM 3"),
        Family("iquestcoder", "iquestcoder.IQuestCoderKeys", "IQuestCoderForCausalLM", "IQuest-Coder"),
        Family("arcee", "arcee.ArceeKeys", "ArceeForCausalLM", "Arcee AFM"),
        Family("diffllama", "diffllama.DiffLlamaKeys", "DiffLlamaForCausalLM", "DiffLlama"),
        Family("apertus", "apertus.ApertusKeys", "ApertusForCausalLM", "Apertus"),
        Family("apertus1p5_text", "apertus.Apertus15TextKeys", "Apertus1p5TextForCausalLM", "Apertus 1.5"),
        Family("jais2", "jais2.Jais2Keys", "Jais2ForCausalLM", "Jais 2"),
        Family(
            "modernbert-decoder",
            "modernbert_decoder.ModernBertDecoderKeys",
            "ModernBertDecoderForCausalLM",
            "ModernBERT decoders",
        ),
        Family("mimo_v2_flash", "mimo.MiMoV2FlashKeys", "MiMoV2FlashForCausalLM", "MiMo-V2-Flash"),
        Family("bitnet", "bitnet.BitNetKeys", "BitNetForCausalLM", "BitNet"),
        Family("nemotron", "nemotron.NemotronKeys", "NemotronForCausalLM", "Nemotron 3 and 4, and Minitron"),
        Family("persimmon", "persimmon.PersimmonKeys", "PersimmonForCausalLM", "Persimmon"),
        Family("vaultgemma", "gemma.VaultGemmaKeys", "VaultGemmaForCausalLM", "VaultGemma"),
        Family("codegen", "codegen.CodeGenKeys", "CodeGenForCausalLM", "CodeGen"),
        Family("gpt_bigcode", "gpt_bigcode.GPTBigCodeKeys", "GPTBigCodeForCausalLM", "StarCoder and SantaCoder"),
        Family("gpt_neo", "gpt_neo.GPTNeoKeys", "GPTNeoForCausalLM", "GPT-Neo"),
        Family("recurrent_gemma", "recurrent_gemma.RecurrentGemmaKeys", "RecurrentGemmaForCausalLM", "RecurrentGemma"),
        Family("jetmoe", "jetmoe.JetMoeKeys", "JetMoeForCausalLM", "JetMoE"),
        Family("rwkv", "rwkv.RwkvKeys", "RwkvForCausalLM", "RWKV-4"),
        Family("xlstm", "xlstm.XLSTMKeys", "xLSTMForCausalLM", "xLSTM"),
        Family("mamba", "mamba.MambaKeys", "MambaForCausalLM", "Mamba"),
        Family("falcon_mamba", "mamba.FalconMambaKeys", "FalconMambaForCausalLM", "Falcon Mamba"),
        Family("jamba", "jamba.JambaKeys", "JambaForCausalLM", "Jamba"),
        Family("mamba2", "mamba2.Mamba2Keys", "Mamba2ForCausalLM", "Mamba-2"),
        Family("granitemoe", "granite.GraniteMoeKeys", "GraniteMoeForCausalLM", "Granite with experts"),
        Family("hunyuan_v1_moe", "hunyuan.HunYuanMoEV1Keys", "HunYuanMoEV1ForCausalLM", "HunYuan with experts"),
        Family("hy_v3", "hunyuan.HYV3Keys", "HYV3ForCausalLM", "Hy3"),
        Family("mellum", "mellum.MellumKeys", "MellumForCausalLM", "Mellum with experts"),
        Family("flex_olmo", "olmo.FlexOlmoKeys", "FlexOlmoForCausalLM", "FlexOlmo"),
        Family("dots1", "dots.Dots1Keys", "Dots1ForCausalLM", "dots.llm1"),
        Family("longcat_flash", "longcat_flash.LongcatFlashKeys", "LongcatFlashForCausalLM", "LongCat-Flash"),
        Family("glm4_moe", "glm.Glm4MoeKeys", "Glm4MoeForCausalLM", "GLM-4.5"),
        Family("solar_open", "glm.SolarOpenKeys", "SolarOpenForCausalLM", "Solar Open"),
        Family("sarvam_moe", "sarvam.SarvamMoEKeys", "Glm4MoeForCausalLM", "Sarvam"),
        Family("sarvam_mla", "sarvam.SarvamMLAKeys", "DeepseekV3ForCausalLM", "Sarvam with latent attention"),
        Family("lara_mini", "lara_mini.LaraMiniKeys", "LaraMiniForCausalLM", "Lara mini"),
        Family("phimoe", "phi.PhimoeKeys", "PhimoeForCausalLM", "Phi 3.5 with experts"),
        Family("kolibri1", "kolibri.Kolibri1Keys", "Kolibri1ForCausalLM", "Kolibri-1"),
        Family("dbrx", "dbrx.DbrxKeys", "DbrxForCausalLM", "DBRX"),
        Family("laguna", "laguna.LagunaKeys", "LagunaForCausalLM", "Laguna"),
        Family("beam", "beam.BeamKeys", "BeamForCausalLM", "Beam"),
        Family("doge", "doge.DogeKeys", "DogeForCausalLM", "Doge without experts"),
        Family("flint", "flint.FlintKeys", "FlintForCausalLM", "Flint"),
        Family("aria_text", "aria.AriaTextKeys", "AriaTextForCausalLM", "Aria, its language model"),
        Family("minimax", "minimax.MiniMaxKeys", "MiniMaxForCausalLM", "MiniMax-Text-01 and M1"),
        Family("minimax_m2", "minimax.MiniMaxM2Keys", "MiniMaxM2ForCausalLM", "MiniMax-M2"),
        Family(
            "minimax_m3_vl_text",
            "minimax.MiniMaxM3TextKeys",
            "MiniMaxM3VLForCausalLM",
            "MiniMax-M3 without sparse attention",
        ),
        Family("exaone_moe", "exaone.ExaoneMoeKeys", "ExaoneMoeForCausalLM", "EXAONE with experts"),
        Family("afmoe", "afmoe.AfmoeKeys", "AfmoeForCausalLM", "Trinity (AFMoE)"),
        Family(
            "granitemoeshared",
            "granite.GraniteMoeSharedKeys",
            "GraniteMoeSharedForCausalLM",
            "Granite with shared experts",
        ),
        Family(
            "granitemoe_swa",
            "granite.GraniteMoeSWAKeys",
            "GraniteMoeSWAForCausalLM",
            "Granite with experts and sliding windows",
        ),
        Family(
            "granitemoehybrid",
            "bamba.GraniteMoeHybridKeys",
            "GraniteMoeHybridForCausalLM",
            "Granite 4.0 with Mamba-2 layers",
        ),
        Family("gpt_oss", "gpt_oss.GptOssKeys", "GptOssForCausalLM", "gpt-oss"),
        Family("llama4_text", "llama4.Llama4TextKeys", "Llama4ForCausalLM", "Llama 4"),
        Family(
            "llama4",
            "llama4.Llama4Keys",
            "Llama4ForConditionalGeneration",
            "Llama 4 with vision, its language model",
            {"llama4_text": "llama4.Llama4Keys"},
        ),
    )
}
"""Every family by ``model_type``, in the order in which export tries them."""
