"""Two processes: the same rates everywhere, whatever each of them sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import lehr
from contract.policies import POLICIES
from contract.training import GROUPS, STEPS, Run, rate
from processes import run_all_ranks

RANKS = 2


def _scheduler(policy: str, budget: lehr.Budget, **arguments: object) -> lehr.Scheduler:
    model = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(GROUPS)))
    groups = [{"params": list(layer.parameters()), "lr": rate(i, tensor=False)} for i, layer in enumerate(model)]
    return lehr.Scheduler(torch.optim.SGD(groups), POLICIES[policy](model), budget, **arguments)  # type: ignore[arg-type]


def _rates(scheduler: lehr.Scheduler, losses: list[float], samples: list[int]) -> list[list[float]]:
    rates = []
    for loss, count in zip(losses, samples, strict=True):
        scheduler.observe(loss=loss, samples=count, loss_at=lambda factor, own=loss: (1.0 - factor * own / 9.0) ** 2)
        rates.append(scheduler.get_last_lr())
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def _work(rank: int, folder: str) -> None:
    torch.manual_seed(rank)
    losses = torch.rand(STEPS).tolist()  # each rank sees its own
    found: dict[str, object] = {}
    for name, policy in POLICIES.items():
        found[name] = _rates(_scheduler(name, lehr.Budget(steps=STEPS)), losses, [8] * STEPS)
        for accumulate in (1, 2):
            run = Run(policy, accumulate=accumulate, rank=rank).run(STEPS // 2)
            lehr.range_test(run.training, low=1e-4, high=0.1, steps=12)
            run.run(STEPS // 2)
            found[f"{name}, {accumulate} batches an update"] = [*run.rates, run.weights().tolist()]

    choice = lehr.find_rate(Run(POLICIES["schedule"], accumulate=2, rank=rank).training, "300steps", search=0.5)
    found["rates that were tried"] = [choice.rate, *[(trial.rate, trial.loss) for trial in choice.trials]]

    time = [100.0 * rank]  # clocks that started at other times and run at other speeds

    def now() -> float:
        time[0] += 1.0 + 0.3 * rank
        return time[0]

    seconds = _scheduler("schedule", lehr.Budget(seconds=30.0), now=now)
    found["seconds"] = _rates(seconds, losses, [8] * STEPS)
    found["spent seconds"] = [seconds.spent, seconds.finished]

    seldom = _scheduler("schedule", lehr.Budget(seconds=30.0), now=now, agree_every=5)
    found["seconds, asked for seldom"] = _rates(seldom, losses, [8] * STEPS)
    stalled = _scheduler("schedule", lehr.Budget(seconds=30.0), now=now)
    rates = []
    while not stalled.finished:  # both must come to the end at the same update, or one waits for ever
        time[0] += 9.0 * (rank == 1 and len(rates) == 3)
        rates += _rates(stalled, losses[:1], [8])
    found["seconds, a slow rank"] = rates
    finishing = _scheduler("schedule", lehr.Budget(steps=1_000), now=now)
    _rates(finishing, losses[:5], [8] * 5)
    finishing.finish_by(lehr.Budget(seconds=20.0))
    rates = []
    while not finishing.finished:
        rates += _rates(finishing, losses[:1], [8])
    found["finishing by the clock"] = rates

    alone = [dist.new_group([other]) for other in range(RANKS)][rank]  # each rank is a data-parallel group of its own
    within = _scheduler("schedule", lehr.Budget(samples=100.0), data_parallel=alone)
    _rates(within, losses[:5], [8] * 5)
    found["spent samples within a group"] = [within.spent]

    counted = _scheduler("schedule", lehr.Budget(samples=100.0))
    found["samples"] = _rates(counted, losses[:10], [4 + rank] * 10)
    found["spent samples"] = [counted.spent]

    averaged = _scheduler("looks at the loss", lehr.Budget(steps=10))
    averaged.observe(loss=torch.tensor(float(rank)))
    found["mean loss"] = [float(averaged.policy.best)]  # type: ignore[attr-defined]
    Path(folder, f"{rank}.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[object]]]:
    folder = tmp_path_factory.mktemp("ranks")
    run_all_ranks(_work, folder, RANKS)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(RANKS)]


def test_two_gloo_ranks_agree(ranks: list[dict[str, list[object]]]) -> None:
    assert set(POLICIES) < set(ranks[0])
    for name in ranks[0]:
        assert ranks[0][name] == ranks[1][name], name


def test_data_parallel_trainings_stay_together(ranks: list[dict[str, list[object]]]) -> None:
    """Rates and weights of `lehr.Training` on two ranks, each with data of its own, with a range test in the middle."""
    for name in POLICIES:
        for accumulate in (1, 2):
            rows = ranks[0][f"{name}, {accumulate} batches an update"]
            assert len(rows) == STEPS + 1
            assert rows == ranks[1][f"{name}, {accumulate} batches an update"]


def test_samples_are_counted_over_ranks_and_losses_averaged(ranks: list[dict[str, list[object]]]) -> None:
    assert ranks[0]["spent samples"] == [10 * (4 + 5)]
    assert ranks[0]["mean loss"] == [0.5]


def test_samples_of_ranks_that_see_the_same_data_are_counted_once(ranks: list[dict[str, list[object]]]) -> None:
    assert ranks[0]["spent samples within a group"] == [5 * 8]


def test_time_that_is_asked_for_seldom_stands_still_in_between(ranks: list[dict[str, list[object]]]) -> None:
    rates = ranks[0]["seconds, asked for seldom"]
    assert rates[:5] == [rates[0]] * 5
    assert rates[5:10] == [rates[5]] * 5 != rates[:5]


def test_the_first_rank_keeps_the_time(ranks: list[dict[str, list[object]]]) -> None:
    spent, finished = ranks[0]["spent seconds"]
    assert spent == pytest.approx(STEPS * 1.0)
    assert not finished
