"""Phi by Microsoft: 1, 1.5 and 2 in parallel with one norm; 3 and 4 in the shape of Llama."""

from __future__ import annotations

from tinylm_cli.interop.family import LLAMA_LIKE, Family, Must, usual
from tinylm_cli.interop.parts import rope, window
from tinylm_cli.interop.reader import Reader


def _query_key_norms(read: Reader) -> None:
    """Queries and keys have norms of the width of a head where ``qk_layernorm`` is true."""
    if read.flag("qk_layernorm") is True:
        read.put("attention.qk_norm", "per_head", "qk_layernorm")


PHI = Family(
    model_type="phi",
    architecture="PhiForCausalLM",
    title="Phi, up to 2",
    always={
        "embedding.multiplier": 1.0,
        "position.kind": "rope",
        "block.parallel": True,
        "block.shared_norm": True,
        "head.bias": True,
    },
    fields=usual(
        vocab_size=51200, hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_attention_heads=32,
        num_key_value_heads=None, head_dim=None, hidden_act="gelu_new", max_position_embeddings=2048, resid_pdrop=0.0,
        layer_norm_eps=1e-5, tie_word_embeddings=False,
    ),
    compute=(rope(fraction=0.5), _query_key_norms),
)  # fmt: skip

PHI3 = Family(
    model_type="phi3",
    architecture="Phi3ForCausalLM",
    title="Phi 3 and 4",
    always=LLAMA_LIKE,
    fields=usual(
        vocab_size=32064, hidden_size=3072, intermediate_size=8192, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=None, head_dim=None, hidden_act="silu", max_position_embeddings=4096, resid_pdrop=0.0,
        rms_norm_eps=1e-5, tie_word_embeddings=False,
    ),
    musts={
        "attention_bias": Must((False,), "this family's code has no biases"),
        "mlp_bias": Must((False,), "this family's code has no biases"),
    },
    ignored=frozenset(["original_max_position_embeddings"]),  # read only where positions are stretched
    defaults={"original_max_position_embeddings": 4096, "sliding_window": None},
    compute=(rope(fraction=1.0, renamed={"su": "longrope", "yarn": "longrope"}), window),
)  # fmt: skip
