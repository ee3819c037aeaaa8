"""`lehr report`: the report of a comparison, written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lehr import lab
from lehr.cli.tables import print_results


def report(
    folder: Annotated[str, typer.Argument(help="Where lehr compare put its results.")],
    text: Annotated[bool, typer.Option("--text", help="Print the results here, and write nothing.")] = False,
) -> None:
    """Write report.html (about 2 MB, since it holds plotly to work offline) anew from results.json."""
    if text:
        print_results(Console(), lab.read_results(folder))
    else:
        print(lab.write_report(Path(folder)).resolve())
