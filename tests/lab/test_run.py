"""One run: fair, repeatable, honest about divergence and cost."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import lehr
from lab.small import data, task
from lehr import lab
from lehr.lab.finding import find_edge
from lehr.lab.report import render
from lehr.lab.tensors import TensorLoop

LINEAR, CONSTANT = lab.METHODS["linear"], lab.METHODS["constant"]


def train(method: lab.Method = LINEAR, budget: str = "5ep", seed: int = 0, **arguments: object) -> lab.Run:
    chosen = arguments.pop("task", None) or task()
    assert isinstance(chosen, lab.Task)
    return lab.train(chosen, method, lab.Settings(budget, 4), seed, **arguments)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_run() -> None:
    one, two, other = train(), train(), train(seed=1)
    assert [row.train_loss for row in one.curve] == [row.train_loss for row in two.curve]
    assert one.test == two.test
    assert one.curve[0].train_loss != other.curve[0].train_loss


def test_methods_share_initial_weights_and_batches() -> None:
    """With rate zero nothing is learned, so all methods see the same losses if the rest is the same."""
    still = [train(method, lr=1e-30) for method in (LINEAR, CONSTANT)]
    assert [row.train_loss for row in still[0].curve] == [row.train_loss for row in still[1].curve]


def test_the_rates_are_the_schedules() -> None:
    run = train(lr=0.25)
    assert run.lr == 0.25
    assert run.rates[:3] == tuple((k / 50, 0.25 * (1 - k / 50)) for k in range(3))
    assert run.rates[-1] == (1.0, 0.0)


def test_no_peak_and_no_step_of_a_long_run_is_left_out() -> None:
    schedule = lehr.Triangular(cycles=12, low=0.1) * lehr.Steps(at=(0.5,))
    run = train(lab.load_methods(repr(schedule))[0], "288steps", lr=1.0)
    every = [schedule(k / 288) for k in range(288)]
    peaks = [k for k in range(1, 287) if every[k - 1] <= every[k] > every[k + 1]]
    step = next(k for k in range(1, 288) if every[k] < 0.5 * every[k - 1])
    assert len(peaks) == 12 and len(run.rates) < 220
    kept = dict(run.rates)
    assert {float(f"{k / 288:.6g}") for k in (*peaks, step)} <= kept.keys()


def test_groups_keep_their_ratios_under_another_peak() -> None:
    rates = []

    def optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
        weight, bias = model.parameters()
        made = torch.optim.SGD([{"params": [weight], "lr": 0.5}, {"params": [bias], "lr": 0.05}])
        made.register_step_pre_hook(lambda *_: rates.append([group["lr"] for group in made.param_groups]))
        return made

    train(CONSTANT, "1steps", task=task(optimizer=optimizer), lr=0.1)
    assert rates == [[pytest.approx(0.1), pytest.approx(0.01)]]


@pytest.mark.parametrize(("budget", "updates"), [("5ep", 50), ("17steps", 17), ("100samples", 13), ("0.5ep", 5)])
def test_budgets_buy_updates(budget: str, updates: int) -> None:
    run = train(budget=budget)
    assert run.updates == run.forward_passes == updates
    assert run.curve[-1].update == updates
    assert run.curve[-1].progress >= 1.0


def test_seconds_are_spent_on_training_alone() -> None:
    run = train(budget="0.3s")
    assert 0.3 <= run.seconds < 0.6
    assert run.updates > 10


def test_tokens_are_counted_for_sequences() -> None:
    tokens = torch.zeros(64, 16, dtype=torch.int64)
    made = lab.Data((tokens, tokens), (tokens, tokens), (tokens, tokens))
    assert task(data=made).workload().budget_of("1280tok").updates == 10


def test_a_diverged_run_says_when() -> None:
    run = train(CONSTANT, lr=1e30, task=task(loss=torch.nn.functional.mse_loss, model=_to_targets, data=_regression()))
    assert run.diverged_at is not None
    assert 0 < run.diverged_at < 20
    assert run.test is None
    assert run.validation is None


def _to_targets() -> torch.nn.Module:
    return torch.nn.Linear(4, 1)


def _regression() -> lab.Data:
    inputs = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    return lab.split(inputs, inputs.sum(1, keepdim=True), validation=20, test=20)


def test_other_metrics() -> None:
    regression = task(
        loss=torch.nn.functional.mse_loss, model=_to_targets, data=_regression(), metric=lab.MEAN_SQUARED_ERROR
    )
    run = train(budget="20ep", task=regression, lr=0.05)
    assert run.test is not None
    assert run.test < 0.01


def test_a_search_run_does_not_look_at_the_test_set() -> None:
    made = lab.split(torch.randn(100, 4), torch.zeros(100, dtype=torch.int64), validation=20, test=20)
    poisoned = lab.Data(made.train, made.validation, (torch.full((20, 4), math.nan), made.test[1]))
    seen = []
    metric = lab.Metric("seen", lambda outputs, _: seen.append(bool(outputs.isnan().any())) or torch.tensor(0.0))
    train(task=task(data=poisoned, metric=metric), look_at_test=False)
    assert not any(seen)
    train(task=task(data=poisoned, metric=metric))
    assert seen.count(True) == 1  # looked at once


def test_policies_see_the_loss() -> None:
    from contract.policies import Plateau

    run = train(lab.Method("plateau", "Plateau()", lambda loop: Plateau(), "tests"))
    assert run.rates[0][1] >= run.rates[-1][1]
    assert run.policy == "Plateau()"


def test_bfloat16_and_images() -> None:
    images = torch.randn(80, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    small = task(
        data=lab.split(images, (images.mean((1, 2, 3)) > 0).long(), validation=20, test=20),
        model=lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2)),
    )
    full = lab.train(small, LINEAR, lab.Settings("20steps", 4), 0, lr=0.05)
    half = lab.train(small, LINEAR, lab.Settings("20steps", 4, lab.Placement("cpu", "bf16")), 0, lr=0.05)
    assert half.curve[-1].train_loss == pytest.approx(full.curve[-1].train_loss, rel=0.05)


def test_a_result_that_is_no_number_is_no_result() -> None:
    metric = lab.Metric("odd", lambda outputs, _: outputs.sum() * math.nan)
    run = train(task=task(metric=metric))
    assert run.diverged_at == run.updates
    assert (run.validation, run.test) == (None, None)


def test_what_was_frozen_in_eval_stays_so() -> None:
    seen = []

    class Watch(torch.nn.Module):
        def forward(self, x):
            seen.append(self.training)
            return x

    def model() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Linear(4, 2), Watch().eval())

    train(budget="20steps", task=task(model=model))
    assert not any(seen)


def test_a_network_is_not_trained_twice() -> None:
    shared = torch.nn.Linear(4, 2)
    again = task(model=lambda: shared)
    train(budget="2steps", task=again)
    with pytest.raises(ValueError, match="model must make a new network at each call"):
        train(budget="2steps", task=again)
    with pytest.raises(ValueError, match=r"model must return a torch.nn.Module; got int"):
        train(task=task(model=lambda: 3))


def test_initial_weights_may_come_from_numpy() -> None:
    def model() -> torch.nn.Module:
        made = torch.nn.Linear(4, 2)
        made.weight.data.copy_(torch.tensor(np.random.randn(2, 4)))
        return made

    assert train(task=task(model=model)).test == train(task=task(model=model)).test


def test_metrics_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"needs class numbers as targets .* give metric=lab.MEAN_SQUARED_ERROR"):
        train(task=task(loss=torch.nn.functional.mse_loss, model=_to_targets, data=_regression()))
    inputs, targets = torch.randn(100, 4), torch.randn(100)
    flat = lab.split(inputs, targets, validation=20, test=20)
    squares = task(data=flat, model=_to_targets, loss=lambda o, t: (o[:, 0] - t).square().mean())
    with pytest.raises(ValueError, match=r"needs outputs and targets of one shape; got \(20, 1\) and \(20,\)"):
        train(task=lab.Task(**{**vars(squares), "metric": lab.MEAN_SQUARED_ERROR}))


def test_a_rate_of_zero_cannot_be_scaled() -> None:
    still = task(optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.0))
    with pytest.raises(ValueError, match="a parameter group needs a learning rate above 0"):
        train(task=still, lr=0.1)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "Task: batch_size must be a whole number, at least 1"),
        ({"model": torch.nn.Linear(4, 2).weight}, TypeError, "Task: model must be a function"),
        ({"metric": "accuracy"}, TypeError, "Task: metric must be a lehr.lab.Metric"),
    ],
)
def test_bad_tasks(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        task(**changes)


def test_bad_data() -> None:
    with pytest.raises(TypeError, match="Task: data must be a lehr.lab.Data or a function that returns one; got list"):
        task(data=list).load()
    with pytest.raises(ValueError, match="batch_size 100 is more than the 80 training examples"):
        task(batch_size=100).load()
    with pytest.raises(ValueError, match="split: there are 10 inputs, but 20 targets"):
        lab.split(torch.zeros(10), torch.zeros(20), validation=1, test=1)
    with pytest.raises(ValueError, match="leave nothing of 10 examples to train on"):
        lab.split(torch.zeros(10), torch.zeros(10), validation=5, test=5)
    with pytest.raises(ValueError, match="Data: test has 3 inputs, but 2 targets"):
        lab.Data(*[(torch.zeros(2), torch.zeros(2))] * 2, (torch.zeros(3), torch.zeros(2)))
    with pytest.raises(ValueError, match="exactly one of|has no unit"):
        task().workload().budget_of("10")
    assert lehr.Budget.parse("1h").seconds == 3600


def test_layers_freeze_while_a_method_trains() -> None:
    freezing = task(model=lambda: torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)))
    method = lab.load_methods("FreezeOut(t0=0.25, how='linear')")[0]
    loop = TensorLoop(freezing, freezing.load(), 0)
    plan = method.policy(loop)
    assert isinstance(plan, lehr.FreezeOut)
    assert plan.ends == (0.25, 1.0)
    assert [group["lr"] for group in loop.optimizer.param_groups] == [0.5, 0.5]
    run = lab.train(freezing, method, lab.Settings("8steps", 4), 0)
    assert run.policy == "FreezeOut(t0=0.25, how='linear')"
    assert run.rates[0][1] == pytest.approx(0.5 / 0.25)
    assert run.rates[-1][1] == 0.0
    assert run.test is not None


@pytest.mark.parametrize("name", ["gen", "lqa", "lrtuner", "plateau", "qlabgrad", "LRTuner(explore=0.5, overhead=0.1)"])
def test_policies_that_look_at_training_run_on_any_task(name: str) -> None:
    method = lab.load_methods(name)[0]
    run = train(method, lr=1e-3)
    assert run.updates == 50
    assert run.forward_passes == 50 + run.probe_passes
    assert (run.probe_passes > 0) == (name != "plateau")
    assert train(method, lr=1e-3).test == run.test
    assert bool(run.decisions) == ("tuner" in name.lower())


def test_the_tuner_needs_no_rate() -> None:
    tuned = max(train(lr=lr).validation or 0.0 for lr in (0.03, 0.3, 3.0))
    for start in (1e-7, 1e-3, 1e2):
        run = train(lab.METHODS["lrtuner"], lr=start)
        assert run.validation is not None
        assert run.validation >= tuned - 0.1


def test_a_method_that_finds_its_rate_pays_for_it_and_ignores_what_it_is_given() -> None:
    chosen = lab.load_task("digits")
    one, two = (train(lab.METHODS["learned"], "40steps", task=chosen, lr=lr) for lr in (None, 0.123))
    assert one.lr == two.lr != 0.1
    assert one.rates == two.rates
    assert one.updates == 40 < one.forward_passes <= 140
    assert 0.0 < one.rates[0][1] < one.lr
    assert one.rates[-1] == (1.0, 0.0)


def test_the_rate_is_the_one_that_was_asked_for() -> None:
    """Although rates are set by their ratio to the task's, which may round."""
    for own, asked in ((0.01, 0.7), (torch.tensor(0.1), 0.3)):
        chosen = task(optimizer=lambda model, own=own: torch.optim.SGD(model.parameters(), lr=own))
        assert train(LINEAR, "2steps", task=chosen, lr=asked).lr == asked


