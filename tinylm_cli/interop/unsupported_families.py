"""The values of ``model_type`` that tinylm does not support, each with the kind of its models or another reason."""

from __future__ import annotations

ENCODERS = "its models are encoders"
ENCODER_DECODERS = "its models have an encoder and a decoder"
MULTIMODAL_ENCODERS = "its models are encoders of text and of images, video or audio"
MULTIMODAL = "its models are multimodal"
VISION = "its models are vision models"
AUDIO = "its models are audio models"
TIME_SERIES = "its models predict time series"
PARTS = "it is a part of another model"

TYPES = {
    ENCODERS: """
        albert bert big_bird bros camembert canine convbert data2vec-text deberta deberta-v2 distilbert dpr
        electra ernie esm esmc eurobert flaubert fnet funnel gte ibert jina_embeddings_v3 layoutlm layoutlmv2
        layoutlmv3 layoutxlm lilt longformer luke markuplm megatron-bert mobilebert modernbert mpnet mra
        nomic_bert nystromformer openai_privacy_filter reformer rembert roberta roberta-prelayernorm roc_bert
        roformer splinter squeezebert tapas ultrabert xlm xlm-roberta xlm-roberta-xl xmod yoso
    """,
    ENCODER_DECODERS: """
        bart bigbird_pegasus blenderbot blenderbot-small canary cohere_asr dia encoder-decoder florence2 fsmt
        led longt5 m2m_100 marian mbart moonshine moonshine_streaming mt5 musicgen musicgen_melody mvp nllb-moe
        nougat pegasus pegasus_x pix2struct plbart pop2piano pp_formulanet prophetnet rag seamless_m4t
        seamless_m4t_v2 speech-encoder-decoder speech_to_text speecht5 switch_transformers t5 t5gemma t5gemma2
        udop umt5 vision-encoder-decoder whisper
    """,
    MULTIMODAL_ENCODERS: """
        aimv2 align altclip bridgetower chinese_clip clap clip clipseg colmodernvbert colpali colqwen2
        embedding_gemma2 flava groupvit lxmert metaclip_2 modernvbert neomme owlv2 owlvit pe_audio
        pe_audio_video pe_video perceiver siglip siglip2 tipsv2 tvp ultravbert videoprism vilt
        vision-text-dual-encoder visual_bert xclip
    """,
    MULTIMODAL: """
        apertus1p5 aria audioflamingo3 blip blip-2 chameleon cohere2_vision cohere_compass
        cosmos3_edge cosmos3_omni deepseek_ocr2 deepseek_vl deepseek_vl_hybrid diffusion_gemma ernie4_5_vl_moe
        evolla EvollaModel exaone4_5 fast_vlm fun_asr_nano glm46v glm4v glm4v_moe glm5_next glm_image glm_ocr
        glmasr glmga granite4_vision granite_docling granite_speech granite_speech_plus hunyuan_vl hy_v4_vl
        hyperclovax_vision_v2 idefics idefics2 inkling2 inkling2_loop inkling_mm_model instructblip
        instructblipvideo janus jev kimi_k25 kosmos-2 kosmos-2.5 kyutai_speech_to_text lfm2_vl lfm3_vl
        lighton_ocr llava_next_video minicpm_ocr minicpmv4_6 minicpmv4_7
        minimax_m3_vl mistral_large4 molmo2 muse_glimmer muse_spark musicflamingo nemo_speechlm nemotron_h_omni
        omniasr ovis2 paddleocr_vl perception_lm pi0 pp_chart2table qianfan_ocr qwen2_5_omni
        qwen2_5_omni_thinker qwen2_audio qwen3_asr qwen3_omni_moe qwen3_omni_moe_thinker qwen3_vl_moe qwen4_exp
        shieldgemma2 step3p7 unlimited_ocr vibevoice_asr video_llama_3 video_llava vipllava voxtral
        voxtral_realtime
    """,
    VISION: """
        beit bit chmv2 conditional_detr convnext convnextv2 cvt d_fine dab-detr data2vec-vision deformable_detr
        deimv2 deit depth_anything depth_pro detr dinat dinov2 dinov2_with_registers dinov3_convnext dinov3_vit
        dpt edgetam edgetam_video efficientloftr efficientnet eomt eomt_dinov3 focalnet glpn grounding-dino
        hgnet_v2 hiera ijepa imagegpt levit lightglue lw_detr mask2former maskformer mgp-str mlcd
        mlcd_vision_model mm-grounding-dino mobilenet_v1 mobilenet_v2 mobilevit mobilevitv2 omdet-turbo
        oneformer pixio poolformer pp_doclayout_v2 pp_doclayout_v3 pp_doclayout_v4 pp_lcnet pp_lcnet_v3
        pp_lcnet_v4 pp_ocrv5_mobile_det pp_ocrv5_mobile_rec pp_ocrv5_server_det pp_ocrv5_server_rec
        pp_ocrv6_medium_det pp_ocrv6_small_det pp_ocrv6_small_rec pp_ocrv6_tiny_rec prompt_depth_anything pvt
        pvt_v2 radio regnet resnet rf_detr rt_detr rt_detr_v2 sam sam2 sam2_video sam3 sam3_lite_text
        sam3_tracker sam3_tracker_video sam3_video sam_hq sapiens2 segformer seggpt slanet slanext superglue
        superpoint swiftformer swin swin2sr swinv2 table-transformer textnet timesformer timm_backbone
        timm_wrapper tipsv2_dpt upernet uvdoc videomae videomt vit vit_mae vit_msn vitdet vitmatte vitpose vivit
        vjepa2 yolos zoedepth
    """,
    AUDIO: """
        audio-spectrogram-transformer bark clvp csm dac data2vec-audio encodec fastspeech2_conformer
        fastspeech2_conformer_with_hifigan gradium_phonon_tts granite_speech5_ctc higgs_audio_v2
        higgs_audio_v2_tokenizer hubert lasr_ctc mimi nemotron3_5_asr nemotron3_diarization
        nemotron_asr_streaming neucodec omniasr_ctc parakeet_ctc parakeet_rnnt parakeet_tdt pocket_tts
        pocket_tts_audio_tokenizer sew sew-d speecht5_hifigan unispeech unispeech-sat univnet vibevoice
        vibevoice_acoustic_tokenizer vits wav2vec2 wav2vec2-bert wav2vec2-conformer wavlm wavtokenizer xcodec
        xcodec2
    """,
    TIME_SERIES: """
        autoformer informer patchtsmixer patchtst time_series_transformer timesfm timesfm2_5
    """,
    PARTS: """
        aimv2_text_model aimv2_vision_model align_text_model align_vision_model altclip_text_model
        altclip_vision_model apertus1p5_vision_tokenizer audioflamingo3_encoder blip_2_qformer
        blip_2_vision_model blip_text_model blip_vision_model blt_global_transformer blt_local_decoder
        blt_local_encoder blt_patcher bridgetower_text_model bridgetower_vision_model canary_decoder
        chameleon_vqgan chinese_clip_text_model chinese_clip_vision_model clap_audio_model clap_text_model
        clip_text_model clip_vision_model clipseg_text_model clipseg_vision_model clvp_decoder clvp_encoder
        cohere_compass_vision cosmos3_edge_text cosmos3_edge_vision csm_depth_decoder_model
        deepseek_ocr2_encoder deepseek_ocr2_sam_vision_model deepseek_ocr2_text deepseek_ocr2_vision dia_decoder
        dia_encoder diffusion_gemma_text donut-swin dots3_note_audio_encoder dots3_note_vision_encoder
        edgetam_mask_decoder edgetam_prompt_encoder edgetam_video_mask_decoder edgetam_video_prompt_encoder
        edgetam_vision_model embedding_gemma2_text emu3_text_model emu3_vqgan ernie4_5_vl_moe_text
        ernie4_5_vl_moe_vision exaone4_5_vision fastspeech2_conformer_hifigan flava_image_codebook
        flava_image_model flava_multimodal_model flava_text_model florence_vision fun_asr_nano_encoder
        gemma3n_audio gemma3n_vision gemma4_audio gemma4_unified_audio gemma4_unified_vision gemma4_vision
        git_vision_model glm4v_moe_text glm4v_moe_vision glm4v_text glm4v_vision glm5_next_text glm5_next_vision
        glm_image_text glm_image_vision glm_image_vqmodel glm_ocr_text glm_ocr_vision glmasr_encoder
        got_ocr2_vision granite4_vision_text granite_docling_text granite_docling_vision granite_speech5_encoder
        granite_speech_encoder granite_speech_plus_encoder groupvit_text_model groupvit_vision_model
        hunyuan_vl_text hunyuan_vl_vision hy_v4_vl_text hy_v4_vl_vision idefics2_perceiver idefics2_vision
        idefics3_vision idefics_perciever idefics_vision inkling2_vision inkling_audio inkling_vision
        instructblip_qformer instructblip_vision_model instructblipvideo_qformer instructblipvideo_vision_model
        internvl_vision janus_vision_model janus_vqgan kimi_k25_vision kosmos_2_5_text_model
        kosmos_2_5_vision_model kosmos_2_text_model kosmos_2_vision_model lasr_encoder lfm3_vl_vision
        llama4_vision_model lw_detr_vit maskformer-swin metaclip_2_text_model metaclip_2_vision_model
        mimi_decoder mimi_encoder minicpm_ocr_vision minicpmv4_6_vision minicpmv4_7_vision minimax_m3_vl_vision
        mistral4 mistral_large4_text mllama_text_model mllama_vision_model molmo2_adapter molmo2_text
        molmo2_vision moonshine_streaming_encoder moshi_depth moss_transcribe_diarize_audio
        muse_glimmer_assistant muse_glimmer_text muse_glimmer_vision muse_spark_audio muse_spark_text
        muse_spark_vision musicgen_decoder musicgen_melody_decoder nemotron3_5_transcribe_asr_audio
        nemotron3_5_transcribe_audio nemotron3_5_transcribe_word_timestamp nemotron3_diarization_audio
        nemotron_asr_streaming_encoder omniasr_audio ovis2_vision owlv2_text_model owlv2_vision_model
        owlvit_text_model owlvit_vision_model paddleocr_vl_text paddleocr_vl_vision parakeet_encoder
        pe_audio_encoder pe_audio_video_encoder pe_video_encoder phi4_multimodal_audio phi4_multimodal_vision
        pix2struct_text_model pix2struct_vision_model pixtral pocket_tts_audio_tokenizer_decoder
        pocket_tts_audio_tokenizer_encoder pp_chart2table_vision pp_formulanet_text pp_formulanet_vision
        qianfan_ocr_vision qwen2_5_omni_audio_encoder qwen2_5_omni_bigvgan qwen2_5_omni_dit qwen2_5_omni_talker
        qwen2_5_omni_text qwen2_5_omni_token2wav qwen2_5_omni_vision_encoder qwen2_5_vl_text qwen2_5_vl_vision
        qwen2_audio_encoder qwen2_vl_text qwen2_vl_vision qwen3_5_moe_vision qwen3_5_vision qwen3_asr_encoder
        qwen3_omni_moe_audio_encoder qwen3_omni_moe_talker_code_predictor qwen3_omni_moe_talker_text
        qwen3_omni_moe_text qwen3_omni_moe_vision_encoder qwen3_vl_moe_text qwen3_vl_moe_vision qwen3_vl_text
        qwen3_vl_vision qwen4_exp_vision rf_detr_dinov2 rt_detr_resnet sam2_hiera_det_model sam2_mask_decoder
        sam2_prompt_encoder sam2_video_mask_decoder sam2_video_prompt_encoder sam2_vision_model
        sam3_detr_decoder sam3_detr_encoder sam3_geometry_encoder sam3_lite_text_detr_decoder
        sam3_lite_text_detr_encoder sam3_lite_text_geometry_encoder sam3_lite_text_mask_decoder
        sam3_lite_text_text_model sam3_mask_decoder sam3_tracker_mask_decoder sam3_tracker_prompt_encoder
        sam3_tracker_video_mask_decoder sam3_tracker_video_prompt_encoder sam3_vision_model sam3_vit_model
        sam_hq_mask_decoder sam_hq_prompt_encoder sam_hq_vision_model sam_mask_decoder sam_prompt_encoder
        sam_vision_model sapiens2_head siglip2_text_model siglip2_vision_model siglip_text_model
        siglip_vision_model slanext_vision smolvlm_vision step3p5 step3p5_vision t5_gemma_module
        t5gemma2_decoder t5gemma2_encoder t5gemma2_text tipsv2_text_model tipsv2_vision_model
        unlimited_ocr_sam_vision_model unlimited_ocr_text unlimited_ocr_vision unlimited_ocr_vision_encoder
        uvdoc_backbone vibevoice_acoustic_tokenizer_decoder vibevoice_acoustic_tokenizer_encoder
        vibevoice_diffusion video_llama_3_vision videoprism_text_model videoprism_vision_model vitpose_backbone
        voxtral_encoder voxtral_realtime_encoder voxtral_realtime_text wavtokenizer_encoder xclip_text_model
        xclip_vision_model
    """,
}
"""The types of each kind, to follow "is not supported:"."""

