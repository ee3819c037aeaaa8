"""The range test from which the experiment's bounds are read: rates 0.001 to 0.04 in 4,000 updates, as published.

    python find_bounds.py

Accuracy is that of 5,000 training images held out, every 100 updates. Writes `range_test.json` and `range_test.png`.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from matplotlib.figure import Figure
from run import BATCH, Order, accuracy, data
from torch.nn.functional import cross_entropy

import lehr
from lehr.lab import models
from lehr.lab.files import write, write_text
from lehr.lab.records import environment

HERE = Path(__file__).parent
LOW, HIGH, STEPS, EVERY, HELD_OUT = 0.001, 0.04, 4_000, 100, 5_000


def test() -> lehr.RangeTestResult:
    images, labels, _, _ = data()
    torch.manual_seed(0)
    model = models.caffe_quick().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=LOW, momentum=0.9, weight_decay=0.004)
    order = Order(images[HELD_OUT:], labels[HELD_OUT:], seed=0)

    def train_step() -> torch.Tensor:
        x, y = order.next()
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    def evaluate() -> float:
        return accuracy(model, images[:HELD_OUT], labels[:HELD_OUT])

    training = lehr.Training.of(train_step, touches=[model, optimizer])
    return lehr.range_test(
        training, low=LOW, high=HIGH, steps=STEPS, mode="linear", evaluate=evaluate, evaluate_every=EVERY
    )


def draw(found: lehr.RangeTestResult) -> Figure:
    """Accuracy over the rate, as in the paper, with the bounds read by rule and those of the port."""
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.add_subplot()
    assert found.evaluations
    axes.plot(
        *zip(*[(rate, 100 * score) for rate, score in found.evaluations], strict=True), color="#2456a6", marker="."
    )
    low, high = found.bounds()
    axes.axvspan(low, high, color="#2456a6", alpha=0.1, linewidth=0, label=f"found.bounds(): {low:.2g} to {high:.2g}")
    for place, bound in enumerate((0.0025, 0.01)):
        label = None if place else "as published: 0.0025 to 0.01"
        axes.axvline(bound, color="#d1495b", linestyle="--", linewidth=1.2, label=label)
    axes.set(xlabel="learning rate", ylabel="accuracy on held-out images (%)", xlim=(0, found.rates[-1]))
    axes.grid(color="#e3e6eb")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    torch.set_num_threads(1)
    out = HERE / "range_test.json"
    if not out.exists():
        found = test()
        write_text(out, json.dumps({"batch": BATCH, "environment": environment(), "found": found.to_dict()}) + "\n")
    found = lehr.RangeTestResult.from_json(json.dumps(json.loads(out.read_text())["found"]))
    print(found)
    figure = draw(found)
    write(HERE / "range_test.png", lambda part: figure.savefig(part, dpi=120, format="png"))


if __name__ == "__main__":
    main()
