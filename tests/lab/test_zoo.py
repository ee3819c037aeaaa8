"""The zoo: members that their numbers make, and stacked runs that are the real ones."""

from __future__ import annotations

import pytest

import lehr
from lehr import lab
from lehr.lab.zoo import FAMILIES, MemberWorld
from lehr.lab.zoo.stack import StackRun, train_stack

WARM = lehr.Linear().after_warmup(0.2)
MADE = ("mlp", "label-noise", "regression", "many-classes", "deep", "residual")
"""Families that need no data from elsewhere."""


def test_half_of_the_families_are_for_judging() -> None:
    halves = [family.half for family in FAMILIES.values()]
    assert halves.count("development") == halves.count("unseen") == 8


@pytest.mark.parametrize("name", FAMILIES)
def test_a_number_makes_the_same_recipe_each_time(name: str) -> None:
    recipes = [FAMILIES[name].member(number).recipe for number in range(6)]
    assert recipes == [FAMILIES[name].member(number).recipe for number in range(6)]
    assert len(set(recipes)) > 1


@pytest.mark.parametrize("name", MADE)
def test_a_stacked_run_is_the_real_one_beside_others(name: str) -> None:
    member = FAMILIES[name].member(1)
    rate = 0.003 if member.recipe.optimizer == "adamw" else 0.01
    task = member.task("12steps", "")
    real = lab.train(task, lab.load_methods([WARM])[0], lab.Settings(evaluations=1), 3, rate, look_at_test=False)
    stacked = train_stack(member, [StackRun(0, rate, WARM), StackRun(3, rate, WARM), StackRun(3, 1e30, WARM)], 12)
    assert stacked[1] == pytest.approx(real.validation, rel=1e-4)
    assert stacked[0] != stacked[1]


@pytest.mark.parametrize("name", ["mlp", "many-classes"])
def test_a_world_of_stacked_runs_is_that_of_real_ones(name: str) -> None:
    member = FAMILIES[name].member(2)
    rate = 0.01 if member.recipe.optimizer == "adamw" else 0.05
    stacked, real = MemberWorld(name, member), lab.world(FAMILIES[name].task(2))
    both = [
        world.judge(
            [lehr.learned.Variant(lehr.LearnedSchedule.pretrained(), seed, rate) for seed in (0, 4)], updates=12
        )
        for world in (stacked, real)
    ]
    assert both[0] == pytest.approx(both[1], rel=1e-4)
    assert stacked.edge(1) == pytest.approx(real.edge(1))


def test_a_member_is_a_task_by_its_name() -> None:
    task = lab.load_task("zoo/mlp/2")
    assert "mlp 2" in task.about
    for name, says in {
        "zoo/ape/2": "no family 'ape'; it has mlp",
        "zoo/mlp": "needs a number of at most 9 digits, such as zoo/mlp/3",
        "zoo/mlp/-1": "needs a number",
    }.items():
        with pytest.raises(ValueError, match=says):
            lab.load_task(name)
    with pytest.raises(ValueError, match="LEHR_DATA"):
        lab.load_task("zoo/mlp/2", "folder")
