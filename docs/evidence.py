"""What the records say of each system's published headline: read from their files, tested, and never said by hand.

Every row of the table has the claim, what was published, and the paired differences of our runs. Its verdict follows
from them by `verdict` alone, or is that of its record, where that has a rule of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from scipy import stats

from lehr.lab.statistics import LEVEL, holm, pairs_needed

RECORDS = Path(__file__).parents[1] / "records"
SEEDS = (0, 1, 2)
Kind = Literal["ahead", "equal", "no worse"]


@dataclass(frozen=True)
class Gaps:
    """Paired differences over seeds; above zero is in the claim's favour."""

    n: int
    mean: float
    sd: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Gaps:
        return cls(len(values), fmean(values), stdev(values))

    def p(self, against: float = 0.0, alternative: str = "two-sided") -> float:
        """Of the t-test that the mean is `against`."""
        t = (self.mean - against) / (self.sd / math.sqrt(self.n))
        below = float(stats.t.cdf(t, self.n - 1))
        return {
            "less": below,
            "greater": 1.0 - below,
            "two-sided": 2.0 * min(below, 1.0 - below),
        }[alternative]


@dataclass(frozen=True)
class Ruled:
    """What a record says of a claim by its own rule.

    Args:
        p: of the test that bears the claim out, corrected as the rule says.
        verdict: holds, contradicted or cannot tell.
    """

    p: float
    verdict: str


@dataclass(frozen=True)
class Row:
    """A published headline beside ours.

    Args:
        system: whose.
        claim: what it says.
        published: its numbers.
        ours: on what we tried it.
        record: where the runs are.
        gaps: ours; None where nothing was run.
        kind: what would bear the claim out: a difference above zero, one within the margin, or one above minus it.
        margin: in the unit of the gaps.
        unit: of the gaps.
        ruled: p and verdict by the record's own rule; None where this page decides.
    """

    system: str
    claim: str
    published: str
    ours: str
    record: str
    gaps: Gaps | None
    kind: Kind = "ahead"
    margin: float = 0.0
    unit: str = "points"
    ruled: Ruled | None = None

    @property
    def p(self) -> float | None:
        """Of the test that bears the claim out; two-sided where it says ahead."""
        if self.gaps is None or self.gaps.n < 2:
            return None
        if self.kind == "ahead":
            return self.gaps.p()
        above = self.gaps.p(-self.margin, "greater")
        return (
            above
            if self.kind == "no worse"
            else max(above, self.gaps.p(self.margin, "less"))
        )

    @property
    def p_against(self) -> float | None:
        """Of the test that contradicts it."""
        if self.gaps is None or self.gaps.n < 2:
            return None
        if self.kind == "no worse":
            return self.gaps.p(-self.margin, "less")
        return self.gaps.p()


def verdict(row: Row, p: float | None, p_against: float | None) -> str:
    """What the row says: nothing but what its tests do."""
    if row.gaps is None:
        return "not run"
    if p is None or p_against is None:
        return "cannot tell"
    if p < LEVEL and (row.kind != "ahead" or row.gaps.mean > 0.0):
        return "holds"
    return _against(row) if p_against < LEVEL else "cannot tell"


def _against(row: Row) -> str:
    """Contradicted, or more than was claimed where that was a tie."""
    more = row.kind == "equal" and row.gaps is not None and row.gaps.mean > 0.0
    return "more than that" if more else "contradicted"


def tested(rows: Sequence[Row]) -> list[tuple[Row, float | None, str]]:
    """Each row with its p and its verdict: its record's, or Holm-corrected over the other rows from its record."""
    found: dict[int, tuple[Row, float | None, str]] = {}
    for record in dict.fromkeys(row.record for row in rows):
        mine = {str(k): row for k, row in enumerate(rows) if row.record == record}
        here = {k: row for k, row in mine.items() if row.ruled is None}
        for_it = holm({k: row.p for k, row in here.items() if row.p is not None})
        against = holm(
            {k: row.p_against for k, row in here.items() if row.p_against is not None}
        )
        for k, row in mine.items():
            if row.ruled is None:
                said = verdict(row, for_it.get(k), against.get(k))
                found[int(k)] = (row, for_it.get(k), said)
            else:
                said = row.ruled.verdict
                said = _against(row) if said == "contradicted" else said
                found[int(k)] = (row, row.ruled.p, said)
    return [found[k] for k in range(len(rows))]


