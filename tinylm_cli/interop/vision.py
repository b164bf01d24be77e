"""Parameters of the vision encoders of multimodal models, in closed form: plain vision transformers.

Symbols: C channels, P patch size, S image size, D hidden size, F hidden size of the MLP, L layers, M merged patches per
side, H d_model of the language model. Absent keys have the defaults of transformers 5.24.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

MAX_SIZE = 10**6
"""Largest size of a vision encoder that is counted."""


class VisionParams(NamedTuple):
    """Parameters of the parts of a multimodal model that read images."""

    encoder: int  # The vision transformer.
    projector: int  # The layers from its outputs to the language model.


class _InvalidSizeError(Exception):
    """A size of the vision encoder is not a positive integer."""


class _Sizes:
    """The integers of a vision_config, with defaults."""

    def __init__(self, values: Mapping[str, Any], defaults: Mapping[str, int]) -> None:
        self._values, self._defaults = values, defaults

    def __getitem__(self, key: str) -> int:
        found = self._values.get(key)
        size = self._defaults[key] if found is None else found
        if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= MAX_SIZE:
            raise _InvalidSizeError
        return size


def vision_params(family: str, outer: Mapping[str, Any], d_model: int) -> VisionParams | None:
    """Return the parameters of the parts that read images; None if they are not counted.

    Args:
        family: ``model_type`` of the multimodal model.
        outer: The object of its config.json.
        d_model: Hidden size of its language model, H.
    """
    count, values = _FAMILIES.get(family), outer.get("vision_config")
    if count is None or not isinstance(values, Mapping | None):
        return None
    try:
        return count(values or {}, outer, d_model)
    except _InvalidSizeError:
        return None


def _gemma3(values: Mapping[str, Any], _outer: Mapping[str, Any], d_model: int) -> VisionParams | None:
    encoder = _encoder(values, "siglip_vision_model")
    if encoder is None:
        return None
    projector = (
        encoder.width * d_model  # mm_input_projection_weight (D, H)
        + encoder.width  # mm_soft_emb_norm (D,)
    )
    return VisionParams(encoder.params, projector)


def _paligemma(values: Mapping[str, Any], outer: Mapping[str, Any], _d_model: int) -> VisionParams | None:
    encoder = _encoder(values or _PALIGEMMA_SIGLIP, "siglip_vision_model")
    if encoder is None:
        return None
    outputs = _Sizes(outer, {"projection_dim": 2048})["projection_dim"]
    return VisionParams(encoder.params, encoder.width * outputs + outputs)  # linear (H, D) and its bias


def _llava(values: Mapping[str, Any], outer: Mapping[str, Any], d_model: int) -> VisionParams | None:
    encoder = _encoder(values or _LLAVA_CLIP, "clip_vision_model")
    if encoder is None:
        return None
    bias = d_model if outer.get("multimodal_projector_bias") is not False else 0
    width, layers = encoder.width, _read_layers(outer)
    projector = (
        layers * width * d_model + bias  # linear_1 (H, layers × D)
        + d_model * d_model + bias  # linear_2 (H, H)
    )  # fmt: skip
    return VisionParams(encoder.params, projector)


def _llava_next(values: Mapping[str, Any], outer: Mapping[str, Any], d_model: int) -> VisionParams | None:
    found = _llava(values, outer, d_model)
    return found and found._replace(projector=found.projector + d_model)  # image_newline (H,), which ends a row


def _llava_onevision(values: Mapping[str, Any], outer: Mapping[str, Any], d_model: int) -> VisionParams | None:
    return _llava_next({"model_type": "siglip_vision_model", **(values or _SO400M_SIGLIP)}, outer, d_model)


def _llama4(values: Mapping[str, Any], _outer: Mapping[str, Any], d_model: int) -> VisionParams:
    sizes = _Sizes(values, _LLAMA4)
    width, hidden = sizes["hidden_size"], sizes["intermediate_size"]
    layer, (patch, patches) = _layer(width, hidden), _patches(sizes)
    encoder = (
        width  # class_embedding
        + patch * width  # patch_embedding.linear (D, C × P²), without a bias
        + (patches + 1) * width  # positional_embedding_vlm, of the patches and the class
        + 2 * layer.layer_norm  # layernorm_pre and layernorm_post
        + sizes["num_hidden_layers"] * layer.params
        + hidden * sizes["projector_input_dim"]  # vision_adapter.mlp.fc1, of merged patches
        + sizes["projector_output_dim"] ** 2  # vision_adapter.mlp.fc2
    )
    return VisionParams(encoder, sizes["vision_output_dim"] * d_model)  # linear_1 (H, vision_output_dim)


def _mistral3(values: Mapping[str, Any], outer: Mapping[str, Any], d_model: int) -> VisionParams | None:
    encoder = _encoder(values, "pixtral")
    if encoder is None:
        return None
    merged = _Sizes(outer, {"spatial_merge_size": 2})["spatial_merge_size"] ** 2
    bias = d_model if outer.get("multimodal_projector_bias") is True else 0
    width = encoder.width
    projector = (
        width  # norm (D,)
        + merged * width * width  # patch_merger.merging_layer (D, M² × D)
        + _read_layers(outer) * width * d_model + bias  # linear_1 (H, layers × D)
        + d_model * d_model + bias  # linear_2 (H, H)
    )  # fmt: skip
    return VisionParams(encoder.params, projector)


def _aya_vision(values: Mapping[str, Any], outer: Mapping[str, Any], d_model: int) -> VisionParams | None:
    encoder = _encoder(values or _SO400M_SIGLIP, "siglip_vision_model")
    if encoder is None:
        return None
    sizes = _Sizes(outer, {"downsample_factor": 2, "alignment_intermediate_size": d_model})
    merged, hidden = sizes["downsample_factor"] ** 2 * encoder.width, sizes["alignment_intermediate_size"]
    projector = (
        2 * merged  # layernorm (M² × D)
        + merged * hidden + hidden  # linear_1 (F, M² × D) and its bias
        + hidden // 2 * d_model + d_model  # linear_2 (H, F / 2) and its bias; the other half are gates
    )  # fmt: skip
    return VisionParams(encoder.params, projector)


def _idefics3(values: Mapping[str, Any], outer: Mapping[str, Any], d_model: int) -> VisionParams:
    sizes = _Sizes(values, _IDEFICS3)
    merged = _Sizes(outer, {"scale_factor": 2})["scale_factor"] ** 2
    projector = merged * sizes["hidden_size"] * d_model  # modality_projection.proj (H, M² × D)
    return VisionParams(_siglip(sizes, has_head=False), projector)


def _internvl(values: Mapping[str, Any], outer: Mapping[str, Any], d_model: int) -> VisionParams:
    sizes = _Sizes({**values, **{key: _side(values, key) for key in ("image_size", "patch_size")}}, _INTERNVL)
    merged = _merged(outer.get("downsample_ratio", 0.5)) * sizes["hidden_size"]  # M² × D
    projector = (
        2 * merged  # layer_norm
        + merged * d_model + d_model  # linear_1 (H, M² × D) and its bias
        + d_model * d_model + d_model  # linear_2 (H, H) and its bias
    )  # fmt: skip
    return VisionParams(_intern_vit(sizes, values), projector)


def _side(values: Mapping[str, Any], key: str) -> Any:
    """Return the side of a square that a list gives twice, or the value itself."""
    found = values.get(key)
    return found[0] if isinstance(found, list) and len(found) == 2 and found[0] == found[1] else found


def _merged(ratio: Any) -> int:
    """Return the patches that are merged into one, M², if each side is multiplied by ``ratio``."""
    if not isinstance(ratio, float) or not 1 / MAX_SIZE <= ratio <= 1:
        raise _InvalidSizeError
    return int(1 / ratio) ** 2


def _read_layers(outer: Mapping[str, Any]) -> int:
    """Return the number of layers whose outputs the projector reads."""
    layers = outer.get("vision_feature_layer")
    return len(layers) if isinstance(layers, list) else 1


class _Encoder(NamedTuple):
    params: int
    width: int  # D


def _encoder(values: Mapping[str, Any], default: str) -> _Encoder | None:
    """Return a vision transformer of one of the kinds that LLaVA and its descendants have; None for another."""
    match values.get("model_type", default):
        case "clip_vision_model":
            sizes = _Sizes(values, _CLIP)
            return _Encoder(_clip(sizes), sizes["hidden_size"])
        case "siglip_vision_model":
            sizes = _Sizes(values, _SIGLIP)
            has_head = values.get("vision_use_head") is not False
            return _Encoder(_siglip(sizes, has_head=has_head), sizes["hidden_size"])
        case "pixtral":
            sizes = _Sizes(values, _PIXTRAL)
            return _Encoder(_pixtral(sizes), sizes["hidden_size"])
    return None


_SIGLIP = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_channels": 3, "image_size": 224,
    "patch_size": 16,
}  # fmt: skip
_CLIP = _SIGLIP | {"patch_size": 32}
_IDEFICS3 = _CLIP | {"hidden_size": 1152}
_LLAVA_CLIP = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "image_size": 336, "patch_size": 14,
}  # fmt: skip
_PALIGEMMA_SIGLIP = {
    "hidden_size": 1152, "intermediate_size": 4096, "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": False,
}  # fmt: skip
_SO400M_SIGLIP = {
    "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 26, "image_size": 384, "patch_size": 14,
    "vision_use_head": False,
}  # fmt: skip
_INTERNVL = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_channels": 3, "image_size": 448,
    "patch_size": 14,
}  # fmt: skip
_LLAMA4 = {
    "hidden_size": 768, "intermediate_size": 5632, "num_hidden_layers": 34, "num_channels": 3, "image_size": 448,
    "patch_size": 14, "projector_input_dim": 4096, "projector_output_dim": 4096, "vision_output_dim": 7680,
}  # fmt: skip
_PIXTRAL = _SIGLIP | {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "image_size": 1024}


class _Layer(NamedTuple):
    """Parameters of a layer of CLIP and SigLIP."""

    attention: int
    mlp: int
    layer_norm: int

    @property
    def params(self) -> int:
        return self.attention + self.mlp + 2 * self.layer_norm


def _layer(width: int, hidden: int) -> _Layer:
    return _Layer(
        attention=4 * (width * width + width),  # q, k, v and output, with biases
        mlp=2 * width * hidden + hidden + width,  # fc1 (F, D) and fc2 (D, F), with biases
        layer_norm=2 * width,  # weight and bias
    )


def _patches(sizes: _Sizes) -> tuple[int, int]:
    """Return the numbers in a patch, C × P², and the patches of an image, (S / P)²."""
    patch = sizes["patch_size"]
    return sizes["num_channels"] * patch**2, (sizes["image_size"] // patch) ** 2


def _siglip(sizes: _Sizes, *, has_head: bool) -> int:
    """SigLIP: Zhai et al. 2023, https://arxiv.org/abs/2303.15343."""
    width = sizes["hidden_size"]
    layer, (patch, patches) = _layer(width, sizes["intermediate_size"]), _patches(sizes)
    head = (
        width  # probe (1, 1, D)
        + layer.attention + layer.layer_norm + layer.mlp  # attention pooling
    )  # fmt: skip
    return (
        patch * width + width  # patch_embedding (D, C, P, P) and its bias
        + patches * width  # position_embedding
        + sizes["num_hidden_layers"] * layer.params
        + layer.layer_norm  # post_layernorm
        + (head if has_head else 0)
    )  # fmt: skip


