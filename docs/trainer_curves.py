"""The rates that the examples of `trainers.md` really trained with, written to `trainer_curves.json`.

It needs the trainers themselves, as `make integrations` installs them, so pictures are drawn from what it wrote:

    .venv-integrations/bin/python docs/trainer_curves.py
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

import lehr
from lehr.state.update_counter import UpdateCounter

HERE = Path(__file__).parent
FILE = HERE / "trainer_curves.json"
LIBRARIES = (
    "torch",
    "lightning",
    "transformers",
    "accelerate",
    "pytorch-ignite",
)


@dataclass(frozen=True)
class Example:
    """A piece of code of the page that trains.

    Args:
        section: of the page.
        index: of the piece in its section, from 0.
        title: of its picture.
    """

    section: str
    index: int
    title: str

    @property
    def name(self) -> str:
        """The example as the file names it."""
        return f"{self.section}, {self.index}"

    def code(self) -> str:
        """What the page has there now."""
        return pieces(self.section)[self.index]

    def digest(self) -> str:
        """The code as a short text that is another if the code is."""
        return hashlib.sha256(self.code().encode()).hexdigest()[:16]


SHARDED = "DDP and FSDP2"
"""The section that runs in two processes."""

EXAMPLES = (
    Example("Lightning", 0, "Lightning: a schedule"),
    Example("Lightning", 1, "Lightning: its peak found before"),
    Example("Lightning", 2, "Lightning: FreezeOut"),
    Example("Lightning", 3, "Lightning: configure_optimizers"),
    Example("Transformers", 0, "Transformers: a schedule"),
    Example("Transformers", 1, "Transformers: FreezeOut"),
    Example("Transformers", 2, "Transformers' model: LRTuner"),
    Example("Accelerate", 0, "Accelerate: a schedule"),
    Example("Accelerate", 1, "Accelerate: LRTuner"),
    Example("Fabric", 0, "Fabric: a schedule"),
    Example("Ignite", 0, "Ignite: a schedule"),
    Example(SHARDED, 0, "FSDP2, two processes"),
)


def pieces(section: str) -> list[str]:
    """The Python code of a section of the page."""
    page = (HERE / "trainers.md").read_text(encoding="utf-8")
    found = re.search(
        rf"^## {section}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL
    )
    if found is None:
        raise ValueError(f"trainers.md has no section {section}")
    return re.findall(r"^```python\n(.*?)^```", found[1], re.MULTILINE | re.DOTALL)


@contextmanager
def recorded() -> Iterator[list[list[float]]]:
    """A context with the rates of every group at each update that a scheduler counts, so without trial updates."""
    rates: list[list[float]] = []

    def note(optimizer: Optimizer, *_: Any) -> None:
        hooks = [
            getattr(hook, "__self__", None)
            for hook in optimizer._optimizer_step_post_hooks.values()
        ]
        counters = [one for one in hooks if isinstance(one, UpdateCounter)]
        if counters and not any(one.suspended for one in counters):
            rates.append(
                [float(f"{group['lr']:.6g}") for group in optimizer.param_groups]
            )

    handle = register_optimizer_step_post_hook(note)
    try:
        yield rates
    finally:
        handle.remove()


def run(section: str) -> dict[str, list[list[float]]]:
    """The rates of each example of a section, whose pieces are run one after the other."""
    torch.manual_seed(0)
    namespace: dict[str, Any] = {"torch": torch, "lehr": lehr, "__name__": "example"}
    wanted = {one.index: one for one in EXAMPLES if one.section == section}
    found = {}
    for index in range(max(wanted) + 1):
        code = compile(pieces(section)[index], f"{section}, {index}", "exec")
        with recorded() as rates:
            exec(code, namespace)  # noqa: S102 - our own page
        if index in wanted:
            found[wanted[index].name] = rates
    return found


def run_sharded() -> dict[str, list[list[float]]]:
    """The same of the section that runs in two processes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "rates.json")
        subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc-per-node", "2", __file__, str(out)),
            ],
            check=True,
        )
        found: dict[str, list[list[float]]] = json.loads(
            out.read_text(encoding="utf-8")
        )
    return found


def run_all() -> dict[str, list[list[float]]]:
    """The rates of all examples."""
    found: dict[str, list[list[float]]] = {}
    for section in dict.fromkeys(one.section for one in EXAMPLES):
        found |= run_sharded() if section == SHARDED else run(section)
    return found


def main() -> None:
    """Write the file, or in one of two processes what the section made there."""
    if "RANK" in os.environ:
        torch.distributed.init_process_group("gloo")
        found = run(SHARDED)
        if torch.distributed.get_rank() == 0:
            Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")
        torch.distributed.destroy_process_group()
        return
    rates = run_all()
    rows = [
        {
            "example": one.name,
            "title": one.title,
            "code": one.digest(),
            "rates": rates[one.name],
        }
        for one in EXAMPLES
    ]
    versions = {name: version(name).partition("+")[0] for name in LIBRARIES}
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    text = (
        f'{{\n "versions": {json.dumps(versions)},\n "examples": [\n{lines}\n ]\n}}\n'
    )
    FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
