"""Seeded inputs of the fuzzer: command lines with the files that they read, a generator for each kind of input.

A generator draws only from the ``Random`` that it receives: ``make_case(seed, number)`` is the same everywhere.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzzing.gguf_files import gguf_file
from tests.fuzzing.mutate import (
    NUMBERS,
    Tensors,
    hostile,
    json_bytes,
    misspell,
    mutate_bytes,
    mutate_json,
    mutate_safetensors,
    mutate_text,
    safetensors_file,
    value,
)

ROOT = Path(__file__).resolve().parents[2]

TOY = "vocab_size: 64\nd_model: 8\nn_heads: 2\nn_layers: 1\nd_ff: 16\nmax_len: 32\ndropout: 0.0\n"
TOY_TENSORS: Tensors = {
    "embedding.token_embedding.embedding.weight": (64, 8),
    **{f"blocks.0.{norm}.{name}": (8,) for norm in ("ln_1", "ln_2") for name in ("weight", "bias")},
    **{f"blocks.0.attention.{name}_proj.weight": (8, 8) for name in "qkvo"},
    **{f"blocks.0.attention.{name}_proj.bias": (8,) for name in "qkvo"},
    "blocks.0.feed_forward.up_proj.weight": (16, 8),
    "blocks.0.feed_forward.up_proj.bias": (16,),
    "blocks.0.feed_forward.down_proj.weight": (8, 16),
    "blocks.0.feed_forward.down_proj.bias": (8,),
    "ln_f.weight": (8,),
    "ln_f.bias": (8,),
}
"""The tensors that ``build --save`` writes for ``TOY``."""

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 37,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_hidden_layers": 1,
    "intermediate_size": 12,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-5,
    "rope_theta": 100.0,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
}
LLAMA_TENSORS: Tensors = {
    "model.embed_tokens.weight": (37, 8),
    "model.layers.0.input_layernorm.weight": (8,),
    "model.layers.0.self_attn.q_proj.weight": (8, 8),
    "model.layers.0.self_attn.k_proj.weight": (4, 8),
    "model.layers.0.self_attn.v_proj.weight": (4, 8),
    "model.layers.0.self_attn.o_proj.weight": (8, 8),
    "model.layers.0.post_attention_layernorm.weight": (8,),
    "model.layers.0.mlp.gate_proj.weight": (12, 8),
    "model.layers.0.mlp.up_proj.weight": (12, 8),
    "model.layers.0.mlp.down_proj.weight": (8, 12),
    "model.norm.weight": (8,),
    "lm_head.weight": (37, 8),
}
"""The tensors of transformers' ``LlamaForCausalLM`` of ``LLAMA``."""

RUNS_MODEL = ("build", "forward", "generate", "check", "export")
"""Commands that allocate a model: they get only small ones."""


@dataclass(frozen=True)
class Case:
    """One input: a command line, and the files in its folder.

    Attributes:
        kind: The generator that made it.
        arguments: The words after ``tinylm``.
        files: Contents by path within the current folder.
        stdin: Standard input.
        environment: Variables to set.
        special: Paths that are not regular files: ``fifo``, ``folder``, ``sparse`` (4 GB of zeros), or the target of a
            symbolic link.
        uses_torch: Whether the command may import torch, which costs time and memory.
    """

    kind: str
    arguments: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)
    stdin: bytes = b""
    environment: Mapping[str, str] = field(default_factory=dict)
    special: Mapping[str, str] = field(default_factory=dict)
    uses_torch: bool = False

    @property
    def command(self) -> str:
        """The verb; empty if the command line has none."""
        return next((word for word in self.arguments if not word.startswith("-")), "")

    def script(self) -> str:
        """Return the command line for a shell that stands in the case's folder."""
        variables = [f"{name}={shlex.quote(text)}" for name, text in self.environment.items()]
        return " ".join([*variables, "tinylm", *map(_quoted, self.arguments)])


def _quoted(word: str) -> str:
    return shlex.quote(word) if word.isprintable() else f"$'{word.encode('unicode_escape').decode()}'"


Generator = Callable[[Random], Case]


@cache
def corpus(*patterns: str) -> tuple[str, ...]:
    """Return the text of every file of the repository that matches a pattern, in order."""
    paths = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    assert paths, patterns
    return tuple(path.read_bytes().decode("utf-8", "surrogateescape") for path in paths)