def _clip(sizes: _Sizes) -> int:
    """CLIP: Radford et al. 2021, https://arxiv.org/abs/2103.00020."""
    width = sizes["hidden_size"]
    layer, (patch, patches) = _layer(width, sizes["intermediate_size"]), _patches(sizes)
    return (
        width  # class_embedding
        + patch * width  # patch_embedding (D, C, P, P), without a bias
        + (patches + 1) * width  # position_embedding, of the patches and the class
        + layer.layer_norm  # pre_layrnorm
        + sizes["num_hidden_layers"] * layer.params
        + layer.layer_norm  # post_layernorm
    )


def _intern_vit(sizes: _Sizes, values: Mapping[str, Any]) -> int:
    """InternViT: Chen et al. 2023, https://arxiv.org/abs/2312.14238."""
    width = sizes["hidden_size"]
    layer, (patch, patches) = _layer(width, sizes["intermediate_size"]), _patches(sizes)
    biases = 0 if values.get("attention_bias") is True else 3 * width  # of q, k and v, which are absent by default
    norm = width if values.get("norm_type") == "rms_norm" else layer.layer_norm
    qk_norms = 2 * width if values.get("use_qk_norm") is True else 0
    return (
        width  # cls_token
        + (width if values.get("use_mask_token") is True else 0)  # mask_token
        + patch * width + width  # projection (D, C, P, P) and its bias
        + ((patches + 1) * width if values.get("use_absolute_position_embeddings") is not False else 0)
        + sizes["num_hidden_layers"]
        * (layer.attention - biases + qk_norms + layer.mlp + 2 * norm + 2 * width)  # and the scales of two branches
        + (layer.layer_norm if values.get("use_mean_pooling") is False else 0)  # layernorm
    )  # fmt: skip


