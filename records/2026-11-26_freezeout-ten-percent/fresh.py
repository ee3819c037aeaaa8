"""Ten fresh seeds for what three could not tell: `python fresh.py` makes the runs that are missing and prints the tests.

The two strategies that FreezeOut's author names, from scratch, over as many updates as no freezing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any

from run import HERE, PLAIN, SAVED, SEEDS, Job, train
from scipy import stats

from lehr.lab.files import write_json
from lehr.lab.statistics import holm, pairs_needed, summarise

NAMED = ("linear, unscaled", "cubic, scaled")
FRESH = range(SEEDS, SEEDS + 10)
MARGIN = 1.0
SHORTER = "none, 90 %"


def job(method: str, seed: int) -> Job:
    if method == SHORTER:
        return Job("resnet", PLAIN, seed, 1.0 - SAVED)
    return Job("resnet", method, seed)


def accuracy(method: str, seed: int) -> float:
    return float(100.0 * json.loads(job(method, seed).file.read_text())["run"]["test"])


def p_of(gaps: list[float], alternative: str) -> float:
    return float(stats.ttest_1samp(gaps, -MARGIN, alternative=alternative).pvalue)


def table() -> dict[str, Any]:
    gaps = {method: [accuracy(method, seed) - accuracy(PLAIN, seed) for seed in FRESH] for method in (*NAMED, SHORTER)}
    less = holm({name: p_of(gaps[name], "greater") for name in NAMED})
    more = holm({name: p_of(gaps[name], "less") for name in NAMED})
    rows: dict[str, Any] = {PLAIN: asdict(summarise([accuracy(PLAIN, seed) for seed in FRESH]))}
    for name in NAMED:
        gap = summarise(gaps[name])
        verdict = "holds" if less[name] < 0.05 else "contradicted" if more[name] < 0.05 else "cannot tell"
        assert gap.sd is not None
        rows[name] = {
            "gap": asdict(gap), "p_less_lost": less[name], "p_more_lost": more[name], "verdict": verdict,
            "needed": pairs_needed(gap.sd, abs(gap.mean + MARGIN)),
        }  # fmt: skip
    rows[SHORTER] = {"gap": asdict(summarise(gaps[SHORTER])), "p_less_lost": p_of(gaps[SHORTER], "greater")}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=2)
    jobs = [job(method, seed) for seed in FRESH for method in (PLAIN, *NAMED, SHORTER)]
    with ProcessPoolExecutor(parser.parse_args().processes, multiprocessing.get_context("spawn")) as pool:
        for said in pool.map(train, jobs):
            print(said, flush=True)
    found = table()
    print(json.dumps(found, indent=1))
    write_json(HERE / "fresh.json", found, indent=1)


if __name__ == "__main__":
    main()
