"""Sapient's HRM-Text: a low- and a high-level module of equally many layers, which run in turn several times."""

from typing import Annotated, Any

from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop import shared_keys as key
from tinylm_cli.interop.rope_scaling import RopeKeys
from tinylm_cli.interop.tensor_names import EMBEDDING, GATE_UP, QKV, Fused, TensorNames
from tinylm_cli.interop.translation import Translation

_GATE_QKV = ("attention.gate_proj", *QKV)
_NO_GROUPS = "this family's code gives each head keys and values of its own"


class HrmTextKeys(key.LlamaLikeKeys, RopeKeys):
    """``HrmTextConfig``: norms without weights, gated attention, and embeddings scaled by their standard deviation.

    ``num_hidden_layers`` counts a layer once for each pass, if ``num_layers_per_stack`` gives the layers of a module.
    """

    constants = {**key.LLAMA_LIKE, "norm.weight": False, "attention.gate": True}
    tensor_names = TensorNames(
        top_level={EMBEDDING: "model.embed_tokens", "lm_head": "lm_head"},
        prefix="model.H_module.layers.{i}.",
        low_prefix="model.L_module.layers.{i}.",
        layer={"attention.o_proj": "attn.o_proj", "feed_forward.down_proj": "mlp.down_proj"},
        tensors=(
            Fused(tuple(f"{name}.weight" for name in _GATE_QKV), "attn.gqkv_proj.weight"),
            Fused(tuple(f"{name}.weight" for name in GATE_UP.names), "mlp.gate_up_proj.weight"),
            # only weights are fused
            *(Fused((f"{name}.bias",), f"{name.replace('attention', 'self_attn')}.bias") for name in _GATE_QKV),
            *(Fused((f"{name}.bias",), f"{name.replace('feed_forward', 'mlp')}.bias") for name in GATE_UP.names),
        ),
        top_level_tensors={"loop.low_init": "model.z_L_init"},
    )
    # which passes have gradients in training, and the mask of tokens with a type
    ignored = ("L_bp_cycles", "prefix_lm")

    vocab_size: key.VocabSize = 151808
    hidden_size: key.DModel = 1536
    intermediate_size: key.DFF = 4096
    num_hidden_layers: key.Size = 16
    num_layers_per_stack: key.OptionalSize = None
    num_attention_heads: key.NHeads = 12
    num_key_value_heads: int | None = key.only(why=_NO_GROUPS)
    head_dim: key.DHead = 128
    rms_norm_eps: key.NormEps = 1e-6
    attention_bias: key.AttentionBias = False
    mlp_bias: key.FeedForwardBias = False
    H_cycles: Annotated[int, *key.fills("loop.n_loops")] = 2
    L_cycles: Annotated[int, *key.fills("loop.n_low_loops")] = 3
    initializer_range: Annotated[float, *key.like("embedding.multiplier")] = 0.02
    embedding_scale: Annotated[float | None, *key.like("embedding.multiplier")] = None

    def to_tinylm(self, to: Translation) -> None:
        """Map both modules, and the scale of the embeddings, whose default is 1 / ``initializer_range``."""
        super().to_tinylm(to)
        scale = self.embedding_scale or 1 / self.initializer_range
        to.put("embedding.multiplier", scale, "embedding_scale", "initializer_range")
        per_module = self.num_layers_per_stack or self.num_hidden_layers
        to.put("n_layers", 2 * per_module, "num_hidden_layers", "num_layers_per_stack")
        to.put("loop.n_low_layers", per_module, "num_hidden_layers", "num_layers_per_stack")
        others = ("num_layers_per_stack", "H_cycles", "L_cycles")
        n_runs = per_module * self.H_cycles * (self.L_cycles + 1)
        if self.num_layers_per_stack is not None and self.num_hidden_layers != n_runs:
            message = f"num_hidden_layers {self.num_hidden_layers} is not the number of layers in all passes, {n_runs}"
            to.contradiction("num_hidden_layers", message, f"write {n_runs}, or omit num_layers_per_stack", *others)

    @classmethod
    def from_tinylm(cls, config: ModelConfig) -> dict[str, Any]:
        """Return the keys, with the number of layers of a module and of all passes."""
        loop, per_module = config.loop, config.n_layers // 2
        scale = config.embedding.multiplier
        return super().from_tinylm(config) | {
            "num_hidden_layers": per_module * (loop.n_loops or 1) * (loop.n_low_loops + 1),
            "num_layers_per_stack": per_module,
            "embedding_scale": config.d_model**0.5 if scale is None else scale,
        }
