"""Verdicts, table and figure by the rule in README.md: `python analyse.py`."""

from __future__ import annotations

import json
from dataclasses import asdict
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from run import FEWER, HERE, SEEDS, SETTINGS, Job
from scipy import stats

from lehr.lab.files import write, write_json
from lehr.lab.statistics import holm, summarise

LEVEL, MARGIN = 0.05, 0.5
MORE_RATES = (3e-5, 1e-4)
"""At which the baseline on MiniLM was run with all seeds, after the verdicts by the rule."""
CLAIMS = (("fewer", "lrtuner, 71 %"), ("equal", "lrtuner"))
WAYS = {
    "warmup_linear": ("warmup_linear", 1.0),
    "knee": ("knee", 1.0),
    "lrtuner": ("lrtuner", 1.0),
    "lrtuner, 71 %": ("lrtuner", FEWER),
    "autopilot": ("autopilot", 1.0),
    "learned": ("learned", 1.0),
}


def load(setting: str) -> dict[str, list[dict[str, Any]]]:
    """Each way -> its runs, seed by seed."""
    found = {}
    for way, (method, share) in WAYS.items():
        files = [Job(setting, method, seed, share).file for seed in range(SEEDS)]
        if all(file.exists() for file in files):
            found[way] = [json.loads(file.read_text())["run"] for file in files]
    return found


def tests(runs: dict[str, list[dict[str, Any]]], baseline: str) -> dict[str, dict[str, float]]:
    """The paired differences from the baseline, in points."""
    found = {}
    for way in set(runs) - {baseline}:
        gaps = [100 * (a["test"] - b["test"]) for a, b in zip(runs[way], runs[baseline], strict=True)]
        summary = summarise(gaps)
        assert summary.sd is not None
        found[way] = {
            "n": len(gaps), "gap": summary.mean, "sd": summary.sd,
            "p": float(stats.ttest_1samp(gaps, 0.0).pvalue),
            "p_no_worse": float(stats.ttest_1samp(gaps, -MARGIN, alternative="greater").pvalue),
        }  # fmt: skip
    return found


def verdict(claim: str, found: dict[str, float]) -> str:
    if claim == "fewer" and found["p_no_worse_holm"] < LEVEL:
        return "holds"
    if found["p_holm"] < LEVEL:
        return "contradicted" if found["gap"] < 0.0 else ("holds" if claim == "equal" else "cannot tell")
    return "cannot tell"


def corrected(claimed: dict[Any, dict[str, float]]) -> None:
    """Add to the tests of claims their p-values, Holm-corrected over all of them."""
    for name in ("p", "p_no_worse"):
        found = holm({str(key): row[name] for key, row in claimed.items()})
        for key, row in claimed.items():
            row[f"{name}_holm"] = found[str(key)]


def other_rates(runs: dict[str, list[dict[str, Any]]]) -> dict[float, list[dict[str, Any]]]:
    """The baseline on MiniLM at each rate with all seeds: the one that a single run chose, and two more."""
    method, share = WAYS["warmup_linear"]
    more = {
        lr: [json.loads(Job("minilm", method, seed, share, lr).file.read_text())["run"] for seed in range(SEEDS)]
        for lr in MORE_RATES
    }
    return dict(sorted({**more, runs["warmup_linear"][0]["lr"]: runs["warmup_linear"]}.items()))


