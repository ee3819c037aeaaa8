"""Frameworks are imported in their own leaf only."""

from __future__ import annotations

import subprocess
import sys


def test_importing_lehr_imports_no_framework() -> None:
    code = (
        "import sys, lehr, lehr.integrations, lehr.lab\n"
        "print([name for name in ('lightning', 'transformers', 'accelerate', 'ignite') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