def test_an_edge_that_noise_hides_is_looked_for_longer() -> None:
    loop = TensorLoop(task(loss=lambda outputs, targets: outputs.mean() * 0.0 + 1.0), data(), 0)
    with pytest.warns(UserWarning, match="ten times the task's own rate"):
        assert find_edge(loop) == 5.0
    assert loop.search_passes == 700
    assert loop.search_seconds > 0.0


def test_the_search_for_an_edge_leaves_the_loop_as_it_was() -> None:
    chosen = lab.load_task("digits")
    one, two = (TensorLoop(chosen, chosen.load(), 0) for _ in range(2))
    find_edge(one)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))
    assert torch.equal(next(one.batches)[0], next(two.batches)[0])
    assert one.peak == two.peak


def test_the_autopilots_search_is_within_the_budget_of_a_run() -> None:
    chosen = lab.load_task("digits")
    run = train(lab.METHODS["autopilot"], "600steps", task=chosen)
    again = train(lab.METHODS["autopilot"], "600steps", task=chosen)
    assert (again.lr, again.rates, again.test) == (run.lr, run.rates, run.test)
    assert run.lr != 0.1
    assert run.updates < 600
    assert run.forward_passes > run.updates
    assert run.explanation.count("updates  loss") >= 2
    assert run.rates[0][0] == pytest.approx(1.0 - run.updates / 600, abs=1e-3)  # where its search ended
    assert run.rates[-1] == (1.0, 0.0)
    assert [row.progress for row in run.curve] == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=2e-3)
    assert run.test is not None
    assert run.test > 0.9


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_search_takes_its_share_of_a_smaller_budget_too(share: float) -> None:
    run = train(lab.METHODS["autopilot"], "800steps", task=lab.load_task("digits"), share=share)
    assert 0.85 * share * 800 < run.updates < share * 800


