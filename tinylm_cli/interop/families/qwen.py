"""Qwen: 2 and 2.5 with biases on q, k and v; 3 with norms on q and k instead; and 3's mixture of experts."""

from __future__ import annotations

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.family import LLAMA_LIKE, Family, Must, usual
from tinylm_cli.interop.key_reader import Reader
from tinylm_cli.interop.key_writers import Keys, layer_types, rope_keys, window_keys, windows_keys
from tinylm_cli.interop.rope import rope
from tinylm_cli.interop.sliding_windows import window_by_layer
from tinylm_cli.interop.tensor_names import EXPERT_NAMES, LLAMA_NAMES


def _upper_layers(read: Reader, n_layers: int) -> tuple[str, str] | None:
    """Layers from ``max_window_layers`` up have a window, where ``use_sliding_window`` turns it on."""
    below = read.integer("max_window_layers", least=0)
    if read.flag("use_sliding_window") is not True:
        return None
    below = min(below or 0, n_layers)
    return "G" * below + "L" * (n_layers - below), "max_window_layers"


_WINDOWS = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}


def _switched_windows(config: ModelConfig) -> Keys:
    """Return windows as Qwen has them: turned on by a key of their own, from some layer up."""
    if config.attention.window is None:
        return {"use_sliding_window": False}
    types = layer_types(config)
    return {
        "use_sliding_window": True,
        "max_window_layers": types.index("sliding_attention"),
        **windows_keys(config),
    }


QWEN2 = Family(
    model_type="qwen2",
    architecture="Qwen2ForCausalLM",
    title="Qwen2 and Qwen2.5",
    always={**LLAMA_LIKE, "attention.bias": True, "attention.out_bias": False},
    fields=usual(
        vocab_size=151936, hidden_size=4096, intermediate_size=22016, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=32, head_dim=None, hidden_act="silu", max_position_embeddings=32768, rms_norm_eps=1e-6,
        tie_word_embeddings=False,
    ),
    defaults=_WINDOWS,
    compute=(rope(), window_by_layer(_upper_layers)),
    names=LLAMA_NAMES,
    write=(rope_keys, _switched_windows),
)  # fmt: skip

QWEN3 = Family(
    model_type="qwen3",
    architecture="Qwen3ForCausalLM",
    title="Qwen3",
    always={**LLAMA_LIKE, "attention.qk_norm": "per_head"},
    fields=usual(
        vocab_size=151936, hidden_size=4096, intermediate_size=22016, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=32, head_dim=128, hidden_act="silu", max_position_embeddings=32768, rms_norm_eps=1e-6,
        tie_word_embeddings=False, attention_bias=False,
    ),
    defaults=_WINDOWS,
    compute=(rope(), window_by_layer(_upper_layers)),
    names=LLAMA_NAMES,
    write=(rope_keys, _switched_windows),
)  # fmt: skip


def _window_everywhere(read: Reader) -> None:
    """All layers have a window, where ``use_sliding_window`` turns it on."""
    width = read.integer("sliding_window")
    read.understood.add("max_window_layers")  # written by old versions, and read by none
    if read.flag("use_sliding_window") is True:
        read.put("attention.window", width, "sliding_window")


def _experts(read: Reader) -> None:
    """Which layers have experts: all, all but the first few, or none."""
    n_experts, n_layers = read.integer("num_experts", least=0), read.value("n_layers")
    step, dense = read.integer("decoder_sparse_step"), read.integers("mlp_only_layers") or []
    if step not in (None, 1):
        read.unsupported("decoder_sparse_step", "only leading layers can be without experts")
    first = sorted(set(dense))
    if first != list(range(len(first))):
        read.unsupported("mlp_only_layers", "only leading layers can be without experts", "for example [0, 1]")
        first = []
    if not n_experts or (isinstance(n_layers, int) and len(first) >= n_layers):
        for field in ("top_k", "d_expert", "router", "renormalize"):
            read.put(f"feed_forward.{field}", None)
        return
    read.put("feed_forward.n_experts", n_experts, "num_experts")
    if first:
        read.put("feed_forward.n_dense_layers", len(first), "mlp_only_layers")


def _expert_keys(config: ModelConfig) -> Keys:
    dense = list(range(config.feed_forward.n_dense_layers))
    windowed = {"use_sliding_window": config.attention.window is not None, **window_keys(config)}
    return {
        **windowed,
        "num_experts": config.feed_forward.n_experts,
        "mlp_only_layers": dense,
        "decoder_sparse_step": 1,
    }


QWEN3_MOE = Family(
    model_type="qwen3_moe",
    architecture="Qwen3MoeForCausalLM",
    title="Qwen3 with experts",
    always={**LLAMA_LIKE, "attention.qk_norm": "per_head", "feed_forward.router": "softmax"},
    fields={
        **usual(
            vocab_size=151936, hidden_size=2048, intermediate_size=6144, num_hidden_layers=24, num_attention_heads=32,
            num_key_value_heads=4, head_dim=None, hidden_act="silu", max_position_embeddings=32768, rms_norm_eps=1e-6,
            tie_word_embeddings=False, attention_bias=False, moe_intermediate_size=768, num_experts_per_tok=8,
        ),
        "norm_topk_prob": ("feed_forward.renormalize", False),
    },
    musts={"mlp_bias": Must((False,), "this family's code has no such biases")},
    defaults={"use_sliding_window": False, "sliding_window": 4096, "num_experts": 128, "decoder_sparse_step": 1},
    compute=(rope(), _window_everywhere, _experts),
    aliases={"num_local_experts": "num_experts"},
    names=EXPERT_NAMES,
    write=(rope_keys, _expert_keys),
)  # fmt: skip
