"""Evolution of the learned schedule: runs are made at the rates that variants of it set, and it moves to the better."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from os import PathLike
from typing import Any, Final, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from lehr._arguments import function_argument, number_argument, path_argument, whole_argument
from lehr._numbers import FARTHEST_STEP, LARGEST, MOST_SEEDS, SMALLEST, floats, real, shown
from lehr.learned.network import FARTHEST, WIDEST, BudgetNetwork
from lehr.learned.schedule import LearnedSchedule
from lehr.state import Checkpoints, RandomState
from lehr.state.learners import read_adam
from lehr.state.reading import Fields
from lehr.state.weight_files import digest

EDGES: Final = 4
"""From how many seeds each world says where schedules are to start."""

LEAST: Final = 0.1
"""To which share the meta rate falls."""

WORST: Final = 2.0
"""How much worse than the worst run that finished one counts that did not: in logarithms, or in the scores' range."""

MOST_OCTAVES: Final = 30.0
"""Rates from a billionth to a billion times an edge."""

FAR: Final = 2.5
"""Root mean squares beyond which a difference between two runs counts no more."""


@dataclass(frozen=True)
class Variant:
    """A run to be made.

    Args:
        schedule: at its start, a fresh one for each run.
        seed: of initial weights and data order.
        rate: the optimizer's own, which the schedule multiplies.

    >>> variant = Variant(LearnedSchedule.pretrained(), seed=3, rate=0.5)
    >>> variant.rate
    0.5
    """

    schedule: LearnedSchedule
    seed: int
    rate: float


@runtime_checkable
class World(Protocol):
    """A training from which schedules learn, made anew from any seed; `lehr.lab.world(task)` makes one.

    >>> class Bowl:
    ...     name = "bowl"
    ...     def edge(self, seed): return 1.0
    ...     def judge(self, variants, updates): return [(variant.rate - 0.5) ** 2 for variant in variants]
    >>> world: World = Bowl()
    """

    @property
    def name(self) -> str:
        """How headers and reports call it."""

    def edge(self, seed: int) -> float:
        """The rate from which schedules are to start, as users will find it: the edge of a range test."""

    def judge(self, variants: Sequence[Variant], updates: int) -> list[float]:
        """What each run of so many updates comes to on data it was not trained on; lower is better, NaN is failure."""


@dataclass(frozen=True)
class Generation:
    """What came of a generation.

    Args:
        number: from 1.
        of: how many there are.
        world: its name.
        updates: of its runs.
        median: of what they came to; infinite if most failed.
        failed: how many did.

    >>> told = []
    >>> class Bowl:
    ...     name = "bowl"
    ...     def edge(self, seed): return 1.0
    ...     def judge(self, variants, updates): return [variant.rate for variant in variants]
    >>> _ = evolve([Bowl()], generations=1, pairs=1, octaves=0.0, report=told.append)
    >>> told[0].median, told[0].failed
    (1.0, 0)
    """

    number: int
    of: int
    world: str
    updates: int
    median: float
    failed: int


