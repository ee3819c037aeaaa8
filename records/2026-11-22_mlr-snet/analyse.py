"""Tables and figures from `runs/`: `python analyse.py`."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from matplotlib.figure import Figure
from scipy import stats
from worlds import WORLDS

from lehr.lab.files import write, write_json
from lehr.lab.statistics import holm

HERE = Path(__file__).parent
SEARCH, SEEDS = 1_000_003, 3
CARRIED = (
    "linear",
    "cosine",
    "learned",
    "linear, untuned",
    "cosine, untuned",
    "mlrsnet",
    "mlrsnet, shipped",
    "published",
)
COLOURS = {
    "linear": "#20242b",
    "learned": "#d1495b",
    "linear, untuned": "#8a93a3",
    "mlrsnet": "#2456a6",
    "published": "#2a9d8f",
}

Runs = dict[tuple[str, str, str], dict[int, dict[str, Any]]]


def load() -> tuple[Runs, dict[tuple[str, str, str], list[dict[str, Any]]]]:
    """World, optimizer and method -> seed -> run; and the runs that chose rates."""
    final: Runs = defaultdict(dict)
    searched: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for path in sorted((HERE / "runs").glob("*.json")):
        kept = json.loads(path.read_text())
        job, run = kept["job"], kept["run"]
        what = job["world"], job["kind"], job["method"]
        if job["seed"] >= SEARCH:
            searched[what].append(run)
        else:
            final[what][job["seed"]] = run
    return final, searched


def results(by_seed: dict[int, dict[str, Any]], world: str) -> dict[int, float]:
    """Test results by seed: accuracy in %, for text the loss with its sign turned, so that more is better."""
    scale = -1.0 if world == "text" else 100.0
    return {seed: scale * run["test"] for seed, run in by_seed.items() if run["test"] is not None}


def show(values: list[float], runs: int) -> str:
    """Mean and deviation; how many came to nothing."""
    if not values:
        return f"none of {runs}"
    digits = 3 if values[0] < 0 else 1
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    broke = f", {runs - len(values)} of {runs} broke" if len(values) < runs else ""
    return f"{abs(fmean(values)):.{digits}f}{deviation}{broke}"


def kind_of(world: str, method: str) -> str:
    """With which optimizer a method is carried over."""
    if method == "published":
        return "clipped" if world == "text" else "plain"
    if world == "text":
        return "clipped" if method == "mlrsnet" else "adamw"
    return "momentum"


def home_table(final: Runs, searched: dict[tuple[str, str, str], list[dict[str, Any]]], world: str) -> list[str]:
    """All methods on a home task, the best first; the cost is beside the updates of the runs that are reported."""
    heading = "| method | optimizer | peak rate | n | test accuracy (%) | passes to find the rate |"
    rows = []
    for (where, kind, method), by_seed in final.items():
        if where != world:
            continue
        values = list(results(by_seed, world).values())
        search = searched.get((where, kind, method), [])
        grid = sorted(run["lr"] for run in search)
        lr = next(iter(by_seed.values()))["lr"]
        peak = f"{lr:.3g}{' *' if lr in (grid[0], grid[-1]) else ''}" if grid else f"{lr:.2g}, from a range test"
        if method in ("mlrsnet", "published"):
            peak = "from gamma"
        tested = sum(run["forward_passes"] - run["updates"] for run in by_seed.values())
        paid = tested + sum(run["forward_passes"] for run in search)
        line = f"| {method} | {kind} | {peak} | {len(values)} | {show(values, len(by_seed))} | {paid or '—'} |"
        rows.append((fmean(values) if values else 0.0, line))
    return [f"### {WORLDS[world]}", "", heading, "|---|---|---:|---:|---:|---:|", *(
        line for _, line in sorted(rows, reverse=True)
    ), ""]  # fmt: skip


def carried_table(final: Runs) -> list[str]:
    lines = [f"| task | {' | '.join(CARRIED)} |", f"|---|{'---:|' * len(CARRIED)}"]
    for world, about in WORLDS.items():
        cells = []
        for method in CARRIED:
            by_seed = final.get((world, kind_of(world, method), method), {})
            cells.append(show(list(results(by_seed, world).values()), len(by_seed)) if by_seed else "not made")
        lines.append(f"| {about} | {' | '.join(cells)} |")
    return [*lines, ""]


def verdicts(final: Runs) -> list[dict[str, Any]]:
    """Whether the targets hold: within a deviation of tuned linear, and above the published checkpoints."""
    rows = []
    for world in WORLDS:
        found = {m: results(final.get((world, kind_of(world, m), m), {}), world) for m in CARRIED}
        ours, linear = found["learned"], found["linear"]
        if len(ours) < SEEDS or len(linear) < SEEDS:  # a run that broke, or is not there
            rows.append({"world": world, "within one sd": False, "finished": [len(ours), len(linear)]})
            continue
        row: dict[str, Any] = {"world": world, "gap to linear": fmean(ours.values()) - fmean(linear.values())}
        row["sd of linear"] = stdev(linear.values())
        row["within one sd"] = row["gap to linear"] >= -row["sd of linear"]
        for rival in CARRIED:
            if rival == "learned":
                continue
            seeds = sorted(ours.keys() & found[rival].keys())
            gaps = [ours[s] - found[rival][s] for s in seeds]
            row[f"against {rival}"] = fmean(gaps) if gaps else None
            row[f"p against {rival}"] = float(stats.ttest_1samp(gaps, 0.0).pvalue) if len(set(gaps)) > 1 else None
        rows.append(row)
    for rival in CARRIED:
        known = {row["world"]: row[f"p against {rival}"] for row in rows if row.get(f"p against {rival}") is not None}
        for world, p in holm(known).items():
            next(row for row in rows if row["world"] == world)[f"Holm p against {rival}"] = p
    return rows


def verdict_table(rows: list[dict[str, Any]]) -> list[str]:
    rivals = [method for method in CARRIED if method != "learned"]
    lines = [
        f"| learned less ... | sd of linear | within it | {' | '.join(rivals)} |",
        f"|---|---:|---|{'---:|' * len(rivals)}",
    ]
    for row in rows:
        if "finished" in row:
            lines.append(f"| {WORLDS[row['world']]} | — | no: not all runs finished |{' — |' * len(rivals)}")
            continue
        digits = 3 if row["world"] == "text" else 2
        cells = []
        for rival in rivals:
            gap, p = row[f"against {rival}"], row.get(f"Holm p against {rival}")
            cells.append("—" if gap is None else f"{gap:+.{digits}f}" + ("" if p is None else f" (p {p:.2g})"))
        held = "yes" if row["within one sd"] else "no"
        lines.append(f"| {WORLDS[row['world']]} | {row['sd of linear']:.{digits}f} | {held} | {' | '.join(cells)} |")
    return [*lines, ""]


def draw(final: Runs) -> None:
    """The rates of a seed of each method, world by world."""
    figure = Figure(figsize=(12.5, 5.2), layout="constrained")
    for axes, (world, about) in zip(figure.subplots(2, 5).flat, WORLDS.items(), strict=True):
        for method, colour in COLOURS.items():
            run = final.get((world, kind_of(world, method), method), {}).get(0)
            if run is None:
                continue
            above = [(p, rate) for p, rate in run["rates"] if rate > 0.0]
            axes.plot([p for p, _ in above], [r for _, r in above], color=colour, linewidth=1.5, label=method)
        axes.set_yscale("log")
        axes.set_title(about.replace(": ", ":\n", 1).replace(", a ", ",\na ", 1), fontsize=7.5)
        axes.set(xlim=(0, 1))
        axes.tick_params(labelsize=7)
        axes.grid(color="#eceef1")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False, fontsize=7)
    figure.supxlabel("share of the budget", fontsize=8)
    figure.supylabel("learning rate, seed 0", fontsize=8)
    write(HERE / "rates.png", lambda part: figure.savefig(part, dpi=110, format="png"))


def main() -> None:
    final, searched = load()
    rows = verdicts(final)
    text = [*home_table(final, searched, "fashion"), *home_table(final, searched, "resnet")]
    text += ["### Carried over", "", *carried_table(final), "### The targets", "", *verdict_table(rows)]
    print("\n".join(text))
    draw(final)
    trained = [json.loads(path.read_text())["seconds"] for path in (HERE / "networks").glob("*.json")]
    cost = {
        "seconds of meta-training MLR-SNet": sum(trained),
        "forward passes, reported": sum(
            run["forward_passes"] for by_seed in final.values() for run in by_seed.values()
        ),
        "forward passes, search": sum(run["forward_passes"] for runs in searched.values() for run in runs),
        "seconds": sum(run["seconds"] for by_seed in final.values() for run in by_seed.values())
        + sum(run["seconds"] for runs in searched.values() for run in runs),
    }
    print(cost)
    write_json(HERE / "summary.json", {"verdicts": rows, "cost": cost}, indent=1)
    readme = HERE / "README.md"
    if readme.exists() and "<!-- tables -->" in readme.read_text():
        before, _, rest = readme.read_text().partition("<!-- tables -->")
        after = rest.partition("<!-- end of tables -->")[2]
        readme.write_text(f"{before}<!-- tables -->\n" + "\n".join(text) + f"<!-- end of tables -->{after}")


if __name__ == "__main__":
    main()
