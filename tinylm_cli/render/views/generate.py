"""The view of ``tinylm generate``."""

from __future__ import annotations

from collections.abc import Sequence

from tinylm_cli.quantities import counted
from tinylm_cli.render.blocks import Block, Heading, Note, View
from tinylm_cli.reports.generate import GenerateReport
from tinylm_cli.wording import Setting, Wording

GENERATED = "generated: "


def opening_view(name: str, prompt: Sequence[int], text: str | None, *, n_codebooks: int, untrained: bool) -> View:
    """Show the prompt, as ids or as ``text``, before tokens are generated."""
    weights = "" if untrained else ", loaded weights"
    given = position_text(prompt, n_codebooks) if text is None else text
    length = counted(len(prompt) // n_codebooks, "token")
    return Heading(name, f"prompt of {length}{weights}"), Note(f"prompt: {given}", "muted")


def position_text(ids: Sequence[int], n_codebooks: int) -> str:
    """Return ids as text: ``5 12 8``, or with several codebooks ``5,7 12,0``, position by position."""
    positions = (ids[start : start + n_codebooks] for start in range(0, len(ids), n_codebooks))
    return " ".join(",".join(map(str, position)) for position in positions)


def generate_view(report: GenerateReport, wording: Wording, *, streamed: bool, as_text: bool = False) -> View:
    """Show prompt and generated tokens, text and speed.

    Args:
        report: The report.
        wording: Words settings.
        streamed: Whether prompt and tokens are on the screen already.
        as_text: Whether they were streamed as text, not as ids.
    """
    blocks: list[Block] = []
    if not streamed:
        n_codebooks = report.n_codebooks
        blocks += opening_view(report.name, report.prompt, None, n_codebooks=n_codebooks, untrained=report.untrained)
        blocks.append(Note(f"{GENERATED}{position_text(report.generated, n_codebooks)}"))
    if report.text is not None and not (streamed and as_text):
        blocks.append(Note(f"as text: {report.text}"))
    if report.untrained:
        blocks.append(Note("The weights are untrained: these tokens are random.", "warn"))
    stopped = "stop token" if report.stopped == "stop_token" else wording(Setting("max_new_tokens"))
    length = counted(len(report.generated) // report.n_codebooks, "token")
    speed = f"{length}, {stopped} reached, {report.tokens_per_second:,.0f} tokens/s"
    blocks.append(Note(speed, "muted"))
    return tuple(blocks)