def headlines() -> list[Row]:
    """Every headline of the five systems."""
    return [
        *_budgeted(),
        *_mlrsnet(),
        *_cyclical(),
        *_freezeout(),
        *_a_tenth(),
        *_tuner(),
        *_tuner_at_home(),
    ]


def _budgeted() -> Iterable[Row]:
    small = "2026-11-22_schedules-by-budget"
    large = "2026-11-26_linear-against-step"
    before = _json(RECORDS / small / "summary.json")
    after = _json(RECORDS / large / "summary.json")
    early = "30 and 60 %"
    converged = {
        "digits": (f"MLP, digits, 930 updates; step at {early}", 100.0, "points"),
        "tinyshakespeare": (
            f"transformer, Tiny Shakespeare, 300 updates; step at {early}",
            1.0,
            "nats",
        ),
    }
    images = {
        "cifar10": "CNN, CIFAR-10, 3,510 updates",
        "fashion-mnist": "CNN, Fashion-MNIST, 3,900 updates",
    }
    steps = {"step 60/90": "60 and 90 %", "step 30/60": early}
    published = {
        0.01: ("linear beats step at 1 % of the budget", "30.6 against 20.4 %"),
        0.1: ("linear beats step at 10 % of the budget", "62.3 against 59.5 %"),
        1.0: ("linear ties with step at the whole budget", "69.3 against 69.3 %"),
    }
    for share, (claim, numbers) in published.items():
        said = ("Budgeted training", claim, f"{numbers} (ImageNet, ResNet-18)")
        whole = share == 1.0
        kind: Kind = "equal" if whole else "ahead"
        for task, ours in images.items():
            for step, milestones in steps.items():
                row = _at(after[task]["linear_against"][step], share)
                gaps = Gaps(row["n"], row["gap"]["mean"], row["gap"]["sd"])
                ruled = (
                    Ruled(row["p_tie"], row["tie"])
                    if whole
                    else Ruled(row["p_holm"], row["verdict"])
                )
                yield Row(
                    *said,
                    f"{ours}; step at {milestones}",
                    large,
                    gaps,
                    kind,
                    1.0,
                    ruled=ruled,
                )
        for task, (ours, scale, unit) in converged.items():
            row = _at(before[task]["linear_against_step"], share)
            gaps = Gaps(row["n"], scale * row["gap"]["mean"], scale * row["gap"]["sd"])
            margin = 0.05 if unit == "nats" else 1.0
            yield Row(*said, ours, small, gaps, kind, margin, unit)


def _at(rows: Iterable[Any], share: float) -> Any:
    """The row of this share of the budget."""
    return next(row for row in rows if row["share"] == share)


