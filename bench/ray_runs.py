"""How many runs a second one coordinator hands out on Ray and writes, with runs that train nothing.

Run it with Ray installed: python bench/ray_runs.py [runs]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lehr import lab
from lehr.lab.comparison import Job
from lehr.lab.on_ray import OnRay, connected
from lehr.lab.workers import cores


class Empty:
    """An order whose runs are there at once, as long as those of `lehr compare` usually are."""

    threads = 1

    def make(self, sent: bytes, report: Callable[[float], None]) -> str:
        return "x" * 20_000


def main(count: int) -> None:
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - that is its name; else whatever else runs here comes first
    cluster = lab.RayCluster()
    jobs = [Job(lab.METHODS["linear"], 0.1, seed) for seed in range(count)]
    with connected(cluster, cores()), tempfile.TemporaryDirectory() as folder:
        make = OnRay(Empty(), cluster, cores())  # type: ignore[arg-type]
        make(jobs[: cores()], Path(folder), lambda under_way, done: None)  # workers start
        began, busy = time.perf_counter(), time.process_time()
        make(jobs, Path(folder), lambda under_way, done: None)
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
    print(
        f"{count} empty runs in {seconds:.1f} s: {count / seconds:.0f} a second; the coordinator computes "
        f"{1000 * busy / count:.1f} ms a run, so that it could hand out {count / busy:.0f} on a core of its own"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)