@cache
def _configs() -> tuple[str, ...]:
    texts = corpus("configs/*.yaml", "configs/gallery/*.yaml", "tests/bad/*.yaml")
    return tuple(text for text in texts if len(text) < 20_000)


@cache
def _accelerators() -> tuple[str, ...]:
    """Return the block of each GPU in the file that ships."""
    (text,) = corpus("configs/hardware/*.yaml")
    return tuple(block for block in re.split(r"\n(?=\S)", text) if not block.startswith("#"))


def _file_name(rng: Random, suffix: str) -> str:
    """Return a name for a file, mostly plain, sometimes hostile, at most 255 bytes."""
    if rng.random() < 0.85:
        return f"m{suffix}"
    stem = hostile(rng).replace("/", "|").replace("\0", "").replace("\ud800", "")
    return f"{stem.encode('utf-8', 'surrogateescape')[:200].decode('utf-8', 'surrogateescape')}{suffix}"


_CI_FORMATS = ("text", "json", "markdown", "github", "sarif", "junit")
_REPORT_FORMATS = ("text", "text", "json", "json", "markdown", "csv", "latex")


def _format(rng: Random, command: str) -> list[str]:
    formats: Sequence[str] = _CI_FORMATS if command in ("validate", "verify", "lint") else _REPORT_FORMATS
    if command in ("import", "export", "generate", "schema"):
        formats = ("text", "json", "markdown")
    return ["--format", rng.choice(formats)]


_ADAPTERS = (("--lora", "r=8"), ("--lora", "r=4,target_modules=q_proj"))
_GGUF_SIZES = (("--gguf", "all"), ("--gguf", "Q4_K_M"))


def _read_config(rng: Random, kind: str, name: str, data: bytes) -> Case:
    """Return a case that reads a config with a random torch-free command."""
    command = rng.choice(
        ("validate", "validate", "validate", "params", "show", "estimate", "compare", "import", "sweep", "lint")
    )
    reference, stdin, files = (name, b"", {name: data}) if rng.random() < 0.9 else ("-", data, {})
    if reference != "-":
        reference = f"./{name}"
    more: dict[str, Sequence[Sequence[str]]] = {
        "validate": ((), (), ("--fix",), ("--diff",), ("--assert", "total_params < 1M")),
        "params": (
            (),
            ("--explain",),
            ("--by", "layer"),
            ("--by", "tensor"),
            ("--convention", "hub"),
            *_ADAPTERS,
            *_GGUF_SIZES,
        ),
        "show": ((), ("--origin",)),
        "estimate": ((), ("--full",), ("--gpu", "h100"), ("--for", "serving"), ("--by", "layer"), *_ADAPTERS),
        "compare": (("tiny",), ("@n_layers=2",), ("--gpu", "a100-80gb", "tiny")),
        "sweep": (("n_layers=1..3",), ("d_ff=8,16", "norm.kind=rmsnorm,layernorm")),
        "import": ((),),
        "lint": ((), ("--tp", "8"), ("--for", "vllm,gguf", "--strict"), ("--gpu", "h100", "--tp", "2")),
    }
    words = [command, reference, *rng.choice(more[command]), *_format(rng, command)]
    return Case(kind, tuple(words), files, stdin)


def yaml_config(rng: Random) -> Case:
    """Return a mutated config: a preset, a published model or a file of tests/bad."""
    valid, others = corpus("configs/*.yaml", "configs/gallery/*.yaml"), _configs()
    text = rng.choice(valid if rng.random() < 0.6 else others)
    return _read_config(rng, "yaml", _file_name(rng, ".yaml"), mutate_text(rng, text, others))


def hugging_face(rng: Random) -> Case:
    """Return a mutated config.json of one of the families, in its structure or in its text."""
    texts = corpus("tests/interop/configs/*.json")
    text = rng.choice(texts)
    structured = rng.random() < 0.75
    data = json_bytes(rng, mutate_json(rng, json.loads(text))) if structured else mutate_text(rng, text, texts)
    name = rng.choice(("config.json", "m.json", "hub/config.json", _file_name(rng, ".json")))
    case = _read_config(rng, "hugging face", name, data)
    if name == "hub/config.json" and case.files:
        words = ("hub" if word == f"./{name}" else word for word in case.arguments)
        return Case(case.kind, tuple(words), case.files)
    return case