def evolve(
    worlds: Sequence[World],
    *,
    generations: int = 480,
    pairs: int = 16,
    updates: Sequence[int] = (100, 200, 400),
    sigma: float = 0.1,
    meta_lr: float = 0.03,
    octaves: float = 2.0,
    hidden: int = 16,
    first: LearnedSchedule | None = None,
    seed: int = 0,
    folder: str | PathLike[str] | None = None,
    save_every: int = 5,
    report: Callable[[Generation], None] = lambda generation: None,
) -> LearnedSchedule:
    """Meta-train a learned schedule by evolution strategies over whole runs, with antithetic pairs.

        phi <- Adam(1 / n sum_i d_i e_i),    d_i = [f(phi + sigma e_i) - f(phi - sigma e_i)] / s,    e_i ~ N(0, I)

    s is the root mean square of the differences of a generation, whose runs are of one world at one length. f is the
    logarithm of what a run comes to on data that it was not trained on (the number itself where one is not above 0).
    The two runs of a pair share initial weights, batches and base rate.

    Args:
        worlds: trainings that take turns, in a random order each round; `lehr.lab.world(task)` makes one.
        generations: how many, at least 1.
        pairs: of runs in a generation, at least 1.
        updates: the lengths of runs, one of which is drawn for each generation.
        sigma: how far variants are from the schedule, above 0.
        meta_lr: Adam's rate, above 0; it falls to a tenth along a line.
        octaves: how far base rates lie from an edge, either way, at least 0, so that schedules bear edges that mislead.
        hidden: width of a new network.
        first: the schedule to go on from, such as `LearnedSchedule.pretrained()`; a new one if not given. Headers have
            the hash of its weights.
        seed: of everything.
        folder: where to keep checkpoints; a run goes on from what is there.
        save_every: generations from one checkpoint to the next.
        report: told after each generation.

    Returns:
        The schedule; its header says how it was trained.

    Raises:
        ValueError: if an argument is out of range, or `folder` holds a run with other arguments.

    Source: Salimans et al. 2017 (evolution strategies); that a small network sets the rate from the loss is Shu et
        al. 2022 (MLR-SNet).

    >>> class Bowl:
    ...     name = "bowl"
    ...     def edge(self, seed): return 1.0
    ...     def judge(self, variants, updates):
    ...         return [(v.schedule.factors(Moment(0.0, loss=1.0)) - 0.5) ** 2 for v in variants]
    >>> schedule = evolve([Bowl()], generations=40, pairs=4, meta_lr=0.1)
    >>> 0.3 < schedule.factors(Moment(0.0, loss=1.0)) < 0.7
    True
    """
    _check(worlds, updates, first)
    function_argument("evolve: report", report, "a Generation")
    folder = None if folder is None else path_argument("evolve: folder", folder)
    generations, pairs = whole_argument("evolve: generations", generations), whole_argument("evolve: pairs", pairs)
    save_every = whole_argument("evolve: save_every", save_every)
    hidden = whole_argument("evolve: hidden", hidden, most=WIDEST)
    seed = whole_argument("evolve: seed", seed, 0, MOST_SEEDS)
    sigma = number_argument("evolve: sigma", sigma, SMALLEST, FARTHEST_STEP)
    meta_lr = number_argument("evolve: meta_lr", meta_lr, SMALLEST, FARTHEST_STEP)
    octaves = number_argument("evolve: octaves", octaves, 0.0, MOST_OCTAVES)
    lengths = [whole_argument("evolve: updates", length) for length in updates]
    header = {
        "algorithm": "evolution strategies with antithetic pairs over whole runs (Salimans et al. 2017)",
        "tasks": [world.name for world in worlds], "generations": generations, "pairs": pairs,
        "updates of a run": lengths, "sigma": sigma, "meta_lr": meta_lr, "octaves": octaves, "seed": seed,
        "first": None if first is None else digest(first.network.state_dict()),
        "torch": str(torch.__version__),
    }  # fmt: skip
    everything = RandomState()
    before = everything.state_dict()
    try:
        torch.manual_seed(seed)
        network = BudgetNetwork(hidden) if first is None else copy.deepcopy(first.network).cpu()
        evolution = _Evolution(header, list(worlds), network, seed)
        checkpoints = None if folder is None else Checkpoints(folder, evolution=evolution)
        if checkpoints:
            checkpoints.resume()
        failures: list[bool] = []
        while evolution.done < generations:
            generation = evolution.step(generations, pairs, lengths, sigma, meta_lr, octaves)
            if checkpoints and (evolution.done % save_every == 0 or evolution.done == generations):
                checkpoints.save(evolution.done)
            report(generation)
            failures.append(generation.failed == 2 * pairs)
        if failures and all(failures):
            raise ValueError("evolve: every run in every one of the worlds failed, so nothing was learned from them")
    finally:
        everything.load_state_dict(before)
    return LearnedSchedule(_network(network, evolution.centre.detach()), header=header)


