"""`lehr report`: the report of a comparison, written anew."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lehr import lab
from lehr.cli.serving import LOOPBACK, server
from lehr.cli.tables import print_claims, print_results


def report(
    folder: Annotated[str, typer.Argument(help="Where lehr compare put its results.")],
    text: Annotated[bool, typer.Option("--text", help="Print the results here, and write nothing.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show the page to browsers of this machine until Ctrl-C, as over SSH.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="For --serve; 0: any that is free.")] = 0,
) -> None:
    """Write report.html (about 2 MB, since it holds plotly to work offline) anew from results.json."""
    if text:
        results = lab.read_results(folder)
        print_results(Console(), results)
        print_claims(Console(), results, Path(folder))
        return
    page = lab.write_report(Path(folder)).resolve()
    print(page)
    if serve:
        with server(page, port) as running, suppress(KeyboardInterrupt):
            at = running.server_address[1]
            print(
                f"http://{LOOPBACK}:{at}/ until Ctrl-C; from elsewhere: ssh -L {at}:{LOOPBACK}:{at} <this machine>",
                flush=True,
            )
            running.serve_forever()