def hardware(rng: Random) -> Case:
    """Return a mutated hardware file, which ``estimate`` or ``validate`` reads."""
    blocks = rng.sample(_accelerators(), rng.randrange(1, 4))
    data = mutate_text(rng, "\n".join(blocks), _accelerators())
    name = _file_name(rng, ".yaml")
    gpu = rng.choice(("v100", "h100", re.split(r"[:\s]", blocks[0])[0], value(rng)))
    words = rng.choice(
        (
            ("validate", f"./{name}", *_format(rng, "validate")),
            ("estimate", "tiny", "--gpu", gpu, "--hardware", name, *_format(rng, "estimate")),
            ("estimate", "small", "--gpu", gpu, "--gpus", "8", "--hardware", name, *_format(rng, "estimate")),
            ("compare", "tiny", "small", "--gpu", gpu, "--hardware", name, *_format(rng, "compare")),
        )
    )
    return Case("hardware", words, {name: data})


@cache
def _fields() -> tuple[str, ...]:
    from tinylm_cli.config.fields import fields

    return tuple(fields())


def _override(rng: Random) -> str:
    """Return ``KEY=VALUE``, sometimes with an error in a part."""
    from tinylm_cli.config.fields import fields

    key = rng.choice(_fields())
    known = fields()[key]
    fitting = [str(known.example), *map(str, known.choices), "1", "2"]
    text = rng.choice(fitting) if rng.random() < 0.5 else value(rng)
    if rng.random() < 0.15:
        key = misspell(rng, key) if rng.random() < 0.7 else hostile(rng)
    return f"{key}{'=' if rng.random() < 0.95 else rng.choice((':', ' = ', '==', ''))}{text}"


def overrides(rng: Random) -> Case:
    """Return one to three ``--set`` or ``@`` values."""
    config = rng.choice(("tiny", "small", "llama-3-8b", "deepseek-v2-lite", "gpt-oss-20b", "m.yaml", "m.json"))
    files = {"m.yaml": TOY.encode(), "m.json": json.dumps(LLAMA).encode()}
    changes = [_override(rng) for _ in range(rng.randrange(1, 4))]
    command = rng.choice(("params", "show", "estimate", "validate", "compare", "sweep"))
    if command == "compare" and rng.random() < 0.5:
        words = [command, config, "@" + ",".join(changes)]
    elif command == "sweep":
        words = [command, config, *(f"{change},{value(rng)}" for change in changes)]
    else:
        words = [command, config, *(word for change in changes for word in ("--set", change))]
    return Case("set", (*words, *_format(rng, command)), files)


def plan(rng: Random) -> Case:
    """Return a parallel layout, sometimes with errors."""
    words = []
    for _ in range(rng.randrange(0, 6)):
        key = rng.choice(("dp", "tp", "pp", "cp", "ep", "zero", "mb", "schedule", "vp"))
        text = rng.choice(("1", "2", "2", "4", "8", "3")) if key != "schedule" else rng.choice(("1f1b", "gpipe"))
        if rng.random() < 0.2:
            text = rng.choice((*NUMBERS, hostile(rng)))
        words.append(f"{misspell(rng, key) if rng.random() < 0.05 else key}={text}")
    separator = "," if rng.random() < 0.9 else rng.choice((", ", ";", ",,"))
    written = separator.join(dict.fromkeys(words)) if words and rng.random() < 0.9 else "auto"
    config = rng.choice(("tiny", "small", "llama-3-8b", "qwen3-30b-a3b", "deepseek-v2-lite"))
    gpus = rng.choice(("8", "64", "512", "63", "4096")) if rng.random() < 0.85 else rng.choice(NUMBERS)
    more = rng.choice(
        ((), (), ("--seq-len", "8k"), ("--global-batch-size", rng.choice(NUMBERS)), ("--section", "plan"))
    )
    command = rng.choice(("estimate", "estimate", "estimate", "compare"))
    more = () if command == "compare" else more
    arguments = (command, config, "--gpu", "h100", "--gpus", gpus, "--plan", written, *more, *_format(rng, command))
    return Case("plan", tuple(arguments))


