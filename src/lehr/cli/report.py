"""`lehr report`: the report of a comparison, written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lehr import lab


def report(folder: Annotated[str, typer.Argument(help="Where lehr compare put its results.")]) -> None:
    """Write report.html anew from results.json."""
    print(lab.write_report(Path(folder)).resolve())