def fairer(everything: dict[str, dict[str, list[dict[str, Any]]]], found: dict[str, Any]) -> dict[str, Any]:
    """The claims against a baseline on MiniLM whose rate validation chose by all seeds: decided after the rule.

    The tests of the other setting stay, and the correction is over the same four tests as the rule's.
    """
    rates = other_rates(everything["minilm"])
    chosen = max(rates, key=lambda lr: fmean(run["validation"] for run in rates[lr]))
    against = tests({**everything["minilm"], "warmup_linear": rates[chosen]}, "warmup_linear")
    claimed = {(setting, way): dict(found[setting][way]) for setting in found for _, way in CLAIMS}
    claimed |= {("minilm", way): against[way] for _, way in CLAIMS}
    corrected(claimed)
    verdicts = {claim: verdict(claim, claimed["minilm", way]) for claim, way in CLAIMS}
    print(f"\nMiniLM, the rate by the mean of {SEEDS} seeds on validation: {chosen:g}")
    table = {}
    for lr, several in rates.items():
        parts = {name: summarise([100 * run[name] for run in several]) for name in ("validation", "test")}
        table[f"{lr:g}"] = {name: asdict(one) for name, one in parts.items()}
        print(f"| {lr:g} | {' | '.join(f'{one.mean:.2f} ± {one.sd:.2f}' for one in parts.values())} |")
    for way, gap in against.items():
        print(f"| {way} | {gap['gap']:+.2f} ± {gap['sd']:.2f}, p = {gap['p']:.4f} |")
    for claim, way in CLAIMS:
        gap = against[way]
        print(f"{claim}: {verdicts[claim]}, p = {gap['p_holm']:.4f}, no worse: {gap['p_no_worse_holm']:.4f}")
    return {
        "setting": "minilm", "rate": chosen, "rates": table, "against": against, "verdicts": verdicts,
        "seconds": sum(run["seconds"] for lr in MORE_RATES for run in rates[lr]),
    }  # fmt: skip


def draw(everything: dict[str, dict[str, list[dict[str, Any]]]]) -> Figure:
    """The rate of each run of the untuned ways beside the tuned one's."""
    figure = Figure(figsize=(8.4, 3.2), layout="constrained")
    colours = {"warmup_linear": "#2456a6", "lrtuner": "#d1495b", "autopilot": "#2a9d8f", "learned": "#e9a23b"}
    for place, (setting, runs) in enumerate(everything.items()):
        axes = figure.add_subplot(1, 2, place + 1)
        for way, colour in colours.items():
            for number, run in enumerate(runs[way]):
                rows = [(at, rate) for at, rate in run["rates"] if rate > 0.0]
                label = way.replace("_", " ") if number == 0 else None
                axes.plot(*zip(*rows, strict=True), color=colour, linewidth=1.2, alpha=0.8, label=label)
        axes.set(yscale="log", xlabel="share of the budget", ylabel="rate", title=setting)
        peak = max(rate for run in runs["warmup_linear"] for _, rate in run["rates"])
        axes.set_ylim(peak / 3e3, 3.0 * peak)
        axes.grid(color="#e3e6eb")
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure


def main() -> None:
    everything = {setting: load(setting) for setting in SETTINGS}
    baselines = {
        setting: max(SETTINGS[setting].tuned, key=lambda way, runs=runs: fmean(run["validation"] for run in runs[way]))
        for setting, runs in everything.items()
    }
    found = {setting: tests(runs, baselines[setting]) for setting, runs in everything.items()}
    claimed = {(setting, way): found[setting][way] for setting in found for _, way in CLAIMS}
    corrected(claimed)
    summary: dict[str, Any] = {}
    for setting, runs in everything.items():
        print(f"\n{setting}: the baseline is {baselines[setting]}")
        summary[setting] = {"baseline": baselines[setting], "ways": {}}
        for way, several in runs.items():
            test = summarise([100 * run["test"] for run in several])
            rates = [run["lr"] for run in several]
            peaks = [max(rate for _, rate in run["rates"]) for run in several]
            row = {
                "n": test.n, "mean": test.mean, "sd": test.sd, "rates": rates, "peaks": peaks,
                "probe_passes": fmean(run["probe_passes"] for run in several), "updates": several[0]["updates"],
                "against": found[setting].get(way),
            }  # fmt: skip
            summary[setting]["ways"][way] = row
            gap = row["against"]
            said = f"{gap['gap']:+.2f} ± {gap['sd']:.2f}, p = {gap['p']:.4f}" if gap else ""
            print(f"| {way} | {test.mean:.2f} ± {test.sd:.2f} | {min(peaks):.2g} to {max(peaks):.2g} | {said} |")
        for claim, way in CLAIMS:
            row = claimed[setting, way]
            row["verdict"] = verdict(claim, row)
            print(
                f"{claim}: {row['verdict']}, p = {row['p_holm']:.4f}, "
                f"no worse by {MARGIN}: {row['p_no_worse_holm']:.4f}"
            )
    summary["decided_after"] = fairer(everything, found)
    write_json(HERE / "summary.json", summary)
    write(HERE / "rates.png", lambda path: draw(everything).savefig(path, dpi=150, format="png"))


if __name__ == "__main__":
    main()
