"""Verdicts, tables and figure by the rule in README.md: `python analyse.py`; it reads what measurements there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from run import HERE, LONGER, PLAIN, SAVED, SEARCH, SEEDS, STRATEGIES, Job, best_rate
from run import NETWORKS as EVERY
from scipy import stats

from lehr.lab.files import write, write_json
from lehr.lab.statistics import Summary, holm, summarise

MARGIN, LEVEL, WITHIN = 1.0, 0.05, 0.2
NETWORKS = ("resnet", "minilm")
SHORTER = 1.0 - SAVED
COLOURS = {"linear": "#d1495b", "squared": "#2a9d8f", "cubic": "#2456a6"}


def load(network: str, method: str, share: float) -> list[dict[str, Any]]:
    """The runs, seed by seed."""
    return [json.loads(Job(network, method, seed, share).file.read_text())["run"] for seed in range(SEEDS)]


def accuracies(network: str, method: str, share: float) -> list[float]:
    """On the test set, in percent, seed by seed."""
    return [100 * run["test"] for run in load(network, method, share)]


def gaps(network: str, method: str, share: float, plain: float = 1.0) -> list[float]:
    """Test accuracy of a frozen run less that of no freezing at `plain` of the updates, in points, seed by seed."""
    pairs = zip(accuracies(network, method, share), accuracies(network, PLAIN, plain), strict=True)
    return [mine - other for mine, other in pairs]


def p_of(values: list[float], against: float, alternative: str) -> float:
    return float(stats.ttest_1samp(values, against, alternative=alternative).pvalue)


def no_loss(p_less: float, p_more: float) -> str:
    """The verdict on "at no loss": of the tests that less, and that more, than the margin is lost."""
    return "holds" if p_less < LEVEL else "contradicted" if p_more < LEVEL else "cannot tell"


def better(mean: float, p: float) -> str:
    """The verdict on "at equal time FreezeOut is better"."""
    return "cannot tell" if p >= LEVEL else "holds" if mean > 0.0 else "contradicted"


def rows_of(network: str) -> list[dict[str, Any]]:
    """Each strategy against no freezing: in as many updates, and over as much time."""
    same = {name: gaps(network, name, 1.0) for name in STRATEGIES}
    longer = {name: gaps(network, name, LONGER) for name in STRATEGIES}
    less = holm({name: p_of(values, -MARGIN, "greater") for name, values in same.items()})
    more = holm({name: p_of(values, -MARGIN, "less") for name, values in same.items()})
    either = holm({name: p_of(values, 0.0, "two-sided") for name, values in longer.items()})
    rows = []
    for name in STRATEGIES:
        gap, gap_longer = summarise(same[name]), summarise(longer[name])
        rows.append({
            "method": name, "n": gap.n, "test": asdict(summarise(accuracies(network, name, 1.0))), "gap": asdict(gap),
            "p_less_lost": less[name], "p_more_lost": more[name], "verdict": no_loss(less[name], more[name]),
            "test_longer": asdict(summarise(accuracies(network, name, LONGER))), "gap_longer": asdict(gap_longer),
            "p_longer": either[name], "verdict_longer": better(gap_longer.mean, either[name]),
            "against_shorter": asdict(summarise(gaps(network, name, 1.0, SHORTER))),
        })  # fmt: skip
    return rows


def all_strategies(network: str) -> dict[str, Any]:
    """The mean over the strategies, seed by seed: six times as many runs, with no claim."""

    def mean_of(share: float, plain: float) -> Summary:
        every = [gaps(network, name, share, plain) for name in STRATEGIES]
        return summarise([fmean(values) for values in zip(*every, strict=True)])

    return {
        "same_updates": asdict(mean_of(1.0, 1.0)), "longer": asdict(mean_of(LONGER, 1.0)),
        "against_shorter": asdict(mean_of(1.0, SHORTER)),
    }  # fmt: skip


def measured(found: Mapping[str, Any]) -> dict[str, Any]:
    """What was saved in each round by each strategy; the verdict is on the mean."""

    def seconds(method: str) -> list[float]:
        return [row["seconds"] for row in found["rows"] if row["method"] == method]

    rows: dict[str, Any] = {}
    for name in STRATEGIES:
        rounds = [1.0 - mine / whole for mine, whole in zip(seconds(name), seconds(PLAIN), strict=True)]
        near = abs(fmean(rounds) - SAVED) <= WITHIN * SAVED
        rows[name] = {"rounds": rounds, "saved": fmean(rounds), "verdict": "holds" if near else "does not hold"}
    return {
        "network": found["network"], "updates": found["updates"], "device": found["device"],
        "seconds": seconds(PLAIN), "strategies": rows,
    }  # fmt: skip


def in_lockstep(found: Mapping[str, Any]) -> dict[str, Any]:
    """The same where all were timed in lockstep, in percent."""
    rows: dict[str, Any] = {}
    for name in STRATEGIES:
        saved = summarise([100.0 * (1.0 - one[name] / one[PLAIN]) for one in found["rounds"]])
        near = abs(saved.mean - 100.0 * SAVED) <= WITHIN * 100.0 * SAVED
        rows[name] = {"saved": asdict(saved), "within_a_fifth": near}
    seconds = [one[PLAIN] for one in found["rounds"]]
    return {"network": found["network"], "updates": found["updates"], "seconds": seconds, "strategies": rows}


def draw(tables: Mapping[str, Any]) -> Figure:
    """Points against no freezing, same updates and same time, seed by seed."""
    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    for axes, network in zip(figure.subplots(1, len(NETWORKS)), NETWORKS, strict=True):
        axes.axhspan(-MARGIN, 0.0, color="#eef1f5", label="the margin, one point")
        axes.axhline(0.0, color="#20242b", linewidth=1)
        shorter = tables[network]["shorter"]["gap"]["mean"]
        axes.axhline(shorter, color="#7a828e", linewidth=1.2, linestyle="--", label="no freezing, 90 % of the updates")
        for place, name in enumerate(STRATEGIES):
            colour = COLOURS[STRATEGIES[name][0]]
            for shift, share, filled in ((-0.14, 1.0, True), (0.14, LONGER, False)):
                values = gaps(network, name, share)
                face = colour if filled else "white"
                label = None if place else "frozen, same updates" if filled else "frozen, 1 / 0.9 of the updates"
                axes.scatter(
                    [place + shift] * SEEDS, values, s=20, edgecolors=colour, facecolors=face, zorder=2, label=label
                )
                reach = [place + shift - 0.1, place + shift + 0.1]
                axes.plot(reach, [fmean(values)] * 2, color=colour, linewidth=2)
        axes.set(title=network, ylabel="points against no freezing")
        axes.set_xticks(range(len(STRATEGIES)), [name.replace(", ", "\n") for name in STRATEGIES], fontsize=8)
        axes.grid(color="#e3e6eb", axis="y")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def spread(summary: Mapping[str, Any], sign: str = "") -> str:
    return f"{summary['mean']:{sign}z.2f} ± {summary['sd']:.2f}"


def show(network: str, table: Mapping[str, Any]) -> None:
    print(f"\n{network}, peak rate {table['lr']:g}: no freezing {spread(table['full'])}")
    print(f"over 90 %: {spread(table['shorter']['test'])}, {spread(table['shorter']['gap'], '+')}", end=", ")
    print(f"p that a point is lost {table['shorter']['p_less_lost']:.3f}")
    for row in table["rows"]:
        print(
            f"| {row['method']} | {spread(row['test'])} | {spread(row['gap'], '+')} | {row['p_less_lost']:.3f}, "
            f"{row['p_more_lost']:.3f} | {row['verdict']} | {spread(row['gap_longer'], '+')} | "
            f"{row['p_longer']:.2f} | {row['verdict_longer']} | {spread(row['against_shorter'], '+')} |"
        )
    for name, gap in table["all"].items():
        print(f"all six, {name}: {spread(gap, '+')}, {gap['low']:+.2f} to {gap['high']:+.2f}")
    print(table["cost"])


def main() -> None:
    tables: dict[str, Any] = {}
    for network in NETWORKS:
        methods = [(PLAIN, 1.0), (PLAIN, SHORTER), *((name, share) for name in STRATEGIES for share in (1.0, LONGER))]
        runs = [run for method, share in methods for run in load(network, method, share)]
        grid = EVERY[network].grid
        search = [json.loads(Job(network, PLAIN, SEARCH, lr=lr).file.read_text())["run"] for lr in grid]
        lr = best_rate(network)
        assert all(run["lr"] == lr for run in runs), network
        tables[network] = {
            "lr": lr, "search": dict(zip(map(str, grid), [run["validation"] for run in search], strict=True)),
            "full": asdict(summarise(accuracies(network, PLAIN, 1.0))),
            "shorter": {
                "test": asdict(summarise(accuracies(network, PLAIN, SHORTER))),
                "gap": asdict(summarise(gaps(network, PLAIN, SHORTER))),
                "p_less_lost": p_of(gaps(network, PLAIN, SHORTER), -MARGIN, "greater"),
            },
            "rows": rows_of(network), "all": all_strategies(network),
            "cost": {
                name: {"runs": len(several), "updates": sum(run["updates"] for run in several),
                       "seconds": sum(run["seconds"] for run in several)}
                for name, several in (("reported", runs), ("search", search))
            },
        }  # fmt: skip
        show(network, tables[network])
    files = sorted(HERE.glob("measured_*.json"))
    times = {file.stem.removeprefix("measured_"): measured(json.loads(file.read_text())) for file in files}
    for name, one in times.items():
        print(f"\n{name}, {one['updates']} updates, seconds without freezing {[round(s, 2) for s in one['seconds']]}")
        for method, row in one["strategies"].items():
            rounds = " ".join(f"{100 * share:+.1f}" for share in row["rounds"])
            print(f"| {method} | {100 * row['saved']:.1f} | {rounds} | {row['verdict']} |")
    files = sorted(HERE.glob("lockstep_*.json"))
    lockstep = {file.stem.removeprefix("lockstep_"): in_lockstep(json.loads(file.read_text())) for file in files}
    for name, one in lockstep.items():
        print(f"\n{name} in lockstep, seconds without freezing {[round(seconds, 1) for seconds in one['seconds']]}")
        for method, row in one["strategies"].items():
            low, high = row["saved"]["low"], row["saved"]["high"]
            print(f"| {method} | {spread(row['saved'])} | {low:.1f} to {high:.1f} | {row['within_a_fifth']} |")
    write_json(HERE / "summary.json", {"networks": tables, "measured": times, "lockstep": lockstep}, indent=1)
    write(HERE / "points.png", lambda part: draw(tables).savefig(part, dpi=120, format="png"))


if __name__ == "__main__":
    main()
