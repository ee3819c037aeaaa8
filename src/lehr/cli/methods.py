"""`lehr methods`: what can compete."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from lehr import lab


def methods() -> None:
    """List the methods that `lehr compare` knows by name."""
    table = Table("method", "as code", "source")
    for name, method in sorted(lab.METHODS.items()):
        table.add_row(name, method.code, method.source)
    Console().print(table)
