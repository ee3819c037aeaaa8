"""What freezing saves: step times integrated over a run, beside what `lehr.freeze_savings` predicts.

Two copies of a network take turns, update by update: one trains whole, the other with so many layers frozen, every
number of them in turn. Each pair of updates gives a ratio, and the median of a number's ratios is what an update with
so many frozen layers costs, whatever else the machine does meanwhile. With one thread, seconds are the processor's, in
which other programs' turns do not count. A strategy's time is the mean of these ratios over the run, weighted by how
long the run stays at each. Beside it, in the same rounds, freezing as Composer does it: the first parts of all leaf
modules from half of the run on, at the ends of 10 epochs, without evaluation mode. At the end, a compiled network
before and after a freeze, in the same manner.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn.functional import cross_entropy

import lehr
from lehr.lab import deep_models, models

EPOCHS = 10
TURNS = 2
STRATEGIES = [(how, t0) for how in ("linear", "squared", "cubic") for t0 in (0.5, 0.8)]


@dataclass(frozen=True)
class Network:
    make: Callable[[], nn.Module]
    inputs: Callable[[int], torch.Tensor]
    targets: Callable[[int], torch.Tensor]
    optimizer: Callable[..., torch.optim.Optimizer]
    batch: int


def _images(batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)


def _sgd(groups: list[dict[str, object]]) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=1e-3, momentum=0.9, nesterov=True)


def _classes(batch: int) -> torch.Tensor:
    return torch.randint(0, 10, (batch,))


NETWORKS = {
    "DenseNet-BC, k=12, L=76": Network(lambda: deep_models.densenet_bc(12, 76), _images, _classes, _sgd, 16),
    "wide ResNet 16-2": Network(lambda: deep_models.wide_resnet(16, 2), _images, _classes, _sgd, 32),
    "VGG, 6 convolutions": Network(deep_models.vgg, _images, _classes, _sgd, 32),
    "transformer, 6 blocks": Network(
        lambda: models.CharTransformer(depth=6), lambda n: torch.randint(0, 65, (n, 64)),
        lambda n: torch.randint(0, 65, (n, 64)), lambda groups: torch.optim.AdamW(groups, lr=1e-3), 32,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where to measure, and how many of a network's batches make one there."""

    device: str = "cpu"
    times: int = 1


Parts = tuple[float, float, float]
"""Seconds of the forward pass, the backward pass and the optimizer."""


def now(device: str) -> float:
    """Seconds of the processor; of the clock on an accelerator, once it has done all that it was told."""
    if device == "cpu":
        return time.process_time()
    torch.accelerator.synchronize()
    return time.monotonic()


class Copy:
    """A network of its own, and how much of it is frozen."""

    def __init__(self, network: Network, place: Place, *, compiled: bool = False) -> None:
        torch.manual_seed(0)
        self.device = place.device
        self.model = network.make().to(place.device, memory_format=torch.channels_last)
        self.example = network.inputs(2).to(place.device)
        batch = network.batch * place.times
        self.inputs, self.targets = (make(batch).to(place.device) for make in (network.inputs, network.targets))
        self.layers = lehr.layers_of(self.model, self.example)
        self.plan = lehr.FreezeOut(self.layers, t0=0.5, how="linear")
        self.optimizer = network.optimizer(self.plan.param_groups())
        self.plan.bind(self.optimizer)
        self.leaves = [m for m in self.model.modules() if not any(True for _ in m.children())]
        if compiled:
            self.model.compile()

    def freeze(self, count: int) -> None:
        """Have the first so many layers frozen, and make an update that nobody times, which sets up what is new."""
        self.plan.unfreeze()
        factors = [0.0] * count + [1.0] * (len(self.layers) - count)
        self.plan.arrive(1.0 if count else 0.0, factors)
        self.step()

    def freeze_as_composer_does(self, count: int) -> None:
        self.plan.unfreeze()
        for index, leaf in enumerate(self.leaves):
            leaf.requires_grad_(index >= count)
        self.step()

    def step(self) -> Parts:
        self.optimizer.zero_grad()
        moments = [now(self.device)]
        outputs = self.model(self.inputs)
        loss = cross_entropy(outputs.flatten(0, -2), self.targets.flatten())
        moments.append(now(self.device))
        loss.backward()
        moments.append(now(self.device))
        self.optimizer.step()
        moments.append(now(self.device))
        forward, backward, update = (after - before for before, after in pairwise(moments))
        return forward, backward, update

    def optimizer_bytes(self, count: int) -> int:
        self.freeze(count)
        states = self.optimizer.state.values()
        return sum(value.nbytes for state in states for value in state.values() if torch.is_tensor(value))


