"""The view of ``tinylm build``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tinylm_cli.quantities import Quantity, binary_bytes, counted
from tinylm_cli.render.blocks import Branch, Cell, Column, Heading, Note, Style, Tree, View
from tinylm_cli.render.units import compact, csv_only, integer, percent
from tinylm_cli.render.views.params import tying_blocks
from tinylm_cli.render.views.record_table import shape_cell
from tinylm_cli.reports.architecture import BuildReport, ModuleNode, Proof

DEPTH = 3
"""Levels of the tree in a terminal: down to the parts of a block, but not into attention and feed_forward."""

_MAX_DIFFERENCES = 10

_SETTINGS: Mapping[str, Callable[[int], str]] = {
    "n_heads": lambda count: counted(count, "head"),
    "n_kv_heads": "{} kv".format,
    "n_loops": lambda count: f"{count} passes" if count > 1 else "1 pass",
    "n_low_layers": lambda count: f"low-level module of {counted(count, 'layer')}",
    "n_low_loops": lambda count: f"{count} low-level {'passes' if count > 1 else 'pass'} in each",
    "n_prelude_layers": lambda count: f"prelude of {counted(count, 'layer')}",
    "n_coda_layers": lambda count: f"coda of {counted(count, 'layer')}",
    "kv_rank": lambda _: "latent",
    "window": lambda positions: f"window {integer(positions)}",
    "chunk": lambda positions: f"chunks of {integer(positions)}",
}


def build_view(report: BuildReport, depth: int | None) -> View:
    """Show the tree down to ``depth`` levels below the root, the savings from tying, and the proof."""
    model = report.model
    size = f"{compact(model.total_params)} parameters, {binary_bytes(model.params_bytes)}"
    detail = f"{size} in {report.dtype} on {report.device}, {_origin(report)}"
    return (
        Heading(model.name, detail),
        _tree(report.architecture, depth),
        *tying_blocks(model),
        *_proof_notes(report.proof),
        *((Note(f"Saved to {report.saved_to}.", "good"),) if report.saved_to else ()),
    )


def _origin(report: BuildReport) -> str:
    if report.weights:
        return f"weights of {report.weights}"
    return "shapes only" if report.seed is None else f"seed {report.seed}"


def _tree(root: ModuleNode, depth: int | None) -> Tree:
    columns = (
        Column("module", shrink=True, key="name"),
        Column("", key="count"),
        Column("shape", right=True, keep=3),
        Column("parameters", right=True, key="params"),
        Column("share", right=True, keep=4),
        Column("", key="tied_to"),
        Column("", key="layer_kind"),
    )
    return Tree(columns, _branch(root, depth), name="architecture", caption="Modules of the architecture")


def _branch(node: ModuleNode, depth: int | None) -> Branch:
    kind = f" {node.layer_kind}" if node.layer_kind else ""
    label, params, share = f"{node.name}{kind}{_settings(node.settings)}", integer(node.params), percent(node.share)
    if node.tied_to:
        label = f"{node.name} → {node.tied_to.partition('.')[2] or node.tied_to}"
        params, share = Quantity("tied", node.params), csv_only(node.share)
    elif node.count > 1:  # the line above has the sum; the lines below are of one
        label = f"{node.name} × {node.count}{kind}, each{_settings(node.settings)}"
        params = Quantity(integer(node.params // node.count), node.params)
        share = Quantity(percent(node.share / node.count), node.share)
    hidden = depth == 0 and node.children
    deeper = None if depth is None else depth - 1
    children = () if hidden else tuple(_branch(child, deeper) for child in node.children)
    tone: Style = "plain" if node.params else "muted"
    module = Cell(f"{label} …" if hidden else label, "name" if node.children else "plain", node.name)
    tied_to = Cell("", key=node.tied_to or "")
    layer_kind = Cell("", key=node.layer_kind)
    return Branch(
        (module, csv_only(node.count), shape_cell(node.shape), Cell(params, tone), share, tied_to, layer_kind), children
    )


def _settings(settings: Mapping[str, int]) -> str:
    """Return the settings to show behind a module's name: `` (32 heads, 8 kv)``, `` (2 of 8)``."""
    words = [_SETTINGS[name](value) for name, value in settings.items() if name in _SETTINGS]
    if "n_experts" in settings:
        words.append(f"{settings['top_k']} of {settings['n_experts']}")
    return f" ({', '.join(words)})" if words else ""


def _proof_notes(proof: Proof) -> Iterator[Note]:
    count = integer(proof.instantiated_params)
    if proof.holds:
        tensors = counted(proof.n_tensors, "tensor")  # a tied tensor counts under each of its names
        yield Note(f"✓ closed form = instantiated module: {count} parameters, {tensors}.", "good")
        return
    yield Note(f"✗ closed form {integer(proof.closed_form_params)} ≠ instantiated module {count} parameters.", "bad")
    yield from (Note(difference, "bad") for difference in proof.differences[:_MAX_DIFFERENCES])
    if more := len(proof.differences[_MAX_DIFFERENCES:]):
        yield Note(f"… and {more} more.", "bad")
