"""Accelerators: their fields, the built-in table, and hardware files that add to it."""

# no deferred annotations, as in config.blocks

from functools import cache
from typing import Annotated, Literal, get_args

from pydantic import Field, ValidationError

from tinylm_cli.config.amounts import MAX_RATE
from tinylm_cli.config.base import Block, optional
from tinylm_cli.config.diagnostic_codes import clip, config_error, diagnostic, quote
from tinylm_cli.config.field_types import FieldType, Size, amount_type
from tinylm_cli.config.presets import presets_folder
from tinylm_cli.config.source import Source, read_source
from tinylm_cli.config.yaml_nodes import Entry, Node, describe
from tinylm_cli.config.yaml_reader import read_yaml
from tinylm_cli.errors import Diagnostic, Label, Span
from tinylm_cli.wording import Argument, Command, Setting, Text

GPU = Argument("<gpu>")
"""Source of a diagnostic about the name of a GPU."""

PeakDType = Literal["float32", "tf32", "float16", "bfloat16", "float8", "int8"]
"""The dtypes with peak rates; tf32 is float32 multiplied as TF32."""

PEAK_DTYPES: tuple[PeakDType, ...] = get_args(PeakDType)

CONTEXT_BYTES = 512 * 2**20
"""Memory that the CUDA context and its kernels take before the first tensor: about half a GiB."""

Rate = Annotated[int, *amount_type("rate", MAX_RATE)]
FlopRate = Annotated[int, *amount_type("flop_rate", MAX_RATE)]
Line = Annotated[str, Field(min_length=1, max_length=300), FieldType("text", "text")]
Names = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")], ...],
    Field(strict=False, max_length=16),
    FieldType("names", "a list of names made of lowercase letters, digits, dots and dashes"),
]
Month = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$"), FieldType("text", "a date such as 2026-11")]


class PeakFlops(Block):
    """Dense matmul throughput in FLOP/s (int8: OP/s); a multiply-add counts as 2."""

    float32: FlopRate = Field(examples=["66.9 TFLOP/s"], description="Without TF32.")
    tf32: FlopRate | None = optional("494.7 TFLOP/s", "float32 rounded to 19 bits.")
    float16: FlopRate | None = optional("989.4 TFLOP/s", "Summed in float32.")
    bfloat16: FlopRate | None = optional("989.4 TFLOP/s", "Summed in float32.")
    float8: FlopRate | None = optional("1978.9 TFLOP/s", "Summed in float32.")
    int8: FlopRate | None = optional("1978.9 TOP/s", "Summed in int32.")


class AcceleratorEntry(Block):
    """The fields of one accelerator in a hardware file; its name is the key above them.

    An accelerator is one torch device.
    """

    title: Line = Field(examples=["NVIDIA H100 SXM5 80 GB"], description="The vendor's name.")
    aliases: Names = Field(default=(), examples=[("h100",)], description="Other names.")
    memory_bytes: Size = Field(examples=["80 GiB"], description="Memory capacity.")
    usable_memory_bytes: Size | None = optional("79.1 GiB", "Memory that the driver reports; default: memory_bytes.")
    memory_bytes_per_second: Rate = Field(examples=["3.35 TB/s"], description="Bandwidth between memory and cores.")
    peak_flops_per_second: PeakFlops = Field(description="Dense peak FLOP/s by dtype.")
    link: Line | None = optional("NVLink 4", "Interconnect of the GPUs of a node.")
    link_bytes_per_second: Rate = Field(
        examples=["450 GB/s"],
        description="Bandwidth from one GPU to all others of its node together, in one direction.",
    )
    peer_bytes_per_second: Rate | None = optional(
        "64 GB/s", "Bandwidth from one GPU to one other; default: link_bytes_per_second, as with a switch."
    )
    gpus_per_node: int = Field(ge=1, le=1_000_000, examples=[8], description="GPUs that the link connects.")
    network: Line | None = optional("a 400 Gb/s port for each GPU", "Interconnect between nodes.")
    network_bytes_per_second: Rate = Field(
        examples=["400 Gb/s"],
        description="Bandwidth from one GPU to other nodes, in one direction, when all GPUs of its node send.",
    )
    source: Line | None = optional("https://www.nvidia.com/en-us/data-center/h100/", "Its datasheet.")
    date: Month | None = optional("2026-11", "When its figures were last checked against the source.")


class Accelerator(AcceleratorEntry):
    """An accelerator, with its name."""

    name: str

    @property
    def capacity_bytes(self) -> int:
        """Bytes that tensors may take: the usable memory (if unknown, all of it) less the CUDA context."""
        return max((self.usable_memory_bytes or self.memory_bytes) - CONTEXT_BYTES, 0)

    @property
    def one_peer_bytes_per_second(self) -> int:
        """Bandwidth from one GPU to one other GPU of its node: the full link if a switch connects them."""
        return self.peer_bytes_per_second or self.link_bytes_per_second

    @property
    def peaks(self) -> dict[str, int]:
        """Dense operations per second by data type, for the types with hardware matmuls."""
        known = ((dtype, getattr(self.peak_flops_per_second, dtype)) for dtype in PEAK_DTYPES)
        return {dtype: flops for dtype, flops in known if flops is not None}


def load_hardware(name: str, file: str | None = None) -> Accelerator:
    """Return the accelerator called ``name`` from the built-in table or from ``file``.

    Raises:
        ConfigError: If the file is invalid, or no accelerator has that name; it lists every error.
        InputError: If the file cannot be read.
    """
    return find_accelerator(load_accelerators(file), name)


