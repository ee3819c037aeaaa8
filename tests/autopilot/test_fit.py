"""The loop that everybody writes: its end, its evaluations, its checkpoints, its log."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lehr

INPUTS = torch.randn(128, 4, generator=torch.Generator().manual_seed(0))


def loss(model: nn.Module, batch: Tensor) -> Tensor:
    return (model(batch) - batch.sum(1, keepdim=True)).square().mean()


def training(loss: Any = loss, lr: float = 0.05, **options: Any) -> lehr.Training:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    return lehr.Training(model, optimizer, DataLoader(INPUTS, batch_size=16, shuffle=True), loss, **options)


def weights(one: lehr.Training) -> Tensor:
    return torch.cat([p.detach().flatten() for p in one.modules[0].parameters()])


def fit(one: lehr.Training, *arguments: Any, **options: Any) -> lehr.FitResult:
    return lehr.fit(one, *arguments, progress=False, **options)


def test_it_spends_the_budget_and_says_what_happened() -> None:
    one = training()
    result = fit(one, "5ep", lehr.Linear())
    assert (result.ending, result.updates, len(result.losses), len(result.rates)) == ("budget spent", 40, 40, 41)
    assert result.rates[0] == (0, 0.0, (0.05,))
    assert result.rates[-1][2] == (0.0,)
    assert result.losses[-1][1] < result.losses[0][1]
    assert result.peak == 0.05
    assert str(result).startswith("budget spent after 40 updates in ")
    assert result.seconds > 0.0


def test_it_is_the_run_that_the_six_lines_make() -> None:
    one, other = training(), training()
    scheduler = lehr.Scheduler(other, lehr.Cosine(), lehr.Budget(steps=30))
    torch.manual_seed(1)
    losses = [float(value) for value in other.run(scheduler)]
    torch.manual_seed(1)
    result = fit(one, "30steps", lehr.Cosine())
    assert [value for _, value in result.losses] == losses
    assert torch.equal(weights(one), weights(other))


def test_evaluations_come_when_asked_and_cost_no_time() -> None:
    one, times = training(), [0.0]

    def evaluate() -> dict[str, float]:
        one.modules[0].eval()
        times.append(times[-1] + 1.0)
        return {"accuracy": times[-1]}

    result = fit(one, "5ep", lehr.Linear(), evaluate=evaluate, every="1ep")
    assert [row.update for row in result.evaluations] == [8, 16, 24, 32, 40]
    assert [row.values["accuracy"] for row in result.evaluations] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert one.modules[0].training
    assert len(fit(training(), "40steps", lehr.Linear(), evaluate=lambda: 0.5).evaluations) == 10
    assert fit(training(), "8steps", lehr.Linear(), evaluate=lambda: torch.tensor(0.5), every="4steps").evaluations[
        0
    ].values == {"evaluation": 0.5}
    with pytest.raises(ValueError, match="evaluate must return a number"):
        fit(training(), "8steps", lehr.Linear(), evaluate=lambda: "good")


def test_frozen_layers_stay_in_evaluation_mode() -> None:
    one = training()
    one.modules[0][2].eval()
    fit(one, "8steps", lehr.Linear(), evaluate=lambda: float(one.modules[0].train()[2].training))
    assert not one.modules[0][2].training


def test_the_log_is_told_rates_not_factors() -> None:
    rows: list[tuple[int, dict[str, float]]] = []
    one = training(loss=lambda model, batch: (loss(model, batch), {"size": float(len(batch))}))
    fit(one, "40steps", lehr.Linear(), log=lambda step, values: rows.append((step, dict(values))), log_every=20)
    steps = [step for step, _ in rows]
    assert steps == sorted({*range(4, 41, 4), 20, 40})
    by_step = dict(rows)
    assert by_step[20]["lr"] == pytest.approx(0.025)
    assert by_step[20]["progress"] == 0.5
    assert by_step[20]["size"] == 16.0
    assert math.isfinite(by_step[20]["loss"])


@pytest.mark.parametrize("stop", [3, 10, 17])
def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(stop: int, tmp_path: Path) -> None:
    whole = training()
    expected = fit(whole, "40steps", lehr.Cosine(), evaluate=lambda: 1.0)

    class KillError(Exception):
        pass

    def log(step: int, values: Any) -> None:
        if step >= stop:
            raise KillError

    with pytest.raises(KillError):
        fit(training(), "40steps", lehr.Cosine(), evaluate=lambda: 1.0, checkpoints=tmp_path, log=log, log_every=1)
    torch.manual_seed(99)
    again = training()
    result = fit(again, "40steps", lehr.Cosine(), evaluate=lambda: 1.0, checkpoints=tmp_path)
    assert torch.equal(weights(whole), weights(again))
    assert list(result.losses) == list(expected.losses)
    assert [row.update for row in result.evaluations] == [row.update for row in expected.evaluations]


def test_a_finished_run_is_not_made_again(tmp_path: Path) -> None:
    fit(training(), "16steps", lehr.Linear(), checkpoints=tmp_path)
    again = fit(training(), "16steps", lehr.Linear(), checkpoints=tmp_path)
    assert (again.ending, again.updates, len(again.losses)) == ("budget spent", 16, 16)


def test_training_longer_is_refused_unless_it_is_accepted(tmp_path: Path) -> None:
    fit(training(), "16steps", lehr.Linear(), checkpoints=tmp_path)
    with pytest.raises(ValueError, match="the budget changed"):
        fit(training(), "32steps", lehr.Linear(), checkpoints=tmp_path)
    result = fit(training(), "32steps", lehr.Linear(), checkpoints=tmp_path, accept="budget")
    assert result.updates == 32


def test_a_tuner_needs_no_more_than_its_name() -> None:
    result = fit(training(lr=1e-6), "100steps", lehr.LRTuner() * lehr.Constant())
    assert [decision.what for decision in result.decisions][:2] == ["look", "climb"]
    assert result.losses[-1][1] < 0.5 * result.losses[0][1]


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    result = fit(training(lr=1e8), "100steps", lehr.Constant())
    assert result.ending == "not finite"
    assert result.updates < 100


def test_data_that_ends_ends_the_run() -> None:
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one = lehr.Training(model, optimizer, iter([INPUTS[:8]] * 3), loss)
    assert fit(one, "10steps", lehr.Linear()).ending == "data used up"


def test_progress_is_told_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lehr.fit(training(), "40steps", lehr.Linear())
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[-1].startswith("100%  loss ")


def test_the_picture() -> None:
    result = fit(training(lr=1e-5), "60steps", lehr.LRTuner(), evaluate=lambda: {"accuracy": 0.5})
    figure = result.plot()
    assert len(figure.axes) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"budget": lehr.Budget.every(steps=3)}, "no end"),
        ({"log_every": 0}, "log_every must be a whole number"),
        ({"budget": "3 parsecs"}, "unknown unit"),
        ({"every": "1s"}, "seconds cannot be converted"),
    ],
)
def test_bad_arguments(change: dict[str, Any], says: str) -> None:
    arguments: dict[str, Any] = {"budget": "10steps", "policy": lehr.Linear(), **change}
    with pytest.raises(ValueError, match=says):
        fit(training(), **arguments)
    with pytest.raises(TypeError, match=r"training must be a lehr\.Training"):
        lehr.fit(nn.Linear(1, 1), "10steps", lehr.Linear())  # type: ignore[arg-type]


SCRIPT = """
import sys, time, torch, lehr
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def loss(model, x):
    print("update", flush=True)
    time.sleep(0.02)
    return model(x).square().mean()
