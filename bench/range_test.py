"""What a range test costs beside the plain training steps that it makes, in the same run and taking turns.

Beside it, where it is installed, torch-lr-finder (`pip install torch-lr-finder`) on the same network and data.
"""

from __future__ import annotations

import contextlib
import io
import platform
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, TensorDataset

import lehr
from lehr.lab import models

ROUNDS, STEPS, BATCH = 7, 60, 64
NETWORKS: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...]]] = {
    "MLP, 26,000 weights": (lambda: models.mlp(64, 128), (64,)),
    "CNN with batch norm": (lambda: models.small_cnn(3, 32), (3, 32, 32)),
}


def data(shape: tuple[int, ...]) -> TensorDataset:
    return TensorDataset(torch.randn(4_096, *shape), torch.randint(0, 10, (4_096,)))


class Loop:
    def __init__(self, make: Callable[[], torch.nn.Module], examples: TensorDataset) -> None:
        torch.manual_seed(0)
        self.model = make()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)
        self.loader = DataLoader(examples, batch_size=BATCH, shuffle=True, drop_last=True)
        self.batches = lehr.Batches(self.loader)
        self.training = lehr.Training(
            self.model, self.optimizer, self.batches,
            lambda model, batch: torch.nn.functional.cross_entropy(model(batch[0]), batch[1]),
        )  # fmt: skip

    def plain(self) -> None:
        for _ in range(STEPS):
            inputs, targets = next(self.batches)
            self.optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(self.model(inputs), targets)
            loss.backward()
            self.optimizer.step()
            loss.item()  # every finder reads the loss

    def ours(self) -> None:
        lehr.range_test(self.training, low=1e-4, high=1e-3, steps=STEPS)

    def theirs(self) -> None:
        from torch_lr_finder import LRFinder

        finder = LRFinder(self.model, self.optimizer, torch.nn.CrossEntropyLoss(), device="cpu")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            finder.range_test(self.loader, start_lr=1e-4, end_lr=1e-3, num_iter=STEPS, diverge_th=1e9)
            finder.reset()


def seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    torch.set_num_threads(1)
    try:
        import torch_lr_finder as _  # noqa: F401
    except ImportError:
        rival = False
    else:
        rival = True
    table = Table(
        "network", "ms a step", "range test", "torch-lr-finder", "target", title="Ratios to plain steps, medians"
    )
    for name, (make, shape) in NETWORKS.items():
        examples = data(shape)
        plain, tested, other = Loop(make, examples), Loop(make, examples), Loop(make, examples)
        works = [plain.plain, tested.ours, *([other.theirs] if rival else [])]
        for work in works:
            work()
        rounds = [[seconds(work) for work in works] for _ in range(ROUNDS)]
        ratios = [statistics.median(row[k] / row[0] for row in rounds) for k in range(1, len(works))]
        table.add_row(
            name, f"{statistics.median(row[0] for row in rounds) / STEPS * 1e3:.2f}", f"{ratios[0]:.3f}",
            f"{ratios[1]:.3f}" if rival else "-", "at most 1.05",
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(f"torch {torch.__version__}, Python {platform.python_version()}, 1 thread")


if __name__ == "__main__":
    main()
