"""Frameworks are imported in their own leaf only, and what takes seconds where it is needed."""

from __future__ import annotations

import subprocess
import sys

NOT_AT_ONCE = (
    "lightning", "transformers", "accelerate", "ignite", "datasets", "scipy", "sklearn", "torch._dynamo",
    "torch.distributed.tensor",
)  # fmt: skip
"""Each takes seconds to import, and most commands need none."""


def test_importing_lehr_imports_no_framework() -> None:
    code = (
        "import sys, lehr, lehr.integrations, lehr.lab, lehr.cli.main\n"
        f"print([name for name in {NOT_AT_ONCE} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
