"""The picture of the record: what each method is worth against what its search costs, every training a point."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
NAMES = {
    "autopilot": "autopilot", "third": "a third of the edge", "lrtuner": "LRTuner",
    "learned": "learned schedule",
    "one_cycle": "one cycle", "folk": "folk defaults", "schedule_free": "schedule-free",
    "prodigy": "Prodigy, cosine",
}  # fmt: skip


def main() -> None:
    table = json.loads((HERE / "summary-unseen.json").read_text(encoding="utf-8"))
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for index, (method, name) in enumerate(NAMES.items()):
        entry = table[method]
        worth = [100 * sum(runs) / len(runs) for runs in entry["by_task"].values()]
        cost = 100 * entry["trials"]
        axes.plot([cost] * len(worth), worth, "o", color=f"C{index}", alpha=0.35, ms=4)
        axes.plot(cost, 100 * entry["median"], "D", color=f"C{index}", ms=9, label=name)
    axes.axhline(100, color="0.6", lw=1, ls="--")
    axes.set_xlabel("search, % of the budget")
    axes.set_ylabel("effective budget, %")
    axes.set_title("16 trainings of 500 to 5,000 updates: diamonds are medians", fontsize=10)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    figure.savefig(HERE / "cost.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