def _pixtral(sizes: _Sizes) -> int:
    """Pixtral: Agrawal et al. 2024, https://arxiv.org/abs/2410.07073; its positions are RoPE."""
    width, hidden = sizes["hidden_size"], sizes["intermediate_size"]
    patch, _ = _patches(sizes)
    attention = 4 * width * width  # q, k, v and output
    mlp = 3 * width * hidden  # gate, up and down
    return (
        patch * width  # patch_conv (D, C, P, P)
        + width  # ln_pre
        + sizes["num_hidden_layers"] * (attention + mlp + 2 * width)  # and two RMS norms
    )


_QWEN = {
    "depth": 32, "in_channels": 3, "patch_size": 14, "temporal_patch_size": 2, "spatial_merge_size": 2,
    "mlp_ratio": 4, "embed_dim": 1280, "hidden_size": 3584, "intermediate_size": 3420, "out_hidden_size": 3584,
    "num_position_embeddings": 2304,
}  # fmt: skip
_QWEN3 = _QWEN | {"depth": 27, "patch_size": 16, "hidden_size": 1152, "intermediate_size": 4304}


def _qwen2(values: Mapping[str, Any], _outer: Mapping[str, Any], _d_model: int) -> VisionParams:
    """Qwen2-VL: Wang et al. 2024, https://arxiv.org/abs/2409.12191; ``hidden_size`` is the language model's."""
    sizes = _Sizes(values, _QWEN)
    width, hidden = sizes["embed_dim"], sizes["embed_dim"] * sizes["mlp_ratio"]
    mlp = 2 * width * hidden + hidden + width  # fc1 (F, D) and fc2 (D, F), with biases
    layer = _qwen_attention(width) + mlp + 2 * 2 * width  # and two layer norms
    encoder = _qwen_patches(sizes, width) + sizes["depth"] * layer
    return VisionParams(encoder, _qwen_merger(sizes, width, sizes["hidden_size"], norm=2 * width))


