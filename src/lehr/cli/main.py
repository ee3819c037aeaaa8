"""Dispatch, and errors as one sentence with exit code 2."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import lehr
from lehr.cli import compare, find, fit, freeze, meta_train, methods, report, show, tasks

app = typer.Typer(
    name="lehr",
    help="Learning-rate schedules under a training budget: compare them on your task, look at them, read the results.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for command in (
    compare.compare, find.find, fit.fit, freeze.freeze, meta_train.meta_train, show.show, methods.methods, tasks.tasks,
    report.report,
):  # fmt: skip
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"lehr {lehr.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def run() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        print("lehr: stopped", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError) as error:
        print(f"lehr: {_sentence(error)}", file=sys.stderr)
        sys.exit(2)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
