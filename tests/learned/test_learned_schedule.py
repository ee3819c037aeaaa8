"""The learned schedule: its formula by hand, no length or scale that it knows, and the weights that come with lehr."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lehr
from learned.looks import noted
from lehr import Moment
from lehr.learned.schedule import PRETRAINED, at_hand

LOSSES = [2.3, 2.1, 1.7, 1.9, 1.0, 0.4, 0.05, 3.0, 0.5, 0.2]


@pytest.fixture(autouse=True, scope="module")
def on_a_device() -> Iterator[None]:
    """Tensors are as if they were on a device that would have to be waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lehr.learned.schedule.at_hand", lambda loss: False)
        yield


def wild(seed: int = 0) -> lehr.learned.BudgetNetwork:
    """A network whose rate moves a lot."""
    torch.manual_seed(seed)
    network = lehr.learned.BudgetNetwork(hidden=5)
    torch.nn.init.normal_(network.leave.weight)
    return network


def by_hand(network: lehr.learned.BudgetNetwork, losses: Sequence[float], *, adaptive: bool) -> list[float]:
    """The docstring's formula in double precision and plain Python."""
    weights = {name: value.double().tolist() for name, value in network.state_dict().items()}
    begin, count = weights["begin"], len(losses)
    level, first, before, spread = begin[int(adaptive)], math.log(losses[0]), 0.0, 0.0
    means, found = [first] * 3, []
    for k, loss in enumerate(losses):
        p, x = k / count, math.log(loss)
        passed, before = p - before, p
        means = [x + (m - x) * math.exp(-passed / w) for m, w in zip(means, (0.01, 0.05, 0.2), strict=True)]
        away = x - means[0]
        spread = abs(away) + (spread - abs(away)) * math.exp(-passed / 0.05)
        signals = [
            p, math.exp(-p / 0.02), math.exp(-p / 0.1), (means[1] - first) / 2, 5 * (means[0] - means[1]),
            3 * (means[1] - means[2]), 5 * spread, 2 * away, (level - sum(begin) / 2) / 2, float(adaptive),
        ]  # fmt: skip
        signals = [max(-3.0, min(3.0, s)) for s in signals]
        rows = zip(weights["enter.weight"], weights["enter.bias"], strict=True)
        inner = [math.tanh(sum(w * s for w, s in zip(row, signals, strict=True)) + b) for row, b in rows]
        outer = sum(w * h for w, h in zip(weights["leave.weight"][0], inner, strict=True)) + weights["leave.bias"][0]
        level = max(-7.0, min(7.0, level + 20 * math.tanh(outer) * min(passed, 0.01)))
        found.append(math.exp(level) * (1 - p))
    return found


@settings(max_examples=50)
@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30), st.booleans(), st.integers(0, 5))
def test_it_is_the_formula(losses: list[float], adaptive: bool, seed: int) -> None:
    network = wild(seed)
    rates = lehr.LearnedSchedule(network).rates(losses, adaptive=adaptive)
    assert rates.tolist() == pytest.approx(by_hand(network, losses, adaptive=adaptive), rel=2e-4, abs=1e-9)


@settings(max_examples=50)
@given(
    st.lists(
        st.one_of(st.floats(1e-3, 1e3), st.sampled_from([0.0, -1.0, math.nan, math.inf])), min_size=1, max_size=30
    ),
    st.booleans(),
    st.integers(0, 5),
    st.data(),
)
def test_numbers_tensors_and_the_network_itself_agree(
    losses: list[float], adaptive: bool, seed: int, data: st.DataObject
) -> None:
    """Also where a run changes from one kind of loss to the other."""
    network = wild(seed)
    policy = lehr.LearnedSchedule(network)
    memory = network.start(torch.tensor(float(adaptive)))
    policy.bind((torch.optim.Adam if adaptive else torch.optim.SGD)([torch.zeros(1)], lr=torch.tensor(1.0)))
    for k, loss in enumerate(losses):
        p = k / len(losses)
        given = torch.tensor(loss) if data.draw(st.booleans()) else loss
        factor = policy.factors(Moment(p, loss=given))
        memory = network(torch.tensor(loss), torch.tensor(p), torch.tensor(float(adaptive)), memory)
        assert float(factor) == pytest.approx(float(memory.level.exp()) * (1 - p), rel=2e-4)
        assert isinstance(factor, torch.Tensor) == isinstance(given, torch.Tensor)


def test_under_autocast_it_is_as_exact() -> None:
    def rates() -> list[float]:
        policy = lehr.LearnedSchedule(wild())
        return [float(policy.factors(Moment(k / 10, loss=torch.tensor(loss)))) for k, loss in enumerate(LOSSES)]

    exact = rates()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert rates() == exact