@cache
def _figures() -> Mapping[str, str]:
    """Return every figure that an assertion may name, and the kind of its bound."""
    from tinylm_cli.analysis.budget_check import ASSERTABLE

    return {name: str(kind) for name, kind in ASSERTABLE.items()}


_BOUNDS = {
    "count": ("130M", "1e9", "0"),
    "size": ("2GiB", "1.5 GB", "0"),
    "flops": ("1e12", "2G"),
    "share": ("5%", "0.1"),
}


def assertion(rng: Random) -> Case:
    """Return one or two values of ``--assert``."""
    words = ["validate", rng.choice(("small", "tiny", "gpt2", "m.yaml"))]
    for _ in range(rng.randrange(1, 3)):
        known = rng.choice(list(_figures()))
        figure = known if rng.random() < 0.9 else rng.choice((hostile(rng), value(rng), "params"))
        relation = rng.choice(("<", "<=", ">", ">=", "==", "!="))
        bound = rng.choice((*_BOUNDS[_figures()[known]], rng.choice(list(_figures()))))
        if rng.random() < 0.1:
            relation = rng.choice(("=", "=>", "<>", "≤", "", "<<", "!"))
        if rng.random() < 0.2:
            bound = rng.choice((value(rng), rng.choice(NUMBERS), "3 < 5", "1 and 2"))
        written = f"{figure}{rng.choice((' ', '', '  '))}{relation} {bound}"
        words += ["--assert", misspell(rng, written) if rng.random() < 0.1 else written]
    words += _format(rng, "validate")
    return Case("assertion", tuple(words), {"m.yaml": TOY.encode()})


