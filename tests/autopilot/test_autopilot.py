"""The autopilot: a rate that nobody chose, within the budget, and nothing that a trial leaves behind."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lehr
from lehr.autopilot import Guarded
from lehr.autopilot.search import RateSearch
from lehr.autopilot.trial import Trial

INPUTS = torch.randn(512, 6, generator=torch.Generator().manual_seed(0))


def loss(model: nn.Module, batch: Tensor) -> Tensor:
    return (model(batch) - batch.sin().sum(1, keepdim=True)).square().mean()


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))


def training(rate: float = 1e-6, seed: int = 0, loss: Any = loss, **options: Any) -> lehr.Training:
    torch.manual_seed(seed)
    model = network()
    groups = [{"params": model[0].parameters(), "lr": rate}, {"params": model[1:].parameters(), "lr": 3.0 * rate}]
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)
    return lehr.Training(model, optimizer, DataLoader(INPUTS, batch_size=16, shuffle=True), loss, **options)


def weights(one: lehr.Training) -> Tensor:
    return torch.cat([part.detach().flatten() for part in one.modules[0].state_dict().values()])


def held_out(one: lehr.Training) -> float:
    inputs = torch.randn(512, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return float(loss(one.modules[0].eval(), inputs))


def fit(one: lehr.Training, budget: str, *arguments: Any, **options: Any) -> lehr.FitResult:
    return lehr.fit(one, budget, *arguments, progress=False, **options)


def test_it_finds_a_rate_that_a_grid_finds_too() -> None:
    grid = {}
    for rate in (0.001, 0.004, 0.016, 0.064, 0.256):
        one = training(rate)
        fit(one, "500steps", lehr.Linear().after_warmup(0.2))
        grid[rate] = held_out(one)
    for rate in (1e-6, 1e3):  # what the optimizer was given does not matter
        one = training(rate)
        result = fit(one, "500steps")
        assert held_out(one) < 1.3 * min(grid.values())
        assert result.choice is not None
        assert result.choice.low <= result.choice.rate <= result.choice.high


@pytest.mark.parametrize("options", [{}, {"accumulate": 2, "clip_norm": 1.0}])
def test_all_that_it_spends_is_within_the_budget(options: dict[str, Any]) -> None:
    one, updates, forwards = training(**options), list[int](), list[int]()
    one.optimizers[0].register_step_post_hook(lambda *_: updates.append(1))
    one.modules[0].register_forward_pre_hook(lambda *_: forwards.append(1))
    result = fit(one, "900steps", lehr.Autopilot(search=0.1))
    made, passed, batches = len(updates), len(forwards), one.accumulate
    choice = result.choice
    assert choice is not None
    assert made + (passed / batches - made) / 3.0 <= 901
    assert choice.spent + choice.begun + result.updates <= 900
    assert choice.share <= 0.1
    assert result.ending == "budget spent"


def test_groups_keep_their_ratio_and_optimizers_share_a_multiplier() -> None:
    torch.manual_seed(0)
    model = network()
    first = torch.optim.SGD(model[:2].parameters(), lr=1e-3, momentum=0.9)
    second = torch.optim.AdamW(model[2:].parameters(), lr=1e-4)
    one = lehr.Training(model, [first, second], DataLoader(INPUTS, batch_size=16, shuffle=True), loss)
    result = fit(one, "400steps")
    bases = [group["initial_lr"] for optimizer in one.optimizers for group in optimizer.param_groups]
    assert bases[0] == result.peak
    assert bases[1] == pytest.approx(0.1 * bases[0])


def test_looking_for_a_rate_leaves_no_trace() -> None:
    one, other = training(), training()
    torch.manual_seed(3)
    choice = lehr.find_rate(one, "1000steps")
    assert choice.share <= 0.1
    assert torch.equal(weights(one), weights(other))
    assert one.optimizers[0].param_groups[0]["lr"] == 1e-6
    assert not one.optimizers[0].state
    assert (choice.begun, choice.rest.total) == (0.0, 1_000 - int(-(-choice.spent // 1)))
    torch.manual_seed(3)
    expected = [float(other.step()) for _ in range(40)]
    torch.manual_seed(3)
    assert [float(one.step()) for _ in range(40)] == expected


class KilledError(Exception):
    """What stands for a kill."""


@pytest.mark.parametrize("saves", [1, 2, 4, 6])
def test_a_run_that_is_killed_in_any_phase_ends_as_one_that_was_not(
    saves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = training()
    expected = fit(straight, "300steps", every="60steps", checkpoints=tmp_path / "a")
    save, left = lehr.Checkpoints.save, [saves]

    def dying(self: lehr.Checkpoints, step: int) -> Path:
        path = save(self, step)
        left[0] -= 1
        if not left[0]:
            raise KilledError
        return path

    monkeypatch.setattr(lehr.Checkpoints, "save", dying)
    with pytest.raises(KilledError):
        fit(training(), "300steps", every="60steps", checkpoints=tmp_path / "b")
    other = training(seed=7)
    torch.manual_seed(8)
    result = fit(other, "300steps", every="60steps", checkpoints=tmp_path / "b")
    assert torch.equal(weights(other), weights(straight))
    assert result.choice == expected.choice
    assert result.losses == expected.losses


def test_a_budget_in_seconds_is_kept() -> None:
    one = training()
    result = fit(one, "2s")
    choice = result.choice
    assert choice is not None
    assert choice.spent + choice.begun + result.seconds == pytest.approx(2.0, abs=0.3)
    assert choice.budget.unit == choice.rest.unit == "seconds"


def test_tokens_are_counted_in_trials_too() -> None:
    counted = [0.0]

    def amount(batch: Tensor) -> float:
        counted[0] += 10.0 * len(batch)
        return 10.0 * len(batch)

    one = training(amount=amount)
    result = fit(one, "64000tok")
    choice = result.choice
    assert choice is not None
    assert choice.rest.tokens is not None
    assert choice.spent + choice.begun + choice.rest.tokens == pytest.approx(64_000)
    assert result.updates == -(-choice.rest.tokens // 160)


def test_tokens_that_nobody_counts_are_refused_before_training() -> None:
    with pytest.raises(ValueError, match="give amount"):
        fit(training(), "64000tok")


def test_a_step_of_somebodys_own_needs_no_gradients_beside_it() -> None:
    inner = training(0.01)
    one = lehr.Training.of(inner.step, touches=[*inner.modules, *inner.optimizers, inner.batches])
    result = fit(one, "400steps")
    assert result.choice is not None
    assert result.choice.longest_step is None
    assert "began at the optimizer's own rate" in result.explain()
    assert held_out(one) < 1.0


def test_a_budget_without_room_for_trials_says_so() -> None:
    result = fit(training(), "40steps")
    assert result.choice is not None
    assert not result.choice.trials
    assert "no room for trials" in result.explain()
    assert result.ending == "budget spent"


def test_where_no_rate_lowers_the_loss_nothing_is_trained() -> None:
    with pytest.raises(lehr.NoSuggestion, match="no first step, however long, changes the loss"):
        fit(training(loss=lambda model, batch: 0.0 * loss(model, batch) + 1.0), "900steps")
    with pytest.raises(lehr.NoSuggestion, match="gives no parameter a gradient"):
        fit(training(loss=lambda model, batch: loss(model, batch).detach().requires_grad_()), "300steps")
    with pytest.raises(lehr.NoSuggestion, match="the loss is nan before any rate was tried"):
        fit(training(loss=lambda model, batch: loss(model, batch) * float("nan")), "300steps")


def uphill(model: nn.Module, batch: Tensor) -> Tensor:
    """A loss whose gradient has the wrong sign."""
    value = loss(model, batch)
    return 2.0 * value.detach() - value


def test_weights_are_as_before_where_nothing_works(tmp_path: Path) -> None:
    """Also where the search was killed amid its trials, and went on."""
    one = training(1e-3, loss=uphill)
    before = weights(one)
    with pytest.raises(lehr.NoSuggestion):
        fit(one, "900steps")
    assert torch.equal(weights(one), before)

    killed, made = training(1e-3, loss=uphill), [0]

    def kill(*_: Any) -> None:
        made[0] += 1
        if made[0] == 70:
            raise KeyboardInterrupt

    killed.optimizers[0].register_step_post_hook(kill)
    with pytest.raises(KeyboardInterrupt):
        fit(killed, "900steps", checkpoints=tmp_path)
    second = training(1e-3, loss=uphill)
    with pytest.raises(lehr.NoSuggestion):
        fit(second, "900steps", checkpoints=tmp_path)
    assert torch.equal(weights(second), before)


def test_trials_that_tell_less_than_their_noise_do_not_decide() -> None:
    """Such as those of batches of four: the rate comes from the first step, and nothing is said to be broken."""
    first = RateSearch(training(), lehr.Budget(steps=600), 0.1, "fit")
    first.run()
    state = first.state_dict()

    def choice(trials: list[Trial]) -> lehr.RateChoice:
        search = RateSearch(training(), lehr.Budget(steps=600), 0.1, "fit")
        search.load_state_dict({**state, "trials": [asdict(trial) for trial in trials]})
        return search.run()

    start, loss = state["longest_step"] / 4.0, state["fork_loss"]
    noisy = [Trial(start / 4.0**index, 32, loss + 0.01, "finished", error=0.02) for index in range(3)]
    found = choice(noisy)
    assert found.rate == start / 2.0
    assert "no trial moved the loss" in found.explain()
    risen = Trial(start, 32, loss + 1.0, "finished", error=0.02)
    assert choice([risen, *noisy[1:]]).rate == start / 3.0
    fallen = Trial(start / 4.0, 32, loss - 1.0, "finished", error=0.02)
    assert "no trial moved the loss" not in choice([noisy[0], fallen, noisy[2]]).explain()
    with pytest.raises(lehr.NoSuggestion, match="at no rate"):
        choice([risen, risen])


@given(seed=st.integers(0, 10_000), tail=st.floats(0.0, 3.0))
def test_noise_alone_is_no_breakdown(seed: int, tail: float) -> None:
    """Losses of one distribution, however heavy its tail, put weights back once at most: where none has fallen."""
    noise = torch.randn(1_000, generator=torch.Generator().manual_seed(seed))
    guarded = Guarded(lehr.Constant())
    for step, value in enumerate((tail * noise).exp().tolist()):
        guarded.factors(lehr.Moment(step / 1_000, loss=value))
    assert len(guarded.history) <= 1


@pytest.mark.parametrize("after", [1.0, 6.0])
def test_a_loss_that_comes_back_up_is_a_breakdown(after: float) -> None:
    guarded = Guarded(lehr.Constant())
    noise = torch.randn(300, generator=torch.Generator().manual_seed(0)).mul(0.1).exp().tolist()
    for step, value in enumerate(noise):
        guarded.factors(lehr.Moment(step / 300, loss=value * (1.0 if step < 50 else 0.2 if step < 150 else after)))
    assert [one.what for one in guarded.history][:1] == ["put back"]
    assert 0.5 < guarded.history[0].progress < 0.6


class Counted(float):
    """A loss that counts how often a number is made of it, which on an accelerator waits."""

    looks = 0

    def __add__(self, other: float) -> Counted:
        return self

    def __float__(self) -> float:
        Counted.looks += 1
        return super().__float__()


def test_the_guard_looks_at_eight_losses_at_once_and_at_each_near_the_end() -> None:
    guarded, waited = Guarded(lehr.Constant()), []
    for update in range(800):
        before = Counted.looks
        guarded.factors(lehr.Moment(update / 800, loss=Counted(1.0)))
        if Counted.looks > before:
            waited.append(update)
    assert Counted.looks == 800
    assert waited == [*range(0, 760, 8), *range(760, 800)]


@pytest.mark.parametrize("saved_at", [53, 56, 59])
def test_losses_that_the_guard_has_not_looked_at_are_saved(saved_at: int) -> None:
    """Whoever goes on from there puts weights back at the same update."""
    losses = [1.0 - update / 100 for update in range(50)] + [math.inf] * 50
    one, other = Guarded(lehr.Constant()), Guarded(lehr.Constant())
    put_back: list[list[int]] = [[], []]
    for update, loss in enumerate(losses):
        if update == saved_at:
            other.load_state_dict(one.state_dict())
        for guarded, falls in zip((one, other), put_back, strict=True):
            if guarded is one or update >= saved_at:
                guarded.factors(lehr.Moment(update / 100, loss=torch.tensor(loss)))
                falls.extend([update] * (guarded.recovery == "put back"))
    assert put_back[0][0] == 56
    assert put_back[1] == [update for update in put_back[0] if update >= saved_at]
    assert one.state_dict() == other.state_dict()


@pytest.mark.parametrize("search", [0.0, 0.6, "much", float("nan")])
def test_a_share_that_makes_no_sense_is_refused(search: Any) -> None:
    with pytest.raises(ValueError, match="search is the share of the budget"):
        lehr.Autopilot(search=search)
    with pytest.raises(ValueError, match="find_rate: search"):
        lehr.find_rate(training(), "300steps", search=search)


def test_a_run_that_breaks_down_goes_back_and_lowers_the_rate() -> None:
    one = training(0.02)
    scheduler = lehr.Scheduler(one, Guarded(lehr.Constant()), lehr.Budget(steps=200))
    losses = []
    for update, value in enumerate(one.run(scheduler)):
        losses.append(float(value))
        if update == 100:
            one.set_peak(1e3)  # a rate that no network bears
        if update == 101:
            one.set_peak(0.02)
    assert [decision.what for decision in scheduler.policy.history] == ["put back"]
    assert scheduler.get_last_lr()[0] == pytest.approx(0.02 / 4.0)
    assert losses[-1] < losses[0]


def test_the_explanation_tells_every_trial() -> None:
    result = fit(training(), "600steps")
    assert result.choice is not None
    text = result.explain()
    assert text.count("updates  loss") + text.count("broken off") == len(result.choice.trials)
    assert "Trials took" in text
    assert str(result.choice).startswith("rate ")
