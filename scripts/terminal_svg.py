"""Draw a real run of tinylm as an SVG: ``python scripts/terminal_svg.py`` rewrites docs/terminal.svg.

The picture shows the command's output in its colors. It uses installed fonts and loads nothing.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

COMMAND = "tinylm estimate llama-3-8b --gpu h100 --gpus 16"
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "terminal.svg"
COLUMNS = 80

_SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font: {char_height}px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace;
}}
.{unique_id}-title {{ font: bold 18px sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def run(command: str) -> str:
    """Return what a command of tinylm prints on a terminal of 80 columns with color.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    program, *words = shlex.split(command)
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "LC_ALL": "C.UTF-8"}
    environment.pop("NO_COLOR", None)
    done = subprocess.run(
        [Path(sys.executable).parent / program, *words],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def draw(command: str, printed: str) -> str:
    """Return the SVG of a terminal that shows ``command`` and its output ``printed``, with ANSI escape sequences."""
    console = Console(
        record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="standard", _environ={}
    )
    console.print(Text.assemble(("$ ", "green"), (command, "bold")), soft_wrap=True)
    console.print(Text.from_ansi(printed.rstrip("\n")), soft_wrap=True)
    return console.export_svg(title="tinylm", theme=MONOKAI, unique_id="tinylm", code_format=_SVG)


if __name__ == "__main__":
    PICTURE.write_text(draw(COMMAND, run(COMMAND)), encoding="utf-8")
