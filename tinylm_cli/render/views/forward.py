"""The view of ``tinylm forward``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from tinylm_cli.quantities import Quantity, counted
from tinylm_cli.render.blocks import Cell, Column, Heading, Note, Row, Table, View
from tinylm_cli.render.units import fixed, integer, percent, shape
from tinylm_cli.render.views.record_table import bar, computed, field, record_table, shape_cell
from tinylm_cli.reports.forward import ForwardReport, NextToken, Stage
from tinylm_cli.wording import Setting, Wording

_MAX_BLOCKS = 8
"""Number of blocks above which only three are shown, unless expanded."""

_FINITE = {
    None: Cell(""),
    True: Cell(Quantity("✓", value=True), "good"),
    False: Cell(Quantity("✗ not finite", value=False), "bad"),
}


def forward_view(report: ForwardReport, wording: Wording, *, expand: bool) -> View:
    """Show the stages, the most likely next tokens or the scores of the labels, the loss and the time."""
    weights = "shapes only, " if report.device == "meta" else "" if report.untrained else "loaded weights, "
    detail = f"{report.batch_size:,} × {counted(report.seq_len, 'token')}, {weights}{report.dtype} on {report.device}"
    return (
        Heading(report.name, detail),
        _stages(report.stages, wording, expand=expand),
        *((_next_tokens(report),) if report.next_tokens else ()),
        *((_scores(report),) if report.scores else ()),
        *_notes(report),
    )


def _stages(stages: tuple[Stage, ...], wording: Wording, *, expand: bool) -> Table:
    columns = (
        Column("stage", shrink=True, key="name"),
        Column("description", keep=1, key="kind"),
        Column("shape", right=True),
        Column("mean", right=True, keep=3),
        Column("std", right=True, keep=4),
        Column("finite", keep=2),
        Column("", key="layer_kind"),
    )
    rows = tuple(map(_stage, stages)) if expand else tuple(_outline(stages, wording))
    return Table(columns, rows, name="stages", caption="Stages of the forward pass")


def _outline(stages: tuple[Stage, ...], wording: Wording) -> Iterator[Row]:
    """Yield the stages outside blocks, and the blocks; of many, the first two, the first of each kind, and the last."""
    shown = [stage for stage in stages if not _in_a_block(stage)]
    blocks = [stage for stage in shown if stage.name.startswith("blocks.")]
    hidden: set[str] = set()
    if len(blocks) > _MAX_BLOCKS:
        first_of_kind = {stage.layer_kind: stage.name for stage in reversed(blocks)}
        hidden = {stage.name for stage in blocks[2:-1]} - set(first_of_kind.values())
    for is_hidden, alike in groupby(shown, lambda stage: stage.name in hidden):
        group = list(alike)
        if is_hidden and len(group) > 1:
            more = Cell(f"… {len(group):,} more blocks ({wording(Setting('expand', True))})", "muted")
            numbers = f"blocks {_number(group[0])} to {_number(group[-1])}"
            yield (more, Cell(numbers, "muted"), shape(group[0].shape), "", "", "", "")
        else:
            yield from map(_stage, group)


def _number(stage: Stage) -> int:
    """Return the number of a block, from 1."""
    return int(stage.name.removeprefix("blocks.")) + 1


def _in_a_block(stage: Stage) -> bool:
    return stage.depth > 0 and stage.name.startswith("blocks.")


def _stage(stage: Stage) -> Row:
    label = f"{'  ' * stage.depth}{stage.name} {stage.layer_kind}".rstrip()
    name = Cell(label, "name" if stage.depth == 0 else "plain", stage.name)
    mean, std = ("" if value is None else fixed(value, 3) for value in (stage.mean, stage.std))
    layer_kind = Cell("", key=stage.layer_kind)
    kind, dimensions = Cell(stage.kind, "muted"), shape_cell(stage.shape, "plain")
    return (name, kind, dimensions, mean, std, _FINITE[stage.finite], layer_kind)


def _next_tokens(report: ForwardReport) -> Table:
    only_ids = all(next_token.text is None for next_token in report.next_tokens)
    codebook = (field("codebook", "codebook", str, right=True),) if report.n_codebooks > 1 else ()
    columns = (
        *codebook,
        computed("next token", "token", lambda each: Cell(_token_text(each), "name", str(each.token)), right=only_ids),
        field("probability", "probability", lambda share: percent(share, 2)),
        bar("probability"),
    )
    return record_table(report.next_tokens, columns, name="next_tokens", caption="The most likely next tokens")


def _scores(report: ForwardReport) -> Table:
    columns = (Column("label", right=True), Column("score at the last token", right=True, key="score"))
    rows = tuple((Cell(str(label), "name"), fixed(score, 4)) for label, score in enumerate(report.scores))
    return Table(columns, rows, name="scores", caption="Scores of the labels at the last token of the first sequence")


def _token_text(next_token: NextToken) -> str:
    """Return the id, and its text if it is known."""
    return str(next_token.token) if next_token.text is None else f"{next_token.token} {next_token.text!r}"


def _notes(report: ForwardReport) -> Iterator[Note]:
    if any(stage.finite is False for stage in report.stages):
        first = next(stage.name for stage in report.stages if stage.finite is False)
        yield Note(f"The first non-finite values are in the output of {first}.", "bad")
    if report.loss is not None and report.uniform_loss is not None:
        uniform = f"ln {integer(report.vocab_size)} = {report.uniform_loss:.3f}"
        yield Note(f"loss {report.loss:.3f}; uniform prediction: {uniform}")
    if report.untrained and report.device != "meta":
        random = "probabilities" if report.uniform_loss is not None else "scores" if report.scores else "hidden states"
        yield Note(f"The weights are untrained: these {random} are random.", "warn")
    if report.milliseconds is not None and report.tokens_per_second is not None:
        time = f"{report.milliseconds:.3g}" if report.milliseconds < 100 else f"{report.milliseconds:,.0f}"
        yield Note(f"{time} ms per pass, {report.tokens_per_second:,.0f} tokens/s", "muted")
