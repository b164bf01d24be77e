"""llama.cpp tokenizes with an exported tokenizer as the tokenizers library does; other tokenizers are left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.interop.gguf.llama_cpp import token_ids
from tests.interop.gguf.small_configs import config_of
from tinylm_cli.errors import UnableError
from tinylm_cli.interop.gguf.export_plan import plan_gguf
from tinylm_cli.interop.gguf.vocabulary import PRE_TOKENIZERS, vocabulary_metadata
from tinylm_cli.interop.load import load_config
from tinylm_cli.interop.weights.export_gguf import export_gguf
from tinylm_cli.model import TinyTransformerLM

VOCAB, LAST = 520, 1
TEXTS = [
    "Once upon a time, and once more upon a time.",
    "  two spaces\n\n\nthree lines\t tabs  ",
    "I'LL say it's 1234567 o'clock; we've 12 of 345!",
    "naïve café — 日本語のテキスト, Привет мир",
    "emoji 🚀🦙 and <|end|> special <extra> tokens",
    "",
]
PATTERNS = {name: pattern for pattern, name in PRE_TOKENIZERS.items()}


def tokenizer(pre_tokenizer: str, *, first: bool = False) -> Tokenizer:
    """Return a tokenizer with merges of the texts, two special tokens and one that is added, but not special."""
    made = Tokenizer(models.BPE(ignore_merges=pre_tokenizer == "llama-bpe"))
    if pre_tokenizer == "gpt-2":
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        split = pre_tokenizers.Split(Regex(PATTERNS[pre_tokenizer]), "isolated")
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|begin|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXTS * 3, trainer)
    made.add_tokens([AddedToken("<extra>", normalized=False)])
    if first:
        made.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)]),
            ]
        )
    return made


def write(folder: Path, made: Tokenizer, **keys: Any) -> Path:
    """Write a model folder with a tokenizer, and return its tokenizer.json."""
    config = {**config_of("llama"), "vocab_size": VOCAB, "eos_token_id": LAST, **keys}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("pre_tokenizer", ["gpt-2", *PATTERNS])
def test_tokens_of_llama_cpp(pre_tokenizer: str, first: bool, tmp_path: Path) -> None:
    made = tokenizer(pre_tokenizer, first=first)
    path = write(tmp_path / "in", made)
    config = load_config(str(tmp_path / "in")).config
    plan = plan_gguf(config, "x", path)
    assert (plan.tokenizer, plan.tokenizer_problem) == (pre_tokenizer, "")
    export_gguf(TinyTransformerLM.from_config(config), plan, "F32", tmp_path / "model.gguf")
    assert token_ids(tmp_path / "model.gguf", TEXTS) == [made.encode(text).ids for text in TEXTS]


def test_metadata(tmp_path: Path) -> None:
    made = tokenizer("qwen2", first=True)
    found = vocabulary_metadata(write(tmp_path, made), VOCAB)
    size = made.get_vocab_size()
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    assert isinstance(tokens, list)
    assert isinstance(types, list)
    assert len(tokens) == len(types) == VOCAB
    assert tokens[:size] == [made.id_to_token(index) for index in range(size)]
    assert tokens[size:] == [f"[PAD{index}]" for index in range(size, VOCAB)]
    # control, control, normal, user-defined and unused
    assert (types[0], types[1], types[2], types[size - 1], types[size]) == (3, 3, 1, 4, 5)
    ends = {key.removeprefix("tokenizer.ggml."): value for key, value in found.items() if not isinstance(value, list)}
    assert ends == {
        "model": "gpt2",
        "pre": "qwen2",
        "bos_token_id": 0,
        "eos_token_id": LAST,
        "add_bos_token": True,
        "add_eos_token": False,
    }


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda each: each["model"].update(type="Unigram"), "a model other than BPE"),
        (lambda each: each["model"].update(ignore_merges=True), "another value of ignore_merges"),
        (lambda each: each["model"].update(byte_fallback=True), "byte fallback"),
        (lambda each: each["model"].update(merges=[]), "has no merges"),
        (lambda each: each.update(normalizer={"type": "Lowercase"}), "a normalizer other than NFC"),
        (lambda each: each["pre_tokenizer"].update(type="Whitespace"), "a pre-tokenizer other than those of"),
        (lambda each: each["pre_tokenizer"].update(add_prefix_space=True), "a pre-tokenizer other than those of"),
        (
            lambda each: each["model"]["vocab"].update(far=VOCAB),
            "token id 520 of tokenizer.json is outside the vocabulary of 520",
        ),
        (lambda each: each.update(model=None), "is not a byte-level BPE tokenizer"),
        (lambda each: each.update(post_processor={"type": "BertProcessing"}), "the post-processor BertProcessing"),
    ],
)
def test_problems(change: Change, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path, tokenizer("gpt-2"))
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(UnableError, match=problem):
        vocabulary_metadata(path, VOCAB)
    plan = plan_gguf(load_config(str(tmp_path)).config, "x", path)
    assert plan.tokenizer is None
    assert problem in plan.tokenizer_problem
    assert plan.metadata["tokenizer.ggml.model"] == "none"


def test_last_token(tmp_path: Path) -> None:
    path = write(tmp_path, tokenizer("gpt-2"), eos_token_id=None)
    with pytest.raises(UnableError, match="states no eos_token_id"):
        vocabulary_metadata(path, VOCAB)
    write(tmp_path, tokenizer("gpt-2"), eos_token_id=[LAST, 2])
    assert vocabulary_metadata(path, VOCAB)["tokenizer.ggml.eos_token_id"] == LAST


def test_normal_form(tmp_path: Path) -> None:
    """Qwen's tokenizer normalizes to NFC, which llama.cpp expects of its callers."""
    made = tokenizer("qwen2")
    made.normalizer = normalizers.NFC()
    assert vocabulary_metadata(write(tmp_path, made), VOCAB)["tokenizer.ggml.pre"] == "qwen2"