KINDS = {name: kind for kind, names in TYPES.items() for name in names.split()}
"""The kind of the models of each type; the types of transformers 5.24 are here, in ``REASONS`` or supported."""

_LANGUAGE_MODELS = {
    "apertus1p5_text": "apertus1p5",
    "aria_text": "aria",
    "cohere2": "cohere2_vision",
    "cohere_compass_text": "cohere_compass",
    "deepseek_v3": "kimi_k25",
    "exaone4": "exaone4_5",
    "gemma3_text": "shieldgemma2",
    "granite": "granite_speech granite_speech_plus",
    "hyperclovax": "hyperclovax_vision_v2",
    "lfm2": "lfm2_vl",
    "lfm3": "lfm3_vl",
    "llama": """
        deepseek_vl deepseek_vl_hybrid glmasr janus llava_next_video omniasr perception_lm video_llava vipllava voxtral
    """,
    "minimax_m3_vl_text": "minimax_m3_vl",
    "mistral": "idefics2",
    "nemotron_h": "nemo_speechlm nemotron_h_omni",
    "opt": "blip-2 instructblip instructblipvideo",
    "qwen2": """
        audioflamingo3 fast_vlm musicflamingo ovis2 pp_chart2table qwen2_audio vibevoice_asr video_llama_3
    """,
    "qwen3": "fun_asr_nano lighton_ocr qianfan_ocr qwen3_asr",
    "qwen3_5_text": "jev minicpm_ocr minicpmv4_6 minicpmv4_7",
}
LANGUAGE_MODELS = {name: family for family, names in _LANGUAGE_MODELS.items() for name in names.split()}
"""The family of the default ``text_config`` of multimodal types; tinylm reads this object alone."""