training = lehr.Training(model, optimizer, [torch.ones(2, 4)], loss)
result = lehr.fit(training, "100000steps", lehr.Linear(), checkpoints=sys.argv[1], progress=False)
print(result.ending, result.updates, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_update_saved(number: int, tmp_path: Path) -> None:
    run = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True,
        env=dict(os.environ),
    )  # fmt: skip
    assert run.stdout is not None
    for _ in range(5):
        run.stdout.readline()
    run.send_signal(number)
    rest = run.communicate(timeout=120)[0]
    ending, updates = rest.splitlines()[-1].rsplit(" ", 1)
    assert (run.returncode, ending) == (0, "interrupted")
    (saved,) = (tmp_path / "run").glob("*.pt")
    assert f"-step-{updates}-" in saved.name


# -- numbers that are not finite, and updates that are skipped --------------------------------------------------------


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    def breaking(after: int) -> Any:
        calls = 0

        def broken(model: nn.Module, batch: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return loss(model, batch) * (math.nan if calls > after else 1.0)

        return broken

    result = fit(training(breaking(17)), "40steps", lehr.Linear(), every="10steps", checkpoints=tmp_path, log_every=20)
    assert (result.ending, result.updates) == ("not finite", 20)
    again = fit(training(), "40steps", lehr.Linear(), every="10steps", checkpoints=tmp_path)
    assert (again.ending, again.updates) == ("budget spent", 40)


def test_a_finite_loss_with_gradients_that_are_not_is_seen_before_it_is_saved(tmp_path: Path) -> None:
    def rooted(model: nn.Module, batch: Tensor) -> Tensor:
        return (loss(model, batch) * 0.0).sqrt()

    assert fit(training(rooted), "5steps", lehr.Linear(), every="1steps", checkpoints=tmp_path).ending == "not finite"
    assert fit(training(), "5steps", lehr.Linear(), checkpoints=tmp_path).ending == "budget spent"


def test_updates_that_the_scaler_skips_are_neither_counted_nor_logged() -> None:
    calls = 0

    def overflowing(model: nn.Module, batch: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return loss(model, batch) * (math.inf if calls in (1, 2, 8, 9) else 1.0)

    logged: list[int] = []
    result = fit(
        training(overflowing, scaler=torch.amp.GradScaler("cpu", init_scale=4.0)), "8steps", lehr.Linear(),
        log=lambda updates, values: logged.append(updates), log_every=2, every="4steps",
    )  # fmt: skip
    assert (result.ending, result.updates) == ("budget spent", 8)
    assert [update for update, _ in result.losses] == list(range(8))
    assert logged == [2, 4, 6, 8]


def test_a_scaler_that_can_do_nothing_more_ends_the_run() -> None:
    broken = training(lambda model, batch: model(batch).sum() * math.nan, scaler=torch.amp.GradScaler("cpu"))
    with pytest.warns(lehr.BudgetWarning, match="AMP may have skipped them all"):
        result = fit(broken, "8steps", lehr.Linear())
    assert (result.ending, result.updates) == ("not finite", 0)


def test_metrics_that_are_no_number_do_not_end_a_run() -> None:
    logged: list[dict[str, float]] = []
    one = training(lambda model, batch: (loss(model, batch), {"each": torch.ones(3), "note": "text", "half": 0.5}))
    fit(one, "4steps", lehr.Linear(), log=lambda _, values: logged.append(dict(values)), log_every=1)
    assert all(values["half"] == 0.5 and "each" not in values and "note" not in values for values in logged)


def test_modes_are_put_back_if_evaluation_fails() -> None:
    one = training()

    def failing() -> float:
        one.modules[0].eval()
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError, match="no data"):
        fit(one, "4steps", lehr.Linear(), evaluate=failing)
    assert one.modules[0].training


def test_what_data_that_ends_has_given_is_evaluated_and_saved(tmp_path: Path) -> None:
    one = training()
    one = lehr.Training(one.modules[0], one.optimizers[0], iter(DataLoader(INPUTS, batch_size=16)), loss)
    result = fit(one, "20steps", lehr.Linear(), every="5steps", evaluate=lambda: 1.0, checkpoints=tmp_path)
    assert (result.ending, [each.update for each in result.evaluations]) == ("data used up", [5, 8])
    assert any("step-8" in path.name for path in tmp_path.iterdir())