def _mlrsnet() -> Iterable[Row]:
    record = "2026-11-22_mlr-snet"
    runs = {
        (
            one["job"]["world"],
            one["job"]["kind"],
            one["job"]["method"],
            one["job"]["seed"],
        ): one["run"]["test"]
        for one in _runs(record)
    }
    homes = {
        "fashion": "CNN, Fashion-MNIST, 300 updates",
        "resnet": "ResNet-8, CIFAR-10, 300 updates",
    }
    others = {
        "network": "Fashion-MNIST with a ResNet",
        "dataset": "CIFAR-10 with a CNN",
        "text": "transformer, Tiny Shakespeare",
    }
    changed = {
        "half": "CNN, Fashion-MNIST, half the updates",
        "double": "CNN, Fashion-MNIST, twice the updates",
        "few": "CNN, Fashion-MNIST, 1,000 images",
        "noise20": "CNN, Fashion-MNIST, 20 % of the labels wrong",
        "noise40": "CNN, Fashion-MNIST, 40 % of the labels wrong",
    }

    def gaps(world: str, one: tuple[str, str], other: tuple[str, str]) -> Gaps:
        scale = -1.0 if world == "text" else 100.0
        return Gaps.of(
            [
                scale * (runs[world, *one, seed] - runs[world, *other, seed])
                for seed in SEEDS
            ]
        )

    claim = "meta-trained at home, it beats step decay"
    for kind in ("plain", "momentum"):
        for world, ours in homes.items():
            found = gaps(world, (kind, "mlrsnet"), (kind, "multistep"))
            said = f"{ours}, SGD {'without' if kind == 'plain' else 'with'} momentum"
            yield Row(
                "MLR-SNet",
                claim,
                "about 94.5 against 93.8 % (CIFAR-10, ResNet-18)",
                said,
                record,
                found,
            )
    claim = "the released networks, carried over, beat a tuned schedule"
    numbers = "about 91.3 against 89.4 % (ShuffleNetV2), 74.7 against 75.9 % (ImageNet)"
    unknown = "also for other lengths, sizes and noise (abstract); no numbers found"
    for world, ours in {**homes, **others, **changed}.items():
        text = world == "text"
        ways = (
            "clipped SGD, linear with AdamW"
            if text
            else "plain SGD, linear with momentum"
        )
        found = gaps(
            world,
            ("clipped" if text else "plain", "published"),
            ("adamw" if text else "momentum", "linear"),
        )
        yield Row(
            "MLR-SNet",
            claim,
            unknown if world in changed else numbers,
            f"{ours}; {ways}",
            record,
            found,
            unit="nats" if text else "points",
        )


def _cyclical() -> Iterable[Row]:
    short, long = "2026-11-22_clr-cifar10", "2026-11-26_clr-published-length"
    runs = {
        (one["method"], one["seed"]): 100.0 * one["test"]
        for one in _runs(short, "scale-5_*.json")
    }
    claims: list[tuple[str, str, str, str, Kind]] = [
        ("triangular = fixed", "triangular", "fixed", "the cycle comes as far in 2/7 of the updates", "equal"),
        ("exp > triangular", "exp", "triangular", "plain decay from the cycle's highest rate beats the cycle", "ahead"),
        ("linear > triangular", "linear", "triangular", "so does a line to zero", "ahead"),
    ]  # fmt: skip
    numbers = {
        "triangular = fixed": "76.0 and 76.0 % (a port to Caffe's quick net, CIFAR-10)",
        "exp > triangular": "78.7 against 77.7 % (the port, single runs, exp for 70,000); Smith has 79.1 against 81.4",
        "linear > triangular": "not published",
    }
    summary = RECORDS / long / "summary.json"
    at_length = _json(summary)["claims"] if summary.exists() else {}
    for name, one, other, claim, kind in claims:
        gaps = Gaps.of([runs[one, seed] - runs[other, seed] for seed in SEEDS])
        yield Row(
            "Cyclical rates",
            claim,
            numbers[name],
            "the same, a fifth of the length",
            short,
            gaps,
            kind,
            1.0,
        )
        found = at_length.get(name)
        gaps_there = Gaps(found["n"], found["gap"], found["sd"]) if found else None
        ruled = None
        if found:
            p = found["p"] if found["p_equal"] is None else found["p_equal"]
            ruled = Ruled(p, found["verdict"].partition(" with ")[0])
        yield Row(
            "Cyclical rates",
            claim,
            numbers[name],
            "the same, whole length",
            long,
            gaps_there,
            kind,
            1.0,
            ruled=ruled,
        )
    yield from _cycles_of_the_paper(long)


