"""The command line: `lehr`, or `python -m lehr`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say what it needs."""
    try:
        from lehr.cli.main import run
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("lehr"):
            raise
        print(f"lehr: the command line needs {error.name}; install it with: pip install 'lehr[lab]'", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