REASONS = {
    "blt": "it groups bytes into patches of varying length, and its layers have cross-attention to the bytes",
    "cpmant": "its attention is not causal: every token attends to the whole sequence",
    "decision_transformer": "its models predict actions, not tokens",
    "deepseek_v4": "its layers attend to compressed blocks of tokens, and its residual stream has parallel copies",
    "dory": "its middle layers run several times per token, each time with keys and values of their own",
    "esmfold2": "its models predict the structure of proteins",
    "gemma4_assistant": "it reads the hidden states, keys and values of the model that it assists",
    "gemma4_unified_assistant": "it reads the hidden states, keys and values of the model that it assists",
    "inkling2_loop_text": "its middle layers run several times, and read attention over the sums of earlier layers",
    "inkling2_text": "the inputs of its layers are attention over the sums of earlier layers",
    "inkling_text": "its attention adds learned biases of the distance, and its sub-layers end in convolutions",
    "mllama": "some of its layers have cross-attention to an image encoder",
    "moshi": "its embedding has one token more than its LM head",
    "qwen4_exp_text": "its layers add embeddings of hashed n-grams of tokens, and gate parallel residual streams",
    "trocr": "its layers have cross-attention to an image encoder",
    "xlnet": "its attention is not causal: it models permutations of the tokens",
    "zaya": "its attention convolves queries and keys, and its routers are networks with a state across layers",
}
"""Why other types are not supported, to follow "is not supported:"; most have causal-LM classes."""

UNSUPPORTED = frozenset((*KINDS, *REASONS, "baichuan", "chatglm", "internlm", "internlm2", "minicpm", "qwen"))
"""Real families that tinylm does not support, so none is a misspelling of a supported one."""
