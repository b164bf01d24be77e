"""A tinylm model and the transformers model it came from compute the same, and export and import are exact."""

from __future__ import annotations

import inspect
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.interop.families import FAMILIES, VOCAB, configs
from tests.small_models import randomize
from tinylm_cli.config.canonical import canonical_fields
from tinylm_cli.config.loader import LoadedConfig
from tinylm_cli.interop import families
from tinylm_cli.interop.export_config import export_config
from tinylm_cli.interop.load import import_config
from tinylm_cli.interop.weights.export_weights import export_model
from tinylm_cli.interop.weights.import_weights import import_weights
from tinylm_cli.interop.weights.load_model import open_model
from tinylm_cli.model import TinyTransformerLM
from tinylm_cli.model.checkpoint import load_model
from tinylm_cli.model.generation import decode
from tinylm_cli.model.sampling import SamplingParams

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

TOLERANCE = 1e-5
EXAMPLES = 3
LENGTH = 20

WITHOUT_CACHE_IN_OUTPUT = ("recurrent_gemma",)
"""Families whose code in transformers does not return the cache, so that it is given an empty one to fill."""

WITHOUT_START = ("bamba",)
"""Families whose code in transformers begins at position 0 with a cache too, unless it is given the positions."""


@contextmanager
def imported(family: str, keys: dict[str, Any]) -> Iterator[tuple[Any, LoadedConfig, TinyTransformerLM, Path]]:
    """Yield a random model of transformers, its config as ours reads it, the model as ours, and the folders' parent."""
    theirs = random_model(family, keys)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        theirs.save_pretrained(folder / "theirs")
        found = import_config(str(folder / "theirs"))
        import_weights(found.loaded.config, found.family, folder / "theirs", folder / "ours", config_text="")
        yield theirs, found.loaded, load_model(found.loaded.config, folder / "ours").eval(), folder


def random_model(family: str, keys: dict[str, Any]) -> Any:
    """Return a model of transformers whose norms and biases are as random as the rest."""
    config = transformers.AutoConfig.for_model(family, **keys)
    config._attn_implementation = config._experts_implementation = "eager"  # theirs of experts wants widths of 16 bytes
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    randomize(model)
    return model


def read_on(theirs: Any, tokens: Tensor, kept: Any, start: int) -> tuple[Tensor, Any]:
    """Return the logits of the next tokens, and what transformers keeps of them, by either of its names for that."""
    accepted = inspect.signature(theirs.forward).parameters
    name = "cache" if "cache" in accepted else "past_key_values"
    if kept is None and theirs.config.model_type in WITHOUT_CACHE_IN_OUTPUT:
        kept = transformers.DynamicCache(config=theirs.config)
    keys: dict[str, Any] = {name: kept}
    if theirs.config.model_type in WITHOUT_START:
        keys["position_ids"] = torch.arange(start, start + tokens.shape[1])[None]
    out = theirs(tokens, use_cache=True, **keys)
    return out.logits, getattr(out, name, kept)


def ids(length: int = LENGTH) -> Tensor:
    return torch.randint(VOCAB, (2, length), generator=torch.Generator().manual_seed(1))


def assert_near(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        pytest.param(family, keys, id=f"{family}-{number}")
        for family in FAMILIES
        for number, keys in enumerate(configs(family, EXAMPLES), start=1)
    ],
)
def test_model(family: str, keys: dict[str, Any]) -> None:
    """Each comparison is made for every example, because random models take longer to build than to compare."""
    with imported(family, keys) as (theirs, loaded, ours, folder), torch.no_grad():
        expected = theirs(ids(), use_cache=False).logits
        compare_whole_sequences(theirs, ours, folder, expected)
        compare_decoding_with_a_cache(theirs, loaded, ours)
        export_and_import_again(loaded, ours, folder, expected)


def compare_whole_sequences(theirs: Any, ours: TinyTransformerLM, folder: Path, expected: Tensor) -> None:
    opened = open_model(folder / "theirs").eval()
    assert all(map(torch.equal, opened.state_dict().values(), ours.state_dict().values()))
    assert_near(opened(ids()), expected)
    assert_near(ours(ids()), expected)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters() if p.requires_grad)


def compare_decoding_with_a_cache(theirs: Any, loaded: LoadedConfig, ours: TinyTransformerLM) -> None:
    """Past the window, and past the length a rotation was first made for."""
    read = ids(3)
    kept = None
    unread = read
    whole = loaded.config.position.scaling in ("dynamic", "longrope")  # theirs keeps keys turned in another way
    for step in decode(ours, read, 12, sampling=SamplingParams(temperature=0.0)):
        if whole:
            logits = theirs(read, use_cache=False).logits
        else:
            logits, kept = read_on(theirs, unread, kept, read.shape[1] - unread.shape[1])
        assert_near(step.logits, logits[:, -1])
        unread = step.tokens[:, None]
        read = torch.cat((read, unread), dim=1)