def _qwen2_5(values: Mapping[str, Any], _outer: Mapping[str, Any], _d_model: int) -> VisionParams:
    """Qwen2.5-VL: Bai et al. 2025, https://arxiv.org/abs/2502.13923."""
    sizes = _Sizes(values, _QWEN)
    width, hidden = sizes["hidden_size"], sizes["intermediate_size"]
    mlp = 3 * width * hidden + 2 * hidden + width  # gate, up and down, with biases
    layer = _qwen_attention(width) + mlp + 2 * width  # and two RMS norms
    encoder = _qwen_patches(sizes, width) + sizes["depth"] * layer
    return VisionParams(encoder, _qwen_merger(sizes, width, sizes["out_hidden_size"], norm=width))


def _qwen3(values: Mapping[str, Any], _outer: Mapping[str, Any], _d_model: int) -> VisionParams:
    """Qwen3-VL and Qwen3.5: https://arxiv.org/abs/2511.21631; Qwen3-VL merges the outputs of some layers too."""
    sizes = _Sizes(values, _QWEN3)
    width, hidden, outputs = sizes["hidden_size"], sizes["intermediate_size"], sizes["out_hidden_size"]
    mlp = 2 * width * hidden + hidden + width  # linear_fc1 (F, D) and linear_fc2 (D, F), with biases
    layer = _qwen_attention(width) + mlp + 2 * 2 * width  # and two layer norms
    encoder = (
        _qwen_patches(sizes, width) + width  # with a bias
        + sizes["num_position_embeddings"] * width  # pos_embed
        + sizes["depth"] * layer
    )  # fmt: skip
    return VisionParams(encoder, _qwen_merger(sizes, width, outputs, norm=2 * width))