class _Option:
    """An option of a command, and values that fit it."""

    def __init__(self, parameter: Any) -> None:
        self.names = [name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-")]
        self.is_flag = bool(parameter.is_flag)
        self.metavar = parameter.metavar or ""
        self.choices = [str(choice) for choice in getattr(parameter.type, "choices", None) or ()]

    def words(self, rng: Random, *, small: bool) -> list[str]:
        """Return the option with a value; a ``small`` one allocates little if it is valid."""
        name = rng.choice(self.names)
        if self.is_flag:
            return [name]
        if rng.random() < 0.25:
            return [name, hostile(rng) if small else value(rng)]
        return [name, rng.choice(self.choices or _SAMPLES.get(self.metavar, ("1", "2", "8")))]


_SAMPLES = {
    "KEY=VALUE": ("n_layers=2", "norm.kind=rmsnorm", "n_layer=2", "tie_weights=false", "d_ff=", "=1", "max_len=16"),
    "CONFIG": ("m.yaml", "m.json", "absent.yaml", "tiny", ".", "saved", "hub", "", "x" * 300, "HEAD:m.yaml"),
    "NAME|PATH|-": ("m.yaml", "saved", "-"),
    "FILE": ("out.json", "out.md", "out.csv", "out.tex", "out.txt", "m.yaml", "absent/out.json", "-", ".", "gpus.yaml"),
    "DIR": ("saved", "hub", "new", ".", "absent/new", "m.yaml", "x" * 255, "x" * 300),
    "PATH": ("models.0.name", "models.0.total_params", "x", "models.9", "files.0.diagnostics", ".", "..", "a.b.c"),
    "NAME": ("h100", "components", "total_params", "summary", "plan", "serving", "h10", "flops"),
    "PLAN": ("tp=2", "auto", "tp=3,pp=2", "zero=3"),
    "B,B,...": ("1,8,64", "1", "0", "1,,2"),
    "T,T,...": ("4k,32k", "1", "64", "9999999k"),
    "RANGE": ("32..256:32", "2..16", "16..2", "1..", "8"),
    "N,N,...": ("16,32", "8", "0"),
    "COUNT": ("125M", "1M", "1.5B", "0", "1e9"),
    "FLOPS": ("1e18", "1e21", "0"),
    "SHARE": ("0.4", "5%", "40%", "1.5", "0"),
    "IDS|@FILE|-": ("5,12,8", "1 2 3", "-", "@m.yaml", "63,64", "@absent", ""),
    "TEXT": ("Once", "", "é"),
    "BxT": ("1x4", "2x8", "0x1", "1x64", "x", "99999999x1024"),
    "DEVICE": ("cpu", "cuda:9", "meta", "gpu"),
    "TIME": ("20ms", "1s"),
    "RATE": ("10", "100"),
    "REV": ("HEAD", "--output", "x"),
    "FIGURE<BOUND": ("total_params < 130M", "x < 1"),
}
"""Values by the metavar of an option; some are wrong."""


@cache
def _commands() -> Mapping[str, tuple[tuple[_Option, ...], tuple[tuple[str, ...], ...]]]:
    """Return the options of each command, and the examples of its help page, from the application itself."""
    from typer.main import get_command

    from tinylm_cli.cli.app import create_app

    group: Any = get_command(create_app())
    found = {}
    for name, command in group.commands.items():
        options = tuple(_Option(each) for each in command.params if each.param_type_name == "option")
        lines = [line.strip() for line in (command.help or "").splitlines()]
        examples = [shlex.split(line)[1:] for line in lines if line.startswith("tinylm ")]
        found[name] = (options, tuple(map(tuple, examples)) or ((name,),))
    return found


def command_line(rng: Random) -> Case:
    """Return a command line of a torch-free command: options misspelled, doubled, of wrong types, with huge values."""
    names = [name for name in _commands() if name not in RUNS_MODEL]
    return _command_line(rng, rng.choice(names), "command line")


def model_command_line(rng: Random) -> Case:
    """Return a command line of a command that runs a model."""
    return _command_line(rng, rng.choice(RUNS_MODEL), "model command line")


def _command_line(rng: Random, name: str, kind: str) -> Case:
    options, examples = _commands()[name]
    small = name in RUNS_MODEL
    words = list(rng.choice(examples)) if rng.random() < 0.6 else [name]
    if small:
        words = [word if index == 0 or word.startswith("-") else _small(word) for index, word in enumerate(words)]
        words += ["--config", "m.yaml"] if rng.random() < 0.4 else []
    for _ in range(rng.randrange(0, 3)):
        words += rng.choice(options).words(rng, small=small)
    for _ in range(rng.randrange(0, 3)):
        _mutate_words(rng, words, options, small=small)
    if rng.random() < 0.4:
        words += ["--format", rng.choice((*_REPORT_FORMATS, *_CI_FORMATS))]
    words = [_confined(word) for word in words if word not in ("--debug", "--install-completion")]
    stdin = rng.choice((b"", b"", TOY.encode(), b"5 12 8", encode_json(LLAMA), b"\xff\x00"))
    return Case(kind, tuple(words), _folder(), stdin, uses_torch=small or "--weights" in words)


def encode_json(document: Any) -> bytes:
    """Return a JSON document as bytes."""
    return json.dumps(document).encode()


def _small(word: str) -> str:
    """Return a word of an example, or the name of a small model instead of a published one."""
    from tinylm_cli.config.presets import shipped

    return "m.yaml" if word in shipped() or word.endswith((".yaml", "-model")) else word


def _mutate_words(rng: Random, words: list[str], options: Sequence[_Option], *, small: bool) -> None:
    at = rng.randrange(len(words))
    roll = rng.random()
    if roll < 0.2:
        words[at] = misspell(rng, words[at])
    elif roll < 0.3:
        words[at:at] = words[at : at + rng.randrange(1, 3)]
    elif roll < 0.4:
        del words[at]
        words[:] = words or ["params"]
    elif roll < 0.5:
        other = rng.randrange(len(words))
        words[at], words[other] = words[other], words[at]
    elif roll < 0.6 and words[at].startswith("--") and at + 1 < len(words):
        words[at : at + 2] = [f"{words[at]}={words[at + 1]}"]
    elif roll < 0.75:
        words[at] = hostile(rng) if small else value(rng)
    elif roll < 0.85:
        words.insert(at, rng.choice((hostile(rng), "--", "-", "", "--help", "--version", "-h", "-fjson", "--set")))
    else:
        words[at:at] = rng.choice(options).words(rng, small=small)


def _confined(word: str) -> str:
    """Return a word that names no file outside the case's folder: commands write where they are told."""
    return re.sub(r"(^|[^\w.])/", r"\1|", word.replace("../", "..|"))


def _without_nul(word: str) -> str:
    """Return a word without the characters that no command line can contain."""
    return "".join(character for character in word if character != "\0" and not 0xD800 <= ord(character) < 0xDC80)


@cache
def _folder() -> Mapping[str, bytes]:
    """Return the files that command lines name: configs, a saved model, a Hugging Face folder, a hardware file."""
    return {
        "m.yaml": TOY.encode(),
        "m.json": encode_json(LLAMA),
        "gpus.yaml": _accelerators()[0].encode(),
        "saved/config.yaml": TOY.encode(),
        "saved/model.safetensors": safetensors_file(TOY_TENSORS),
        "hub/config.json": encode_json(LLAMA),
        "hub/model.safetensors": safetensors_file(LLAMA_TENSORS),
    }


def safetensors(rng: Random) -> Case:
    """Return a damaged ``model.safetensors`` of a saved model or of a Hugging Face folder."""
    saved = rng.random() < 0.5
    weights = mutate_safetensors(rng, TOY_TENSORS if saved else LLAMA_TENSORS)
    config = ("w/config.yaml", TOY.encode()) if saved else ("w/config.json", encode_json(LLAMA))
    files = {config[0]: config[1], "w/model.safetensors": weights}
    special: dict[str, str] = {}
    if rng.random() < 0.04:
        name = rng.choice(list(files))
        special[name] = rng.choice(("fifo", "folder", "sparse", "/dev/zero", "absent"))
        del files[name]
    if rng.random() < 0.5:
        return Case("safetensors", _verify(rng), files, special=special)
    return Case("safetensors", _read_weights(rng, saved=saved), files, special=special, uses_torch=True)


def _read_weights(rng: Random, *, saved: bool) -> tuple[str, ...]:
    commands = [
        ("forward", "--weights", "w", "--tokens", "5,12"),
        ("generate", "--weights", "w", "-n", "2", "--tokens", "5"),
        ("build", "--weights", "w"),
        ("export", "-o", "out", "--weights", "w"),
    ]
    if not saved:
        commands += [("import", "w", "--weights", "--output", "out")] * 3
    command = rng.choice(commands)
    return (*command, *(["--format", "json"] if rng.random() < 0.4 else []))


def _verify(rng: Random) -> tuple[str, ...]:
    """Return the command that compares the folder with its config, or with one that is changed."""
    changes = ("vocab_size=64", "n_layers=2", "attention.bias=true", "tie_weights=true", "d_ff=24")
    change = ["--set", rng.choice(changes)] if rng.random() < 0.3 else []
    return ("verify", "w", *change, *(["--partial"] if rng.random() < 0.4 else []), *_format(rng, "verify"))


def gguf(rng: Random) -> Case:
    """Return a GGUF file, mostly damaged, that a torch-free command reads."""
    name = f"m{rng.choice(('', '-00001-of-00002'))}.gguf" if rng.random() < 0.1 else _file_name(rng, ".gguf")
    files, special = {name: gguf_file(rng)}, dict[str, str]()
    if rng.random() < 0.03:
        del files[name]
        special[name] = rng.choice(("fifo", "folder", "sparse", "/dev/zero", "absent"))
    command = rng.choice(("verify", "verify", "params", "validate", "estimate", "show", "compare", "lint"))
    return Case("gguf", (command, f"./{name}", *_format(rng, command)), files, special=special)


ADAPTER: dict[str, Any] = {
    "peft_type": "LORA",
    "r": 8,
    "lora_alpha": 16,
    "target_modules": ["q_proj", "v_proj"],
    "modules_to_save": None,
    "bias": "none",
    "rank_pattern": {"layers.0.self_attn.q_proj": 4},
    "layers_to_transform": None,
    "use_dora": False,
    "base_model_name_or_path": "a/b",
}


def adapter(rng: Random) -> Case:
    """Return an adapter_config.json with errors, and the config of a model beside it or given."""
    data = json_bytes(rng, mutate_json(rng, deepcopy(ADAPTER)))
    files = {"a/adapter_config.json": mutate_bytes(rng, data) if rng.random() < 0.1 else data}
    words = ["params", "m.json", "--lora", rng.choice(("a", "a/adapter_config.json"))]
    if rng.random() < 0.3:
        files["a/config.json"] = encode_json(LLAMA)
        words = ["params", "a"]
    files["m.json"] = encode_json(LLAMA)
    words[0] = rng.choice(("params", "params", "estimate"))
    return Case("adapter", (*words, *_format(rng, words[0])), files)


def index_folder(rng: Random) -> Case:
    """Return a Hugging Face folder of several shards, with errors in its index, its shards or its config."""
    names = list(LLAMA_TENSORS)
    cut = rng.randrange(1, len(names))
    shards: dict[str, Tensors] = {
        "model-00001-of-00002.safetensors": {name: LLAMA_TENSORS[name] for name in names[:cut]},
        "model-00002-of-00002.safetensors": {name: LLAMA_TENSORS[name] for name in names[cut:]},
    }
    weight_map: dict[str, Any] = {name: file for file, tensors in shards.items() for name in tensors}
    files: dict[str, bytes] = {"w/config.json": encode_json(LLAMA)}
    for file, tensors in shards.items():
        if rng.random() < 0.1:
            continue
        files[f"w/{file}"] = mutate_safetensors(rng, tensors) if rng.random() < 0.15 else safetensors_file(tensors)
    index: Any = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    if rng.random() < 0.7:
        name = rng.choice(names)
        places = ("../x", "/dev/zero", "", ".", "..", "w/x", "config.json", "\ud800", "x" * 300, hostile(rng), 1, None)
        weight_map[name] = rng.choice(places)
    if rng.random() < 0.3:
        index = mutate_json(rng, index)
    if rng.random() < 0.2:
        config = mutate_json(rng, deepcopy(LLAMA))
        if isinstance(config, dict):
            config = {key: 8 if _is_large(entry) else entry for key, entry in config.items()}
        files["w/config.json"] = encode_json(config)
    text = json_bytes(rng, index)
    if rng.random() < 0.15:
        text = rng.choice((mutate_bytes(rng, text), b"[" * 100_000, b"null", b'{"weight_map": {"' + b"x" * 300_000))
    files["w/model.safetensors.index.json"] = text
    special: dict[str, str] = {}
    if rng.random() < 0.08:
        name = rng.choice(list(files))
        special[name] = rng.choice(("fifo", "folder", "sparse", "/dev/zero", "absent", name.rpartition("/")[2]))
        del files[name]
    if rng.random() < 0.5:
        return Case("index folder", _verify(rng), files, special=special)
    return Case("index folder", _read_weights(rng, saved=False), files, special=special, uses_torch=True)


def _is_large(number: Any) -> bool:
    """Return whether a value could make a model that takes long to build."""
    return isinstance(number, int | float) and abs(number) > 100


def completion(rng: Random) -> Case:
    """Return a request of a shell for completions, in a folder with hostile names."""
    files = {_file_name(rng, ".yaml"): TOY.encode() for _ in range(3)}
    command = rng.choice(list(_commands()))
    words = ["tinylm", command, *(["--set"] if rng.random() < 0.5 else [])]
    words.append(rng.choice(("", "-", "n_", "norm.kind=", "@", "m", hostile(rng).replace("\n", ""), "./")))
    variables = {
        "_TINYLM_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(map(_without_nul, words)),
        "COMP_CWORD": str(len(words) - 1),
    }
    return Case("completion", (), files, environment=variables)


KINDS: dict[str, tuple[Generator, int]] = {
    "yaml": (yaml_config, 24),
    "hugging face": (hugging_face, 20),
    "hardware": (hardware, 8),
    "command line": (command_line, 20),
    "set": (overrides, 12),
    "plan": (plan, 5),
    "assertion": (assertion, 5),
    "completion": (completion, 2),
    "model command line": (model_command_line, 5),
    "safetensors": (safetensors, 6),
    "index folder": (index_folder, 4),
    "gguf": (gguf, 6),
    "adapter": (adapter, 4),
}
"""The generator of each kind, and its share of the inputs."""


def make_case(seed: int, number: int, kinds: Sequence[str] = tuple(KINDS)) -> Case:
    """Return the case of that number; the same seed, number and kinds give the same case."""
    rng = Random(f"{seed}/{number}")
    kind = rng.choices(kinds, [KINDS[name][1] for name in kinds])[0]
    case = KINDS[kind][0](rng)
    return replace(case, arguments=tuple(map(_without_nul, case.arguments)))