def export_and_import_again(loaded: LoadedConfig, ours: TinyTransformerLM, folder: Path, expected: Tensor) -> None:
    """What is exported loads without a missing or an unexpected tensor, and comes back to the bit."""
    choice = export_config(loaded.config)
    assert choice.changes == ()
    export_model(ours, choice, folder / "out")
    again, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "out", output_loading_info=True, attn_implementation="eager", experts_implementation="eager"
    )
    names = families.FAMILIES[choice.family].keys.tensor_names
    recomputed = {name for name in report["missing_keys"] if names.is_recomputed(name)}
    assert report.pop("missing_keys") == recomputed
    assert not any(report.values())
    assert_near(again.eval()(ids(), use_cache=False).logits, expected)
    found = import_config(str(folder / "out"))
    import_weights(found.loaded.config, found.family, folder / "out", folder / "back", config_text="")
    assert canonical_fields(found.loaded.config) == canonical_fields(loaded.config)  # maybe of another family
    export_model(load_model(loaded.config, folder / "back"), choice, folder / "out-again")
    for name in ("config.json", "model.safetensors"):
        assert (folder / "out" / name).read_bytes() == (folder / "out-again" / name).read_bytes()


VISION = {
    "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 8,
    "patch_size": 4,
}  # fmt: skip
QWEN_VISION = {
    "depth": 1, "hidden_size": 16, "num_heads": 2, "embed_dim": 16, "patch_size": 4, "out_hidden_size": 16,
    "intermediate_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 4,
}  # fmt: skip
M_ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}

MULTIMODAL: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gemma3": (
        {"sliding_window": 5, "query_pre_attn_scalar": 7, "layer_types": ["sliding_attention", "full_attention"]},
        {"vision_config": VISION, "mm_tokens_per_image": 4},
    ),
    "llava": ({"model_type": "mistral", "sliding_window": 5}, {"vision_config": {"model_type": "pixtral", **VISION}}),
    "mistral3": ({"model_type": "mistral"}, {"vision_config": {"model_type": "pixtral", **VISION}}),
    "qwen2_vl": ({"rope_parameters": M_ROPE}, {"vision_config": QWEN_VISION}),
    "qwen2_5_vl": ({"rope_parameters": M_ROPE}, {"vision_config": QWEN_VISION}),
    "qwen3_vl": ({"rope_parameters": M_ROPE}, {"vision_config": QWEN_VISION}),
}
"""Keys of the language model, and of the whole model, of each multimodal family."""

LLAVA_ROOTS = ("language_model.model.", "model.language_model.")
QWEN_ROOTS = ("model.",)
ROOTED = [(family, index % 2 == 0, "") for index, family in enumerate(MULTIMODAL)] + [
    (family, family != "mistral3", root)
    for family, roots in (("gemma3", LLAVA_ROOTS), ("mistral3", LLAVA_ROOTS), ("qwen2_vl", QWEN_ROOTS))
    for root in roots
]
"""A family, whether its LM head is tied, and where a checkpoint stores the language model."""


@pytest.mark.parametrize(("family", "tied", "root"), ROOTED)
def test_multimodal(family: str, root: str, tmp_path: Path, *, tied: bool) -> None:
    """Whatever version saved it, the language model is loaded, and the names of other parts are skipped."""
    more, others = MULTIMODAL[family]
    text = {
        "vocab_size": VOCAB, "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
        "num_hidden_layers": 2, "intermediate_size": 24, "max_position_embeddings": 32, "pad_token_id": 0,
        "tie_word_embeddings": tied, **more,
    }  # fmt: skip
    config = transformers.AutoConfig.for_model(family, text_config=text, tie_word_embeddings=tied, **others)
    theirs = transformers.AutoModelForImageTextToText.from_config(config).eval()
    randomize(theirs)
    theirs.save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs" / "model.safetensors"
    if root:
        save_file({_rooted(name, root): tensor for name, tensor in load_file(file).items()}, file)
    found = import_config(str(tmp_path / "theirs"))
    converted = import_weights(found.loaded.config, family, tmp_path / "theirs", tmp_path / "ours", config_text="")
    ours = load_model(found.loaded.config, tmp_path / "ours").eval()
    assert len(converted.skipped) + len(converted.shapes) == len(load_file(file))
    assert all(re.search(r"vision_tower|multi_modal_projector|visual", name) for name in converted.skipped)
    with torch.no_grad():
        assert_near(ours(ids()), theirs(input_ids=ids(), use_cache=False).logits)


def _rooted(name: str, root: str) -> str:
    """Return a name as older or newer versions of transformers have it."""
    text = name.removeprefix("language_model.model.").removeprefix("model.language_model.")
    if text != name:
        return root + text
    older = root.startswith("language_model")
    if name.endswith("lm_head.weight"):
        return "language_model.lm_head.weight" if older else "lm_head.weight"
    other = name.removeprefix("model.")
    return other if older else f"model.{other}"
