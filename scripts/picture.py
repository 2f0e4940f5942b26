"""Draws docs/demo.svg from a real run of the demo: `python scripts/picture.py`."""

import asyncio
import re
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from rollbackd.sandbox.demo import play
from rollbackd.sandbox.scenarios import SCENARIOS
from rollbackd.sandbox.story import Teller

ROOT = Path(__file__).parents[1]


def main() -> None:
    console = Console(record=True, width=110, force_terminal=False, color_system="truecolor")
    with tempfile.TemporaryDirectory(prefix="rollbackd-demo-") as directory:
        with Teller(console) as teller:
            outcome = asyncio.run(play(SCENARIOS["errors"], teller, Path(directory)))
        console.print()
        console.print(outcome.outcome, style="bold green")
    # Without the fonts that the stock format fetches from elsewhere.
    plain = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    target = ROOT / "docs" / "demo.svg"
    console.save_svg(str(target), title="rollbackd demo", code_format=plain)


if __name__ == "__main__":
    main()
