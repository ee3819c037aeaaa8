"""The trainer of the learned schedule: its gradient by the formula, its resume bit for bit, what it refuses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

import lehr
from lehr.learned import Generation, Variant, evolve
from lehr.learned.evolution import differences


@dataclass
class Bowl:
    """The logarithm of the factor at the start should be that of `best`."""

    best: float = 0.5
    name: str = "bowl"
    edges: list[int] = field(default_factory=list)
    seen: list[Variant] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)

    def edge(self, seed: int) -> float:
        self.edges.append(seed)
        return 2.0**seed

    def judge(self, variants: Sequence[Variant], updates: int) -> list[float]:
        self.seen += variants
        self.lengths.append(updates)
        return [math.exp((math.log(begin(variant) / self.best)) ** 2) for variant in variants]


class Ruin(Bowl):
    def judge(self, variants: Sequence[Variant], updates: int) -> list[float]:
        return [math.nan] * len(variants)


def begin(variant: Variant) -> float:
    return float(variant.schedule.factors(lehr.Moment(0.0, loss=1.0)))


def weights(schedule: lehr.LearnedSchedule) -> torch.Tensor:
    return parameters_to_vector(schedule.network.parameters())


def test_it_finds_what_the_world_rewards() -> None:
    made = evolve([Bowl()], generations=60, pairs=4, meta_lr=0.1)
    assert 0.35 < float(made.factors(lehr.Moment(0.0, loss=1.0))) < 0.7
    assert made.header["tasks"] == ["bowl"]


def test_the_runs_of_a_pair_share_all_but_weights_and_mirror_each_other() -> None:
    world = Bowl()
    first = lehr.LearnedSchedule.pretrained()
    evolve([world], generations=1, pairs=3, sigma=0.2, octaves=1.0, first=first, updates=[7])
    forth, back = world.seen[:3], world.seen[3:]
    assert [(one.seed, one.rate) for one in forth] == [(one.seed, one.rate) for one in back]
    assert len({one.seed for one in forth}) == 3
    for a, b in zip(forth, back, strict=True):
        torch.testing.assert_close(weights(a.schedule) + weights(b.schedule), 2 * weights(first))
        assert any(0.5 <= a.rate / 2.0**edge <= 2.0 for edge in world.edges)


def test_a_generation_is_the_formula() -> None:
    world = Bowl()
    first = lehr.LearnedSchedule.pretrained()
    made = evolve([world], generations=1, pairs=4, sigma=0.1, meta_lr=0.02, first=first)
    noise = torch.stack([(weights(one.schedule) - weights(first)) / 0.1 for one in world.seen[:4]])
    scores = [math.log(begin(one) / 0.5) ** 2 for one in world.seen]
    gaps = torch.tensor(scores[:4]) - torch.tensor(scores[4:])
    gaps = (gaps / gaps.square().mean().sqrt()).clamp(-2.5, 2.5)
    centre = torch.nn.Parameter(weights(first).clone())
    centre.grad = (gaps[:, None] * noise).mean(0)
    torch.optim.Adam([centre], lr=0.02, betas=(0.9, 0.99)).step()
    moved = weights(made) - weights(first)
    sure = centre.grad.abs() > 1e-3  # Adam's first step is the sign
    torch.testing.assert_close(moved[sure], (centre.detach() - weights(first))[sure], atol=1e-4, rtol=0.0)


def test_worlds_take_turns_and_the_random_numbers_outside_are_left() -> None:
    worlds = [Bowl(name="a"), Bowl(name="b"), Bowl(name="c")]
    told: list[Generation] = []
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    evolve(worlds, generations=6, pairs=1, updates=[3, 9], report=told.append)
    assert torch.equal(torch.rand(1), expected)
    assert sorted(one.world for one in told[:3]) == sorted(one.world for one in told[3:]) == ["a", "b", "c"]
    assert {length for world in worlds for length in world.lengths} <= {3, 9}
    assert all(world.edges == [0, 1, 2, 3] for world in worlds)


def test_a_run_that_was_killed_goes_on_bit_for_bit(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"generations": 9, "pairs": 2, "folder": tmp_path, "save_every": 2}
    whole = evolve([Bowl(), Bowl(0.1)], generations=9, pairs=2)

    def kill(generation: Generation) -> None:
        if generation.number == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evolve([Bowl(), Bowl(0.1)], report=kill, **arguments)
    told: list[Generation] = []
    again = evolve([Bowl(), Bowl(0.1)], report=told.append, **arguments)
    assert [one.number for one in told] == [5, 6, 7, 8, 9]
    assert torch.equal(weights(again), weights(whole))
    with pytest.raises(ValueError, match="another pairs"):
        evolve([Bowl(), Bowl(0.1)], **{**arguments, "pairs": 3})
    with pytest.raises(ValueError, match="another first"):
        evolve([Bowl(), Bowl(0.1)], first=again, **arguments)


def test_failures_count_as_worst_and_nothing_but_failures_as_nothing() -> None:
    assert differences([math.nan, 1.0], [1.0, math.inf]).tolist() == pytest.approx([1.0, -1.0])
    assert differences([math.inf, math.nan], [math.inf, math.inf]).tolist() == [0.0, 0.0]
    assert differences([-3.0, 2.0], [-1.0, 4.0]).tolist() == pytest.approx([-1.0, -1.0])
    half = evolve([Ruin(), Bowl()], generations=2, pairs=2)
    assert all(map(math.isfinite, weights(half).tolist()))
    with pytest.raises(ValueError, match="every run in every one of the worlds failed"):
        evolve([Ruin()], generations=2, pairs=2)


class Judged(Bowl):
    """A world that gives this, whatever it is asked."""

    def __init__(self, scores: Any) -> None:
        super().__init__()
        self.scores = scores

    def judge(self, variants: Any, updates: int) -> Any:
        return self.scores


def test_numbers_of_any_library_are_numbers() -> None:
    plain = evolve([Judged([1.0, 2.0])], generations=2, pairs=1, updates=[5, 6], sigma=0.5, seed=3)
    given = evolve(
        [Judged(np.array([1.0, 2.0]))], generations=np.int64(2), pairs=np.int32(1), updates=np.array([5, 6]),  # type: ignore[arg-type]
        sigma=np.float32(0.5), seed=np.int64(3),  # type: ignore[arg-type]
    )  # fmt: skip
    assert torch.equal(weights(given), weights(plain))
    assert given.header == plain.header


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"worlds": []}, "worlds must be a list"),
        ({"generations": 0}, "generations must be a whole number"),
        ({"pairs": 1.5}, "pairs must be a whole number"),
        ({"updates": []}, "updates must be a list of lengths"),
        ({"updates": (length for length in [5])}, "updates must be a list of lengths"),
        ({"updates": [0]}, "updates must be a whole number"),
        ({"sigma": 0.0}, "sigma must be a number above 0"),
        ({"meta_lr": math.nan}, "meta_lr must be a number above 0"),
        ({"octaves": -1.0}, "octaves must be a number, at least 0"),
        ({"hidden": 5_000}, "hidden must be a whole number, at least 1 and at most"),
        ({"sigma": "0.1"}, "sigma must be a number"),
        ({"meta_lr": 1e300}, "meta_lr must be a number"),
        ({"seed": 2**70}, "seed must be a whole number"),
        ({"seed": "0"}, "seed must be a whole number"),
        ({"worlds": [3]}, "worlds must be a list of at least one, each with name, edge and judge"),
        ({"worlds": [Judged([1.0])]}, "judge of the world 'bowl' must give 32 numbers"),
        ({"worlds": [Judged(["1"] * 32)]}, "judge of the world 'bowl' must give 32 numbers"),
        ({"worlds": [Judged(None)]}, "judge of the world 'bowl' must give 32 numbers"),
    ],
)
def test_it_says_what_is_wrong(change: dict[str, Any], says: str) -> None:
    arguments: dict[str, Any] = {"worlds": [Bowl()], "generations": 1, **change}
    with pytest.raises(ValueError, match=f"evolve: {says}"):
        evolve(**arguments)