def _cycles_of_the_paper(record: str) -> Iterable[Row]:
    """The lines of Smith's table 1 that the record's rule does not speak of."""
    runs = {(one["method"], one["seed"]): 100.0 * one["test"] for one in _runs(record)}
    seeds = sorted(seed for method, seed in runs if method == "fixed")
    net = "Caffe's full net"
    claims: tuple[tuple[str, str, str, str, Kind], ...] = (
        ("exp_range", "fixed", "a cycle whose bounds decay comes as far in 42/70 of the updates",
         f"82.2 and 81.4 % ({net})", "equal"),
        ("triangular2", "decay", "a cycle beats an early fall to its lower bound",
         f"81.4, triangular2, against 78.5 % ({net})", "ahead"),
    )  # fmt: skip
    for one, other, claim, numbers, kind in claims:
        gaps = Gaps.of([runs[one, seed] - runs[other, seed] for seed in seeds])
        yield Row(
            "Cyclical rates",
            claim,
            numbers,
            "the quick net, CIFAR-10, in 20/70; decided after the rule",
            record,
            gaps,
            kind,
            1.0,
        )


def _freezeout() -> Iterable[Row]:
    record = "2026-11-22_freezeout-cifar10"
    summary = _json(RECORDS / record / "summary.json")
    within = "up to 20 % faster within 3 % of the error"
    claims = (
        ("densenet", "squared", True, within, "20 % (DenseNet)"),
        ("densenet", "squared", False, within, "20 % (DenseNet)"),
        ("resnet", "cubic", True, "20 % faster at no loss", "20 % (ResNet)"),
        ("densenet", "linear", False, "10 % faster at no loss", "10 % (DenseNet)"),
    )
    names = {"densenet": "DenseNet", "resnet": "ResNet"}
    for network, how, scaled, claim, numbers in claims:
        method = f"FreezeOut(t0=0.8, how='{how}', scale_lr={scaled})"
        row = next(row for row in summary[network]["rows"] if row["method"] == method)
        gaps = Gaps(row["n"], -row["gap"]["mean"], row["gap"]["sd"])
        error = summary[network]["full"]["error"]["mean"]
        margin = 0.03 * error if claim == within else 1.0
        way = f"{how}, {'scaled' if scaled else 'unscaled'}"
        saved = f"{100.0 * row['predicted']:.0f} %"
        ours = f"{names[network]}, CIFAR-10, 1,000 updates; {way}; predicted to save {saved}"
        yield Row("FreezeOut", claim, numbers, ours, record, gaps, "no worse", margin)
    yield Row("FreezeOut", "no gain with VGG", "no numbers found", "", "", None)


def _a_tenth() -> Iterable[Row]:
    record = "2026-11-26_freezeout-ten-percent"
    found = _json(RECORDS / record / "summary.json")["networks"]
    homes = {
        "resnet": "ResNet, CIFAR-10, 2,000 updates",
        "minilm": "MiniLM fine-tuned on film reviews, 1,168 updates",
    }
    claimed = ("linear, unscaled", "cubic, scaled")
    rows = [
        (f"{ours}; {method}", row)
        for network, ours in homes.items()
        for row in found[network]["rows"]
        for method in claimed
        if row["method"] == method
    ]
    for ours, row in rows:
        gaps = Gaps(row["n"], row["gap"]["mean"], row["gap"]["sd"])
        yield Row(
            "FreezeOut",
            "10 % faster at no loss",
            "10 % (DenseNet)",
            f"{ours}; predicted to save 10 %",
            record,
            gaps,
            "no worse",
            1.0,
            ruled=Ruled(row["p_less_lost"], row["verdict"]),
        )
    for ours, row in rows:
        gap = row["gap_longer"]
        yield Row(
            "FreezeOut",
            "over as much time, it beats no freezing",
            "not published",
            f"{ours}; over 1 / 0.9 of the updates",
            record,
            Gaps(row["n"], gap["mean"], gap["sd"]),
            ruled=Ruled(row["p_longer"], row["verdict_longer"]),
        )