class _Evolution:
    """All that changes, so that it can be saved and loaded; what is random follows from the seed and the generation."""

    def __init__(self, arguments: dict[str, Any], worlds: list[World], network: BudgetNetwork, seed: int) -> None:
        self._arguments = arguments
        self._worlds = worlds
        self._network = network
        self._seed = seed
        self._edges: dict[str, list[float]] = {}
        self.done = 0
        self.centre = torch.nn.Parameter(parameters_to_vector(network.parameters()).detach().clone())
        self._adam = torch.optim.Adam([self.centre], betas=(0.9, 0.99))

    def step(
        self, generations: int, pairs: int, lengths: list[int], sigma: float, meta_lr: float, octaves: float
    ) -> Generation:
        """One generation."""
        turn, place = divmod(self.done, len(self._worlds))
        order = random.Random(f"{self._seed}/{turn}").sample(range(len(self._worlds)), len(self._worlds))  # noqa: S311
        index = order[place]
        world = self._worlds[index]
        chance = random.Random(f"{self._seed}/{self.done}/{index}")  # noqa: S311 - no secret
        edges = self._edges_of(index)
        updates = chance.choice(lengths)
        generator = torch.Generator().manual_seed(chance.getrandbits(62))
        noise = torch.randn(pairs, len(self.centre), generator=generator)
        seeds = [chance.getrandbits(31) for _ in range(pairs)]
        rates = [chance.choice(edges) * 2.0 ** chance.uniform(-octaves, octaves) for _ in range(pairs)]
        centre = self.centre.detach()
        judged = world.judge(
            [
                Variant(LearnedSchedule(_network(self._network, centre + sign * sigma * row)), seed, rate)
                for sign in (1.0, -1.0)
                for row, seed, rate in zip(noise, seeds, rates, strict=True)
            ],
            updates,
        )
        scores = _scores(world, judged, 2 * pairs)
        gaps = differences(scores[:pairs], scores[pairs:])
        self.centre.grad = (gaps[:, None] * noise).mean(0)
        self._adam.param_groups[0]["lr"] = meta_lr * max(LEAST, 1.0 - self.done / generations)
        self._adam.step()
        self.done += 1
        ordered = sorted(score if math.isfinite(score) else math.inf for score in scores)
        return Generation(
            self.done, generations, world.name, updates, ordered[len(ordered) // 2], ordered.count(math.inf)
        )

    def _edges_of(self, index: int) -> list[float]:
        key = str(index)
        if key not in self._edges:
            self._edges[key] = [_rate(self._worlds[index], seed) for seed in range(EDGES)]
        return self._edges[key]

    def state_dict(self) -> dict[str, Any]:
        return {
            "arguments": self._arguments,
            "centre": self.centre.detach().clone(),
            "adam": self._adam.state_dict(),
            "edges": {key: list(edges) for key, edges in self._edges.items()},
            "done": self.done,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        fields = Fields("the checkpoint of evolve", state)
        arguments = Fields(f"{fields.where}: arguments", fields.any("arguments"))
        if different := arguments.different(self._arguments):
            raise ValueError(f"evolve: folder holds a run with another {', '.join(different)}; choose another folder")
        done = fields.whole("done", high=self._arguments["generations"])
        centre = fields.tensor("centre", self.centre.shape)
        table = fields.table("edges")
        edges = Fields(f"{fields.where}: edges", table)
        if unknown := set(table) - {str(index) for index in range(len(self._worlds))}:
            raise edges.error("its names", "numbers of worlds", unknown.pop())
        read = {key: list(edges.numbers(key, EDGES, SMALLEST, LARGEST)) for key in table}
        if short := [key for key, rates in read.items() if len(rates) != EDGES]:
            raise edges.error(short[0], f"a list of {EDGES} rates", table[short[0]])
        load_adam = read_adam(f"{fields.where}: adam", self._adam, fields.any("adam"))
        with torch.no_grad():
            self.centre.copy_(centre)
        load_adam()
        self._edges, self.done = read, done


def _rate(world: World, seed: int) -> float:
    edge = real(world.edge(seed))
    if edge is None or not SMALLEST <= edge <= LARGEST:
        raise ValueError(
            f"evolve: edge of the world {world.name!r} must be a number above 0, from 1e-30 to 1e30; got {shown(edge)} "
            f"for the seed {seed}"
        )
    return edge


def differences(forth: Sequence[float], back: Sequence[float]) -> Tensor:
    """By how much each run forth came to more than its run back: of root mean square 1, and robust against failures.

    >>> differences([1.0, 2.0], [2.0, 1.0]).tolist()
    [-1.0, 1.0]
    >>> differences([0.5], [float("inf")]).tolist()
    [-1.0]
    """
    finite = [score for score in (*forth, *back) if math.isfinite(score)]
    if not finite:
        return torch.zeros(len(forth))
    logarithmic = min(finite) > 0.0
    worst = WORST if logarithmic else WORST * ((max(finite) - min(finite)) or 1.0)

    def scaled(score: float) -> float:
        if not math.isfinite(score):
            return scaled(max(finite)) + worst
        return math.log(score) if logarithmic else score

    gaps = torch.tensor([scaled(a) - scaled(b) for a, b in zip(forth, back, strict=True)])
    gaps = gaps.clamp(-worst, worst)
    size = gaps.square().mean().sqrt()
    return gaps if float(size) == 0.0 else (gaps / size).clamp(-FAR, FAR)


def _network(like: BudgetNetwork, weights: Tensor) -> BudgetNetwork:
    """A network with these weights, its beginning within what a file may hold."""
    made = copy.deepcopy(like)
    vector_to_parameters(weights, made.parameters())
    made.begin.data.clamp_(-FARTHEST, FARTHEST)
    return made


def _scores(world: World, judged: Any, count: int) -> list[float]:
    """What a world gave for so many runs."""
    scores = floats(judged)
    if scores is None or len(scores) != count:
        raise ValueError(
            f"evolve: judge of the world {world.name!r} must give {count} numbers, one for each run; got "
            f"{shown(judged)}"
        )
    return scores


def _check(worlds: Any, updates: Any, first: Any) -> None:
    if not isinstance(worlds, list | tuple) or not worlds or not all(isinstance(one, World) for one in worlds):
        raise ValueError(
            f"evolve: worlds must be a list of at least one, each with name, edge and judge; got {shown(worlds)}"
        )
    if not isinstance(updates, Sized) or not floats(updates):
        raise ValueError(f"evolve: updates must be a list of lengths, such as [100, 200, 400]; got {shown(updates)}")
    if first is not None and not isinstance(first, LearnedSchedule):
        raise TypeError(
            "evolve: first must be a LearnedSchedule, such as LearnedSchedule.pretrained(), or None; got "
            f"{shown(first)}"
        )
