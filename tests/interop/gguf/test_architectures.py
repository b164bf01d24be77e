"""The tensor names of each architecture against the map of names that the converters of llama.cpp use."""

from __future__ import annotations

import pytest
from gguf.constants import MODEL_TENSORS, TENSOR_NAMES
from gguf.tensor_mapping import TensorNameMap

from tests.interop.changes import CONFIGS
from tinylm_cli.analysis.tensor_table import stored_shapes
from tinylm_cli.config.schema import ModelConfig
from tinylm_cli.interop.families import FAMILIES
from tinylm_cli.interop.gguf.architectures import ARCHITECTURES, READ_ONLY, architectures_named
from tinylm_cli.interop.heads import tensor_names_of
from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.tensor_names import TensorNames
from tinylm_cli.interop.tensor_pairs import tensor_pairs

MODELS = {model_type: f"{model_type}.json" for model_type in ARCHITECTURES} | {"falcon 40B": "falcon-new.json"}

RENAMED = {
    "transformer.word_embeddings_layernorm.weight": "token_embd_norm.weight",
    "transformer.word_embeddings_layernorm.bias": "token_embd_norm.bias",
    "model.embedding_norm.weight": "token_embd_norm.weight",
}
"""Tensors that a converter renames before it looks them up."""


def names_by_part(config: ModelConfig, names: TensorNames) -> dict[str, tuple[str, ...]]:
    """Return the stored tensors that hold each tensor of the model; of several experts, the first."""
    found: dict[str, tuple[str, ...]] = {}
    for pair in tensor_pairs(config, names, stored_shapes(config)):
        for part in pair.parts:
            if not isinstance(part.selection, int) or part.selection == 0:
                found[part.name] = (*found.get(part.name, ()), pair.stored)
    return found


@pytest.mark.parametrize("model", MODELS)
def test_names_of_converters(model: str) -> None:
    """A tensor that transformers stores under one name is stored under the name that gguf maps it to."""
    config = load_config(str(CONFIGS / MODELS[model])).config
    model_type = model.partition(" ")[0]
    architecture = ARCHITECTURES[model_type]
    mapped = TensorNameMap(architecture.arch, config.n_layers)
    ours = names_by_part(config, architecture.tensors_of(config))
    theirs = names_by_part(config, tensor_names_of(model_type, config))
    assert ours.keys() == theirs.keys() == stored_shapes(config).keys()
    compared = 0
    for part, (stored,) in theirs.items():
        name = stored.replace(".experts.0.", ".experts.").replace("transformer.h.", "h.")
        wanted = (
            RENAMED.get(stored)
            or mapped.get_name(name, (".weight", ".bias"))
            or mapped.get_name(stored, (".weight", ".bias"))
        )
        if wanted is not None:
            assert ours[part] in ((wanted,), (f"{wanted}.weight",), (f"{wanted}.bias",)), part
            compared += 1
    assert compared >= 0.6 * len(ours)


@pytest.mark.parametrize("model", MODELS)
def test_tensors_of_architecture(model: str) -> None:
    """Every stored tensor is one that gguf lists for the architecture."""
    config = load_config(str(CONFIGS / MODELS[model])).config
    architecture = ARCHITECTURES[model.partition(" ")[0]]
    listed = {TENSOR_NAMES[tensor] for tensor in MODEL_TENSORS[architecture.arch]}
    for names in names_by_part(config, architecture.tensors_of(config)).values():
        for name in names:
            stem = name.removesuffix(".weight").removesuffix(".bias")
            layer = stem.split(".")[1] if stem.startswith("blk.") else ""
            assert stem.replace(f"blk.{layer}.", "blk.{bid}.", 1) in listed or stem.startswith("output"), name


def test_families() -> None:
    for model_type, architecture in ARCHITECTURES.items():
        assert architecture.model_type == model_type in FAMILIES
        assert architecture in architectures_named(architecture.name)
        assert not architectures_named(architecture.name)[-1].requires, "a file without any of the keys has a family"
    assert architectures_named("unheard-of") == ()


@pytest.mark.parametrize("family", READ_ONLY)
def test_keys_and_values_of_latent_attention(family: str) -> None:
    """Old files store the projection to keys and values as one tensor, new ones as two."""
    old = READ_ONLY[family].tensors_in(["blk.0.attn_kv_b.weight"])
    new = READ_ONLY[family].tensors_in(["blk.0.attn_k_b.weight", "blk.0.attn_v_b.weight"])
    assert (old.layer["attention.kv_b_proj"], old.splits) == ("attn_kv_b", ())
    assert [split.stored for split in new.splits] == [("attn_k_b.weight", "attn_v_b.weight")]