def test_where_rates_are_numbers_a_tensor_for_the_loss_gives_numbers() -> None:
    policy = lehr.LearnedSchedule(wild())
    policy.bind(torch.optim.SGD([torch.zeros(1)], lr=1.0))
    factors = [policy.factors(Moment(k / 10, loss=torch.tensor(loss))) for k, loss in enumerate(LOSSES)]
    assert all(isinstance(factor, float) for factor in factors)
    assert factors == pytest.approx(by_hand(wild(), LOSSES, adaptive=False), rel=1e-5)


def test_a_tensor_at_hand_is_read() -> None:
    """On the processor nothing is waited for, and numbers take a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lehr.learned.schedule.at_hand", at_hand)
        policy = lehr.LearnedSchedule(wild())
        policy.bind(torch.optim.SGD([torch.zeros(1)], lr=torch.tensor(1.0)))
        factors = [policy.factors(Moment(k / 10, loss=torch.tensor(loss))) for k, loss in enumerate(LOSSES)]
    assert all(isinstance(factor, float) for factor in factors)
    assert factors == pytest.approx(by_hand(wild(), LOSSES, adaptive=False), rel=1e-5)
    assert not at_hand(torch.zeros((), device="meta"))


def state_after(losses: list[Any]) -> tuple[lehr.LearnedSchedule, dict[str, Any]]:
    policy = lehr.LearnedSchedule(wild())
    for k, loss in enumerate(losses):
        policy.factors(Moment(k / 10, loss=loss))
    return policy, policy.state_dict()


@pytest.mark.parametrize("losses", [[], [math.nan], [2.0], [2.0, 1.0], [torch.tensor(math.nan)], [torch.tensor(2.0)]])
def test_a_state_that_is_loaded_is_the_state_that_was_saved(losses: list[Any]) -> None:
    used, state = state_after(losses)
    fresh = lehr.LearnedSchedule(wild())
    fresh.load_state_dict(state)
    assert float(fresh.factors(Moment(0.5))) == float(used.factors(Moment(0.5)))
    assert float(fresh.factors(Moment(0.6, loss=1.0))) == pytest.approx(
        float(used.factors(Moment(0.6, loss=1.0))), rel=1e-6
    )


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        {"memory": None, "adaptive": None}, {"memory": "text"}, {"memory": [1.0]}, {"memory": {}}, {"last": -1.0},
        {"last": math.nan}, {"last": "now"}, {"adaptive": 3.0}, {"adaptive": True}, {"adaptive": 10**400},
        *({"at": at, "to": to} for at, to in ((0, math.nan), (3, -0.1), (4, 8.0), (4, -math.inf), (6, 1.5), (1, 1e9))),
    ],
)  # fmt: skip
def test_a_state_of_no_run_is_refused_and_nothing_changes(change: dict[str, Any], tensor: bool) -> None:
    losses: list[Any] = [torch.tensor(loss) if tensor else loss for loss in LOSSES[:4]]
    policy, state = state_after(losses)
    before = policy.factors(Moment(0.5))
    if "at" in change:
        memory = state["memory"].clone() if tensor else list(state["memory"])
        memory[change["at"]] = change["to"]
        change = {"memory": memory}
    with pytest.raises(ValueError, match="the state of LearnedSchedule"):
        policy.load_state_dict({**state, **change})
    assert policy.factors(Moment(0.5)) == before
    for name in state:
        with pytest.raises(ValueError, match=f"has no {name}"):
            policy.load_state_dict({key: value for key, value in state.items() if key != name})


def test_untrained_it_is_linear_from_a_tenth() -> None:
    rates = lehr.LearnedSchedule(lehr.learned.BudgetNetwork()).rates(LOSSES)
    assert rates.tolist() == pytest.approx([0.1 * (1 - k / 10) for k in range(10)])


def test_it_does_not_know_how_many_updates_there_are() -> None:
    schedule = lehr.LearnedSchedule.pretrained()

    def rates(updates: int) -> torch.Tensor:
        return schedule.rates([0.3 + 2.0 * math.exp(-4.0 * k / updates) for k in range(updates)])

    short, long = rates(400), rates(1_600)
    assert torch.allclose(short, long[::4], rtol=0.1)


@settings(max_examples=25)
@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_it_does_not_know_the_scale_of_the_loss(losses: list[float], scale: float) -> None:
    schedule = lehr.LearnedSchedule(wild())
    scaled = schedule.rates([scale * loss for loss in losses])
    assert torch.allclose(schedule.rates(losses), scaled, rtol=1e-3)


@settings(max_examples=25)
@given(st.lists(st.floats(1e-30, 1e30), min_size=1, max_size=20), st.booleans())
def test_rates_are_rates_whatever_the_loss(losses: list[float], adaptive: bool) -> None:
    rates = lehr.LearnedSchedule.pretrained().rates(losses, adaptive=adaptive)
    assert bool(torch.isfinite(rates).all())
    assert bool((rates > 0.0).all())


@pytest.mark.parametrize("tensor", [False, True])
def test_losses_without_a_logarithm_are_passed_over(tensor: bool) -> None:
    def rates(losses: list[tuple[float, float]]) -> list[float]:
        policy = lehr.LearnedSchedule(wild())
        given = [(p, torch.tensor(loss) if tensor else loss) for p, loss in losses]
        return [float(policy.factors(Moment(p, loss=loss))) for p, loss in given]

    sound = rates([(0.0, 1.0), (0.2, 2.0), (0.4, 0.5)])
    mixed = rates([(0.0, 1.0), (0.1, math.nan), (0.1, math.inf), (0.1, -1.0), (0.1, 0.0), (0.2, 2.0), (0.4, 0.5)])
    assert [mixed[0], *mixed[-2:]] == sound
    assert mixed[1:5] == pytest.approx([mixed[0] * 0.9] * 4)
    first = rates([(0.0, math.nan), (0.0, 1.0)])
    assert first == pytest.approx([sound[0]] * 2)


@pytest.mark.parametrize("progress", [0.1, 0.5, 0.9])
def test_a_leap_of_progress_is_no_leap_of_the_rate(progress: float) -> None:
    """As after a budget that was cut, a first update that took long, or a schedule taken over in the middle."""
    fresh, begun = lehr.LearnedSchedule.pretrained(), lehr.LearnedSchedule.pretrained()
    begin = fresh.factors(Moment(0.0))
    assert fresh.factors(Moment(progress, loss=2.3)) == pytest.approx(begin * (1.0 - progress))
    begun.factors(Moment(0.0, loss=2.3))
    ratio = begun.factors(Moment(progress, loss=2.0)) / (begin * (1.0 - progress))
    assert math.exp(-0.2) <= ratio <= math.exp(0.2)


@pytest.mark.parametrize("updates", [1, 2, 3, 5, 20])
def test_short_runs_stay_near_the_line(updates: int) -> None:
    rates = lehr.LearnedSchedule.pretrained().rates([2.3 / (k + 1) for k in range(updates)])
    assert bool((rates < 0.25).all())


def test_a_long_run_is_looked_at_ten_thousand_times_at_most() -> None:
    policy = lehr.LearnedSchedule(wild())
    policy.factors(Moment(0.5, loss=1.0))
    held = policy.factors(Moment(0.50002, loss=100.0))
    assert held == policy.factors(Moment(0.50002))
    assert policy.factors(Moment(0.5001, loss=100.0)) != policy.factors(Moment(0.5001)) * 1.0001
    memory = policy.state_dict()
    assert memory["last"] == 0.5001


def test_what_was_loaded_before_the_first_scheduler_is_kept() -> None:
    used, fresh = lehr.LearnedSchedule(wild()), lehr.LearnedSchedule(wild())
    for k in range(5):
        used.factors(Moment(k / 10, loss=LOSSES[k]))
    fresh.load_state_dict(used.state_dict())
    fresh.bind(torch.optim.SGD([torch.zeros(1)], lr=1.0))
    assert fresh.factors(Moment(0.5, loss=1.0)) == used.factors(Moment(0.5, loss=1.0))


def test_other_weights_have_another_name() -> None:
    network, turned = wild(), wild()
    with torch.no_grad():
        turned.leave.weight.neg_()
    assert repr(lehr.LearnedSchedule(network)) != repr(lehr.LearnedSchedule(turned))


def test_it_ends_at_zero_and_stays_there() -> None:
    policy = lehr.LearnedSchedule(wild())
    policy.factors(Moment(0.5, loss=1.0))
    assert [policy.factors(Moment(p)) for p in (1.0, 1.5)] == [0.0, 0.0]
    assert policy.factors(Moment(1.5, loss=1.0)) == 0.0


@pytest.mark.parametrize(
    ("make", "divides"),
    [
        (torch.optim.SGD, False), (torch.optim.Rprop, False), (torch.optim.Adam, True), (torch.optim.AdamW, True),
        (torch.optim.RMSprop, True), (torch.optim.Adagrad, True), (torch.optim.Adafactor, True),
    ],
)  # fmt: skip
def test_it_tells_adaptive_optimizers_apart(make: Any, divides: bool) -> None:
    network = wild()
    with torch.no_grad():
        network.begin.copy_(torch.tensor([0.5, 0.25]).log())
    scheduler = lehr.Scheduler(
        make([torch.zeros(1, requires_grad=True)], lr=1.0), lehr.LearnedSchedule(network), lehr.Budget(steps=10)
    )
    assert scheduler.get_last_lr() == pytest.approx([0.25 if divides else 0.5])


def test_a_second_run_starts_afresh() -> None:
    policy = lehr.LearnedSchedule(wild())
    firsts = []
    for _ in range(2):
        scheduler = lehr.Scheduler(torch.optim.SGD([torch.zeros(1)], lr=1.0), policy, lehr.Budget(steps=5))
        scheduler.observe(loss=1.3)
        firsts.append(scheduler.get_last_lr())
        scheduler.observe(loss=0.3)
    assert firsts[0] == firsts[1]


def test_asking_for_rates_leaves_the_run_alone() -> None:
    policy = lehr.LearnedSchedule(wild())
    policy.factors(Moment(0.3, loss=1.0))
    before = policy.state_dict()
    policy.rates(LOSSES, adaptive=True)
    after = policy.state_dict()
    assert all(torch.equal(torch.as_tensor(before[key]), torch.as_tensor(after[key])) for key in before)
    assert policy.rates([]).shape == (0,)


def test_nothing_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device would be waited for where Python asks a tensor for its number."""
    weight = torch.zeros(1, requires_grad=True)
    weight.grad = torch.ones(1)
    optimizer = torch.optim.SGD([weight], lr=torch.tensor(0.1))
    scheduler = lehr.Scheduler(optimizer, lehr.LearnedSchedule(wild()), lehr.Budget(steps=10))
    asked: list[str] = []
    losses = [torch.tensor(loss) for loss in LOSSES]
    with noted(monkeypatch, asked):
        for loss in losses:
            scheduler.observe(loss=loss)
            optimizer.step()
            scheduler.step()
    assert asked == []
    factors = [row[2][0] for row in scheduler.history]
    assert factors[:10] == pytest.approx(by_hand(wild(), LOSSES, adaptive=False), rel=2e-4)


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    kept = lehr.LearnedSchedule(wild(), header={"on": "digits"})
    kept.save(tmp_path / "new" / "mine.safetensors")
    loaded = lehr.LearnedSchedule.load(tmp_path / "new" / "mine.safetensors")
    assert torch.equal(loaded.rates(LOSSES), kept.rates(LOSSES))
    assert (tmp_path / "new" / "mine.safetensors").stat().st_mode & 0o777 == 0o644
    assert (loaded.header, loaded.network.hidden, repr(loaded)) == ({"on": "digits"}, 5, repr(kept))