def test_a_search_that_finds_nothing_fails_the_run_and_not_the_others() -> None:
    flat = replace(lab.load_task("digits"), loss=lambda outputs, targets: outputs.sum() * 0.0 + 1.0)
    results = lab.compare(flat, ["autopilot", "linear"], budget="600steps", seeds=1)
    (failed,) = results.of("autopilot").diverged
    assert failed.failure is not None
    assert "no first step, however long, changes the loss from 1" in failed.failure
    assert results.of("linear").test is not None


def test_the_report_tells_what_a_search_saw() -> None:
    results = lab.compare("digits", [lehr.Autopilot(search=0.2), "linear"], budget="300steps", seeds=2)
    page = render(results)
    assert page.count("<details") == 2
    assert "What the search tried, saw and chose" in page
    assert "Autopilot(search=0.2), seed 1: peak rate" in page
    assert page.count("Trials took") == 2


def test_a_run_whose_updates_are_not_made_is_refused() -> None:
    def broken(model: nn.Module) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.step = lambda *_, **__: None  # type: ignore[method-assign]
        return optimizer

    task = replace(lab.load_task("digits"), optimizer=broken)
    with pytest.warns(lehr.BudgetWarning), pytest.raises(ValueError, match="200 steps made no update of the optimizer"):
        lab.train(task, lab.METHODS["linear"], lab.Settings("20steps"), seed=0)