def _tuner() -> Iterable[Row]:
    record = "2026-11-22_lrtuner"
    summary = _json(RECORDS / record / "summary.json")
    for task, ours in {
        "digits": "MLP, digits, 620 updates",
        "fashion-mnist": "CNN, Fashion-MNIST, 500 updates",
        "cifar10": "CNN, CIFAR-10, 500 updates",
        "tinyshakespeare": "transformer, Tiny Shakespeare, 400 updates",
    }.items():
        best = summary[task]["best_tuned"]
        scale, unit = (-1.0, "nats") if task == "tinyshakespeare" else (100.0, "points")
        runs = [
            one
            for one in _runs(record, f"{task}_*.json")
            if one["job"]["seed"] in SEEDS
        ]
        whole = [one for one in runs if one["job"]["share"] == 1.0]

        def mean(method: str, seed: int, whole: Sequence[Any] = tuple(whole)) -> float:
            return fmean(
                one["run"]["test"]
                for one in whole
                if one["job"]["method"] == method and one["job"]["seed"] == seed
            )

        gaps = Gaps.of(
            [scale * (mean("lrtuner", seed) - mean(best, seed)) for seed in SEEDS]
        )
        claim, numbers = (
            "untuned, it beats the tuned baseline",
            "+0.2 points (ImageNet, ResNet-50)",
        )
        yield Row(
            "LRTuner",
            claim,
            numbers,
            f"{ours}; best of five: {best}",
            record,
            gaps,
            unit=unit,
        )


def _tuner_at_home() -> Iterable[Row]:
    record = "2026-11-26_lrtuner-claims"
    summary = _json(RECORDS / record / "summary.json")
    homes = {
        "resnet18": "ResNet-18, CIFAR-10, 1,755 updates",
        "minilm": "MiniLM fine-tuned on film reviews, 1,168 updates",
    }
    after = summary["decided_after"]
    claims: tuple[tuple[str, str, str, str, Kind, float], ...] = (
        ("fewer", "lrtuner, 71 %", "untuned, as far as the tuned one in 71 % of the updates", "29 % fewer", "no worse",
         0.5),
        ("equal", "lrtuner", "untuned, it beats the tuned baseline", "+0.2 points (ImageNet, ResNet-50)", "ahead", 0.0),
    )  # fmt: skip
    for name, way, claim, published, kind, margin in claims:
        test = "p_no_worse_holm" if kind == "no worse" else "p_holm"
        found = [
            (f"{ours}; tuned by one run a rate", against, against["verdict"])
            for setting, ours in homes.items()
            for against in [summary[setting]["ways"][way]["against"]]
        ]
        tuned = f"{homes['minilm']}; tuned by five, decided after the rule"
        found.append((tuned, after["against"][way], after["verdicts"][name]))
        for ours, row, said in found:
            gaps = Gaps(row["n"], row["gap"], row["sd"])
            yield Row(
                "LRTuner",
                claim,
                published,
                ours,
                record,
                gaps,
                kind,
                margin,
                ruled=Ruled(row[test], said),
            )


def table(rows: Sequence[Row]) -> str:
    """The rows as tables, one a system."""
    parts = []
    for system in dict.fromkeys(row.system for row in rows):
        mine = [row for row in rows if row.system == system]
        records = " and ".join(
            f"`records/{one}`"
            for one in dict.fromkeys(row.record for row in mine if row.record)
        )
        lines = [
            "| claim | verdict | published | ours | difference | n | p | seeds needed |",
            "|---|---|---|---|---:|---:|---:|---:|",
            *(_line(*found) for found in tested(mine)),
        ]
        parts.append(
            "\n".join([f"## {system}", "", f"Runs: {records}.", "", *lines, ""])
        )
    return "\n".join(parts)


def _line(row: Row, p: float | None, said: str) -> str:
    gaps = row.gaps
    cells = (
        row.claim,
        f"**{said}**",
        row.published,
        row.ours,
        "" if gaps is None else _shown(row, gaps),
        str(gaps.n) if gaps else "",
        "" if p is None else f"{p:.3f}" if p >= 0.001 else "< 0.001",
        _needed(gaps) if gaps and said == "cannot tell" and row.kind == "ahead" else "",
    )
    return f"| {' | '.join(cells)} |"


