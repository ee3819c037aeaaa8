"""What freezing saves where trainings are timed in lockstep, so that what disturbs the machine falls on all of them.

    python lockstep.py resnet       # and minilm

Written after `run.py resnet --measure`, whose plain runs alone took 38 to 45 seconds.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from statistics import fmean, stdev
from time import perf_counter

import torch
from run import HERE, NETWORKS, PLAIN, STRATEGIES, code, workload

import lehr
from lehr import lab
from lehr.lab.files import write_json
from lehr.lab.records import environment

ROUNDS = 3


def updates_of(network: str, method: str, updates: int) -> Iterator[float]:
    """The training at its start, an update at a time."""
    loop = workload(network).loop(0)
    loop.set_peak(1e-3)
    policy = lab.load_methods(code(network, method))[0].policy(loop)
    assert isinstance(policy, lehr.Policy | lehr.Schedule)
    return iter(loop.run(lehr.Scheduler(loop.training, policy, lehr.Budget(steps=updates))))


def seconds_of(network: str, updates: int, number: int) -> dict[str, float]:
    """Seconds of each method's whole run: every update is made by all of them, in an order that changes."""
    methods = [PLAIN, *STRATEGIES]
    trainings = {method: updates_of(network, method, updates) for method in methods}
    seconds = dict.fromkeys(methods, 0.0)
    chance = random.Random(number)  # noqa: S311 - no secret
    for _ in range(updates):
        chance.shuffle(methods)
        for method in methods:
            begun = perf_counter()
            next(trainings[method])
            seconds[method] += perf_counter() - begun
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=NETWORKS)
    network = parser.parse_args().network
    torch.set_num_threads(1)
    updates = NETWORKS[network].measured
    seconds_of(network, 10, 0)
    rounds = []
    for number in range(ROUNDS):
        rounds.append(seconds_of(network, updates, number))
        print(number, {method: round(taken, 1) for method, taken in rounds[-1].items()}, flush=True)
    for method in STRATEGIES:
        saved = [1.0 - one[method] / one[PLAIN] for one in rounds]
        print(f"{network}, {method}: {fmean(saved):.1%} ± {stdev(saved):.1%} saved", flush=True)
    plans = {method: code(network, method) for method in STRATEGIES}
    write_json(
        HERE / f"lockstep_{network}_cpu.json",
        {"network": network, "updates": updates, "plans": plans, "rounds": rounds, "environment": environment()},
        indent=None,
    )


if __name__ == "__main__":
    main()