def find_accelerator(table: dict[str, Accelerator], name: str, place: Span | None = None) -> Accelerator:
    """Return the accelerator with the name or alias ``name``, in upper or lower case.

    Args:
        table: The accelerators by name, as :func:`load_accelerators` returns them.
        name: A name or an alias, as it was typed.
        place: The position of the name, if it is part of a longer text.

    Raises:
        ConfigError: If no accelerator has that name.
    """
    aliases = {alias: each for each in table.values() for alias in each.aliases}
    found = table.get(name.casefold()) or aliases.get(name.casefold())
    if found is None:
        from tinylm_cli.config.similar_names import misspelled

        names = [*aliases, *table]
        completed = (each for each in names if each.startswith(name.casefold()))
        meant = next(completed, None) if name else None
        meant = meant or misspelled(name, names)
        known = Text(f"the names are {', '.join(table)}; ", Setting("hardware", metavar="FILE"), " adds your own")
        remedy = f"did you mean {meant}?" if meant else known
        message = f"unknown GPU {quote(name)}"
        place = place or Source(GPU, name).span(0, len(name))
        raise config_error([diagnostic("unknown-gpu", message, place.source, place, help=remedy)])
    return found


def load_accelerators(file: str | None = None) -> dict[str, Accelerator]:
    """Return every accelerator by its name in lower case: the built-in table, then the entries of ``file``.

    Args:
        file: A hardware file, or ``-`` for standard input; its entries replace built-in entries of the same name.

    Raises:
        ConfigError: If the file is invalid; it lists every error.
        InputError: If the file cannot be read.
    """
    return {**_built_in(), **(parse_accelerators(read_source(file)) if file is not None else {})}


def is_hardware(source: Source) -> bool:
    """Return whether a text is a hardware file, valid or not: one of its blocks has a field of an accelerator.

    Raises:
        ConfigError: If it is not YAML.
    """
    root = read_yaml(source).root
    return root is not None and _has_accelerator_fields(root)


def _has_accelerator_fields(root: Node) -> bool:
    blocks = (entry.value.entries or {} for entry in (root.entries or {}).values())
    return any(block.keys() & AcceleratorEntry.model_fields.keys() for block in blocks)


def parse_accelerators(source: Source) -> dict[str, Accelerator]:
    """Validate the text of a hardware file.

    Raises:
        ConfigError: If anything is invalid; it lists every error.
    """
    document = read_yaml(source)
    root, errors = document.root, document.diagnostics
    if root is None or root.entries is None or _is_model_config(root):
        raise config_error([*errors, _not_a_table(root, source)])
    found: dict[str, Accelerator] = {}
    places: dict[str, Entry] = {}
    for name, entry in root.entries.items():
        key = name.casefold()
        if key in places:
            errors.append(_duplicate(name, entry, places[key]))
            continue
        places[key] = entry
        try:
            valid = AcceleratorEntry.model_validate(entry.value.plain())
            found[key] = Accelerator(name=name, **dict(valid))
        except ValidationError as error:
            errors += _diagnose(error, name, entry, source)
    if errors:
        raise config_error(errors)
    return found


@cache
def _built_in() -> dict[str, Accelerator]:
    return parse_accelerators(read_source(str(presets_folder() / "hardware" / "accelerators.yaml")))


def _diagnose(error: ValidationError, name: str, entry: Entry, source: Source) -> list[Diagnostic]:
    from tinylm_cli.config.fields import Schema
    from tinylm_cli.config.validation_errors import diagnose_fields

    node, title = entry.value, clip(name)
    if node.reported:
        return []
    if node.entries is None:
        message = f"{title} must be a block of fields, not {describe(node)}"
        remedy = "write its fields on separate lines, indented under its name: title, memory_bytes, …"
        return [diagnostic("wrong-type", message, node.span.source, node.span, field=name, help=remedy)]
    details = error.errors(include_url=False, include_context=False, include_input=False)
    place = Node(entry.key_span, entries=node.entries)  # report a missing field at the accelerator's name
    return diagnose_fields(details, place, source.name, Schema(AcceleratorEntry, title))


def _duplicate(name: str, entry: Entry, first: Entry) -> Diagnostic:
    place = entry.key_span
    message = f"{clip(name)} is already set on line {first.key_span.line}: names are case-insensitive"
    labels = (Label(first.key_span, "first set here"),)
    remedy = "remove one of them"
    return diagnostic("duplicate-key", message, place.source, place, field=name, help=remedy, labels=labels)


def _is_model_config(root: Node) -> bool:
    """Return whether a mapping has fields of a model config, and no block with fields of an accelerator."""
    from tinylm_cli.config.schema import ModelConfig

    known = {*ModelConfig.model_fields, "model_type", "architectures"}  # of tinylm and of Hugging Face
    return not _has_accelerator_fields(root) and bool((root.entries or {}).keys() & known)


def _not_a_table(root: Node | None, source: Source) -> Diagnostic:
    if root is None or root.is_absent:
        message = "the file defines no GPUs: it has only blank lines and comments"
        built_in = Text(Command("list", (Setting("hardware", True),)), " shows the built-in GPUs")
        return diagnostic("empty-document", message, source.name, help=built_in)
    if root.entries is not None:
        code, message = "wrong-type", f"{source.name} is a model config, not a hardware file"
    else:
        code, message = "not-a-mapping", f"a hardware file must be a mapping of GPUs by name, not {describe(root)}"
    remedy = "a hardware file maps the name of each GPU to its fields, indented under it"
    return diagnostic(code, message, root.span.source, root.span, help=remedy)
