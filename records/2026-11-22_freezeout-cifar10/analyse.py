"""Tables and figure of this record, from the runs beside it: `python analyse.py`."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from lehr.lab.files import write, write_json, write_text
from lehr.lab.statistics import Summary, holm, summarise

HERE = Path(__file__).parent
SEARCH = 1_000_003
COLOURS = {"cubic": "#2456a6", "squared": "#2a9d8f", "linear": "#d1495b"}


def load() -> dict[str, dict[tuple[str, float], dict[int, dict[str, Any]]]]:
    """Network -> (method, share) -> seed -> run."""
    table: dict[str, dict[tuple[str, float], dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for path in sorted((HERE / "runs").glob("*.json")):
        kept = json.loads(path.read_text())
        run = kept["run"]
        if run["seed"] < SEARCH:
            run["predicted"] = kept["predicted_to_save"]
            table[kept["network"]][run["method"], run["share"]][run["seed"]] = run
    return table


def rows_of(runs: dict[tuple[str, float], dict[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Each strategy against no freezing: in as many updates, and in as much time by a shorter run."""
    full = runs["cosine", 1.0]
    shares = sorted(share for method, share in runs if method == "cosine")
    rows = []
    for (method, share), by_seed in runs.items():
        if method == "cosine" and share == 1.0:
            continue
        seeds = sorted(by_seed.keys() & full.keys())
        errors = {seed: 100 - 100 * by_seed[seed]["test"] for seed in seeds}
        base = {seed: 100 - 100 * full[seed]["test"] for seed in seeds}
        saved = 1 - fmean(by_seed[s]["seconds"] for s in seeds) / fmean(full[s]["seconds"] for s in seeds)
        predicted = fmean(by_seed[s]["predicted"] for s in seeds) if method != "cosine" else 1.0 - share
        shorter = {  # what a shorter run without freezing has in the predicted time, between those that were made
            seed: float(np.interp(1 - predicted, shares, [100 - 100 * runs["cosine", s][seed]["test"] for s in shares]))
            for seed in seeds
            if all(seed in runs["cosine", s] for s in shares)
        }
        gaps = [errors[seed] - base[seed] for seed in seeds]
        fair = [errors[seed] - shorter[seed] for seed in shorter]
        rows.append({
            "method": method, "share": share, "n": len(seeds), "error": asdict(summarise(list(errors.values()))),
            "saved": saved, "predicted": predicted, "gap": asdict(summarise(gaps)),
            "relative": 100 * fmean(gaps) / fmean(base.values()), "p": p_of(gaps),
            "gap_at_equal_time": asdict(summarise(fair)), "p_at_equal_time": p_of(fair),
        })  # fmt: skip
    for p in ("p", "p_at_equal_time"):
        frozen = [row for row in rows if row["method"] != "cosine" and row[p] is not None]
        known = {row["method"]: row[p] for row in frozen}
        corrected = holm(known)
        for row in rows:
            row[f"{p}_holm"] = corrected.get(row["method"])
    return sorted(rows, key=lambda row: (row["method"] == "cosine", row["predicted"]))


def p_of(gaps: list[float]) -> float | None:
    """Of the paired t-test."""
    return float(stats.ttest_1samp(gaps, 0.0).pvalue) if len(gaps) > 1 and len(set(gaps)) > 1 else None


def draw(tables: dict[str, Any]) -> None:
    """Error against time saved, as the seed's figure has it."""
    figure = Figure(figsize=(5.2 * len(tables), 4.2), layout="constrained")
    for axes, (network, table) in zip(figure.subplots(1, len(tables), squeeze=False)[0], tables.items(), strict=True):
        full = table["full"]["error"]
        plain = sorted((row["predicted"], row["error"]["mean"]) for row in table["rows"] if row["method"] == "cosine")
        axes.plot([0.0, *(100 * x for x, _ in plain)], [full["mean"], *(y for _, y in plain)], color="#20242b",
                  marker="o", markersize=4, label="shorter runs, no freezing")  # fmt: skip
        axes.axhline(1.03 * full["mean"], color="#b9bfc9", linewidth=1, linestyle="--", label="3 % relative")
        for row in table["rows"]:
            if row["method"] == "cosine":
                continue
            how = next(name for name in COLOURS if name in row["method"])
            scaled = "scale_lr=True" in row["method"]
            axes.errorbar(100 * row["predicted"], row["error"]["mean"], yerr=row["error"]["sd"], color=COLOURS[how],
                          marker="s" if scaled else "^", markersize=6, capsize=2, linewidth=1,
                          label=f"{how}, {'scaled' if scaled else 'unscaled'}")  # fmt: skip
        axes.set(xlabel="time saved (%), predicted", ylabel="test error (%)", title=network)
        axes.grid(color="#e3e6eb")
        axes.spines[["top", "right"]].set_visible(False)
    handles = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True))
    figure.axes[0].legend(handles.values(), handles.keys(), frameon=False, fontsize=7)
    write(HERE / "error_against_time.png", lambda part: figure.savefig(part, dpi=120, format="png"))


HEADING = (
    "| strategy | time saved, predicted | n | test error (%) | points more, same updates | relative | p "
    "| points more, same time | p |"
)


def spread(summary: dict[str, Any], sign: str = "") -> str:
    """Mean and deviation."""
    return f"{summary['mean']:{sign}.2f} ± {summary['sd'] or 0:.2f}"


def table_of(network: str, full: Summary, rows: list[dict[str, Any]]) -> list[str]:
    """Markdown: what each strategy is predicted to save, and what it costs."""
    title = f"### {network}: without freezing {spread(asdict(full))} % test error, n = {full.n}"
    lines = [title, "", HEADING, "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for row in rows:
        plain = row["method"] == "cosine"
        cells = [
            f"no freezing, {row['share']:.0%} of the updates" if plain else row["method"],
            f"{row['predicted']:.1%}", row["n"], spread(row["error"]), spread(row["gap"], "+"),
            f"{row['relative']:+.1f} %", "—" if row["p_holm"] is None else f"{row['p_holm']:.2g}",
            "—" if plain else spread(row["gap_at_equal_time"], "+"),
            "—" if row["p_at_equal_time_holm"] is None else f"{row['p_at_equal_time_holm']:.2g}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [*lines, ""]


def main() -> None:
    tables, lines = {}, []
    for network, runs in load().items():
        full = summarise([100 - 100 * run["test"] for run in runs["cosine", 1.0].values()])
        rows = rows_of(runs)
        tables[network] = {"full": {"error": asdict(full)}, "rows": rows}
        lines += table_of(network, full, rows)
    draw(tables)
    write_json(HERE / "summary.json", tables, indent=1)
    print("\n".join(lines))
    readme = (HERE / "README.md").read_text()
    before, _, rest = readme.partition("<!-- tables -->")
    after = rest.partition("<!-- end of tables -->")[2]
    write_text(HERE / "README.md", f"{before}<!-- tables -->\n" + "\n".join(lines) + f"<!-- end of tables -->{after}")


if __name__ == "__main__":
    main()