def _qwen3_vl(values: Mapping[str, Any], outer: Mapping[str, Any], d_model: int) -> VisionParams:
    last = _qwen3(values, outer, d_model)
    sizes = _Sizes(values, _QWEN3)
    indexes = values.get("deepstack_visual_indexes", [8, 16, 24])
    if not isinstance(indexes, list):
        raise _InvalidSizeError
    width, outputs = sizes["hidden_size"], sizes["out_hidden_size"]
    merged = sizes["spatial_merge_size"] ** 2 * width
    deep = _qwen_merger(sizes, width, outputs, norm=2 * merged)  # its norm follows the merge
    return last._replace(projector=last.projector + len(indexes) * deep)


def _qwen_patches(sizes: _Sizes, width: int) -> int:
    """Return the parameters of ``patch_embed.proj`` (D, C, frames, P, P) without its bias."""
    return width * sizes["in_channels"] * sizes["temporal_patch_size"] * sizes["patch_size"] ** 2


def _qwen_attention(width: int) -> int:
    return (
        3 * (width * width + width)  # qkv (3 × D, D) and its bias
        + width * width + width  # proj (D, D) and its bias
    )  # fmt: skip


def _qwen_merger(sizes: _Sizes, width: int, outputs: int, *, norm: int) -> int:
    merged = sizes["spatial_merge_size"] ** 2 * width  # M² × D
    return (
        norm
        + merged * merged + merged  # (M² × D, M² × D) and its bias
        + merged * outputs + outputs  # (H, M² × D) and its bias
    )  # fmt: skip


_Count = Callable[[Mapping[str, Any], Mapping[str, Any], int], VisionParams | None]
_FAMILIES: dict[str, _Count] = {
    "aya_vision": _aya_vision,
    "gemma3": _gemma3,
    "idefics3": _idefics3,
    "internvl": _internvl,
    "llama4": _llama4,
    "llava": _llava,
    "llava_next": _llava_next,
    "llava_onevision": _llava_onevision,
    "mistral3": _mistral3,
    "paligemma": _paligemma,
    "qwen2_vl": _qwen2,
    "qwen2_5_vl": _qwen2_5,
    "qwen3_vl": _qwen3_vl,
    "qwen3_5": _qwen3,
    "qwen3_5_moe": _qwen3,
    "smolvlm": _idefics3,
}