class Bench:
    """A network that trains whole beside its copy with frozen layers."""

    def __init__(self, network: Network, place: Place, *, compiled: bool = False) -> None:
        self.whole, self.frozen = (Copy(network, place, compiled=compiled) for _ in range(2))
        self.layers = self.frozen.layers
        self.pairs: dict[tuple[str, int], list[tuple[Parts, Parts]]] = {}

    def measure(self, rounds: int) -> None:
        self.whole.freeze(0)
        for _ in range(rounds):
            for count in range(len(self.layers)):
                self.frozen.freeze(count)
                self._take_turns("lehr", count)
            for epoch in range(EPOCHS // 2, EPOCHS):
                count = round(2 * (epoch / EPOCHS - 0.5) * len(self.frozen.leaves))
                self.frozen.freeze_as_composer_does(count)
                self._take_turns("composer", epoch)
            self.frozen.freeze_as_composer_does(0)

    def compare(self, count: int, turns: int) -> float:
        """What an update costs with so many layers frozen, as a share of one without."""
        self.whole.freeze(0)
        self.frozen.freeze(count)
        self._take_turns("lehr", count, turns)
        return self.share("lehr", count)

    def _take_turns(self, way: str, number: int, turns: int = TURNS) -> None:
        pairs = self.pairs.setdefault((way, number), [])
        for _ in range(turns):
            pairs.append((self.whole.step(), self.frozen.step()))

    def share(self, way: str, number: int) -> float:
        """The median of the pairs' ratios."""
        return statistics.median(sum(frozen) / sum(whole) for whole, frozen in self.pairs[way, number])

    def seconds(self, count: int, part: int) -> float:
        """The median time of one part of an update with so many layers frozen."""
        return statistics.median(frozen[part] for _, frozen in self.pairs["lehr", count])

    def realised(self, plan: lehr.FreezeOut) -> float:
        lasts = (after - at for at, after in pairwise((*plan.freezes_at, 1.0)))
        return sum(last * (1.0 - self.share("lehr", count)) for count, last in enumerate(lasts, 1))

    def composer(self) -> float:
        return sum(1.0 - self.share("composer", epoch) for epoch in range(EPOCHS // 2, EPOCHS)) / EPOCHS


def compiled(place: Place, rounds: int) -> str:
    """How long an update of a compiled network takes with all but the last layer frozen, as a share of before."""
    bench = Bench(NETWORKS["VGG, 6 convolutions"], place, compiled=True)
    took = bench.compare(len(bench.layers) - 1, 5 * rounds)
    least = 1.0 - lehr.freeze_savings(bench.whole.model, bench.whole.example, bench.whole.plan).most
    return f"compiled VGG, all but the last layer frozen: {took:.2f} of an update (predicted {least:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=4, help="of pairs for every number of frozen layers")
    parser.add_argument("--networks", default="", help="parts of names")
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--times", type=int, default=1, help="a batch so many times as large, for a fast device")
    arguments = parser.parse_args()
    place = Place(arguments.device, arguments.times)
    torch.set_num_threads(1)
    savings = Table("network", "strategy", "predicted", "realised", "ratio", title="Time saved (target: ratio 0.95)")
    parts = Table(
        "network", "frozen", "forward ms", "backward ms", "optimizer ms", "optimizer state", title="One update, medians"
    )
    for name, network in NETWORKS.items():
        if not any(part.lower() in name.lower() for part in arguments.networks.split(",")):
            continue
        bench = Bench(network, place)
        bench.measure(arguments.rounds)
        for how, t0 in STRATEGIES:
            plan = lehr.FreezeOut(bench.layers, t0=t0, how=how)  # type: ignore[arg-type]
            predicted = lehr.freeze_savings(bench.frozen.model, bench.frozen.example, plan).time
            real = bench.realised(plan)
            savings.add_row(name, f"{how}, t0={t0}", f"{predicted:.1%}", f"{real:.1%}", f"{real / predicted:.2f}")
        savings.add_row(name, "Composer's", "-", f"{bench.composer():.1%}", "-")
        last = len(bench.layers) - 1
        for count in (0, bisect_right(range(last + 1), last / 2) - 1, last):
            times = (f"{1e3 * bench.seconds(count, part):.1f}" for part in range(3))
            parts.add_row(name, f"{count} of {last + 1}", *times, f"{bench.frozen.optimizer_bytes(count) / 1e6:.2f} MB")
    console = Console()
    console.print(savings)
    console.print(parts)
    if not arguments.networks:
        console.print(compiled(place, arguments.rounds))
    where = "1 thread" if place.device == "cpu" else f"{torch.get_device_module(place.device).get_device_name()}"
    console.print(f"torch {torch.__version__}, Python {platform.python_version()}, {where}, batches x {place.times}")


if __name__ == "__main__":
    main()