def _needed(gaps: Gaps) -> str:
    """How many seeds would show the difference; nothing where there were as many, or no number would."""
    needed = pairs_needed(gaps.sd, abs(gaps.mean))
    return str(needed) if needed and needed > gaps.n else ""


def tally(rows: Sequence[Row]) -> str:
    """How many rows have which verdict."""
    said = [what for _, _, what in tested(rows)]
    counts = ", ".join(f"{said.count(what)} {what}" for what in dict.fromkeys(said))
    return f"Of {len(said)} lines: {counts}.\n"


def lost(rows: Sequence[Row]) -> str:
    """The rows that contradict what was published, as a list."""
    lines = [
        f'- **{row.system}**: "{row.claim}". Published: {row.published}. Ours: {row.ours}, {_shown(row, row.gaps)}, '
        f"n = {row.gaps.n}. Runs: `records/{row.record}`."
        for row, _, said in tested(rows)
        if said == "contradicted" and row.gaps is not None
    ]
    return "\n".join(lines) + "\n"


def _shown(row: Row, gaps: Gaps) -> str:
    digits = 3 if row.unit == "nats" else 2
    margin = {
        "ahead": "",
        "equal": f", margin ±{row.margin:.3g}",
        "no worse": f", margin -{row.margin:.3g}",
    }[row.kind]
    return f"{gaps.mean:+z.{digits}f} ± {gaps.sd:.{digits}f} {row.unit}{margin}"


def by_budget() -> Figure:
    """Test accuracy on CIFAR-10 against the share of the budget, from the record of schedules by budget."""
    summary = _json(RECORDS / "2026-11-22_schedules-by-budget" / "summary.json")[
        "cifar10"
    ]["methods"]
    shares = ["1%", "5%", "10%", "25%", "50%", "100%"]
    best = {
        share: max(rows[share]["mean"] for rows in summary.values()) for share in shares
    }
    figure = Figure(figsize=(7.2, 3.3), layout="constrained")
    axes = figure.add_subplot()
    styles = {
        "knee": "#2a9d8f",
        "linear": "#2456a6",
        "cosine": "#e9a23b",
        "step": "#d1495b",
        "constant": "#7a828e",
    }
    for method, colour in styles.items():
        means = np.array(
            [100.0 * (summary[method][share]["mean"] - best[share]) for share in shares]
        )
        errors = np.array(
            [
                100.0
                * summary[method][share]["sd"]
                / math.sqrt(summary[method][share]["n"])
                for share in shares
            ]
        )
        axes.plot(
            range(len(shares)),
            means,
            color=colour,
            linewidth=2,
            marker="o",
            markersize=4,
            label=method,
        )
        axes.fill_between(
            range(len(shares)),
            means - errors,
            means + errors,
            color=colour,
            alpha=0.12,
            linewidth=0,
        )
    axes.set(
        xlabel="share of the budget, to which each schedule is fitted",
        ylabel="points behind the best of eleven",
    )
    axes.set_xticks(range(len(shares)), [share.replace("%", " %") for share in shares])
    axes.grid(color="#e3e6eb")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, ncols=5, loc="lower left")
    return figure


def draw_by_budget(path: Path) -> None:
    """Write that figure, the same to the byte each time."""
    with rc_context({"svg.hashsalt": "lehr"}):
        by_budget().savefig(path, metadata={"Date": None})


def write_all(folder: Path) -> None:
    """Write the parts of pages that say what was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = headlines()
    for name, text in (
        ("headlines", table(rows)),
        ("tally", tally(rows)),
        ("lost", lost(rows)),
    ):
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def _runs(record: str, pattern: str = "*.json") -> Iterable[Any]:
    return [_json(path) for path in sorted((RECORDS / record / "runs").glob(pattern))]


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