def test_other_and_damaged_files_are_refused(tmp_path: Path) -> None:
    good = tmp_path / "good.safetensors"
    lehr.LearnedSchedule(wild()).save(good)
    (tmp_path / "truncated").write_bytes(good.read_bytes()[:-40])
    (tmp_path / "pickle").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(4)).save(tmp_path / "another kind")
    from lehr.state.weight_files import write_weights

    weights = wild().state_dict()
    write_weights(tmp_path / "no header", weights, {"kind": "learned-schedule"})
    write_weights(tmp_path / "shapes", {**weights, "begin": torch.ones(3)}, {"kind": "learned-schedule", "about": {}})
    del weights["begin"]
    write_weights(tmp_path / "missing", weights, {"kind": "learned-schedule", "about": {}})
    for name in ("truncated", "pickle", "another kind", "no header", "shapes", "missing"):
        with pytest.raises(ValueError, match=name):
            lehr.LearnedSchedule.load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no file"):
        lehr.LearnedSchedule.load(tmp_path / "nowhere")


def test_the_weights_that_come_with_lehr_are_small_and_say_whence_they_are() -> None:
    files = [*PRETRAINED.iterdir(), *lehr.mlrsnet.policy.PRETRAINED.iterdir()]
    assert [file.name for file in files] == ["learned-schedule.safetensors", "mlr-snet.safetensors"]
    assert sum(file.stat().st_size for file in files) < 100_000
    learned, mlrsnet = lehr.LearnedSchedule.pretrained(), lehr.MLRSNet.pretrained()
    assert learned.header["script"].startswith("records/")
    assert mlrsnet.header["algorithm"].startswith("Shu")
    assert mlrsnet.factors(Moment(0.0, loss=2.3)) < 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lehr.learned.BudgetNetwork(0), "hidden"),
        (lambda: lehr.learned.BudgetNetwork(True), "hidden"),
        (lambda: lehr.LearnedSchedule("weights.safetensors"), "BudgetNetwork"),  # type: ignore[arg-type]
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
