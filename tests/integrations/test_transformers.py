"""Transformers' real Trainer, driven by the callback, and by a scheduler that it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lehr

pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers")

from lehr.integrations.transformers import Lehr  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error::lehr.BudgetWarning")]


def bert(labels: int = 2) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=50, max_position_embeddings=16, num_labels=labels, **sizes)
    return transformers.BertForSequenceClassification(config)


def data(count: int = 64) -> list[dict[str, Tensor]]:
    tokens = torch.randint(0, 50, (count, 8), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": row, "labels": (row[0] % 2).long()} for row in tokens]


class Rates(transformers.TrainerCallback):
    """The rates that updates were made with, and the losses that were logged."""

    def __init__(self) -> None:
        self.used: list[float] = []
        self.logged: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        inner = optimizer.optimizer
        inner.register_step_post_hook(lambda one, *_: self.used.append(one.param_groups[0]["lr"]))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if "learning_rate" in logs:
            self.logged.append(logs["learning_rate"])


def trainer(path: Path, *callbacks: Any, model: Any = None, more: Any = None, **options: Any) -> Any:
    settings = {
        "max_steps": 20, "per_device_train_batch_size": 4, "learning_rate": 1e-3, "save_strategy": "no",
        "logging_steps": 1, "lr_scheduler_type": "linear",
    } | options  # fmt: skip
    arguments = transformers.TrainingArguments(
        str(path), use_cpu=True, report_to="none", disable_tqdm=True, dataloader_pin_memory=False, **settings
    )
    return transformers.Trainer(
        model or bert(), arguments, train_dataset=data(), callbacks=list(callbacks), **(more or {})
    )


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def saves(path: Path) -> dict[str, Any]:
    return {"save_strategy": "steps", "save_steps": 8}


# -- the callback ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"max_steps": -1, "num_train_epochs": 3}, {"gradient_accumulation_steps": 3}])
def test_the_arguments_are_the_budget(options: Any, tmp_path: Path) -> None:
    curve = lehr.Cosine().after_warmup(0.1)
    driver, rates = Lehr(curve), Rates()
    run = trainer(tmp_path, driver, rates, **options)
    run.train()
    updates = run.state.global_step
    assert updates == driver.scheduler.updates == {"num_train_epochs": 48}.get(next(reversed(options), ""), 20)
    assert rates.used == pytest.approx([1e-3 * curve(k / updates) for k in range(updates)])
    assert rates.logged == pytest.approx(rates.used)


@pytest.mark.parametrize(
    ("budget", "updates"),
    [("2ep", 32), ("40samples", 10), (lehr.Budget(steps=7), 7), (lehr.Budget(tokens=100, tokens_per_step=20), 5)],
)
def test_a_budget_may_be_given_and_ends_training(budget: Any, updates: int, tmp_path: Path) -> None:
    driver = Lehr(lehr.Linear(), budget)
    run = trainer(tmp_path, driver, max_steps=100)
    run.train()
    assert run.state.global_step == driver.scheduler.updates == updates
    assert driver.scheduler.get_last_lr() == [0.0, 0.0]


def test_seconds_end_training_and_leave_out_evaluation(tmp_path: Path) -> None:
    driver = Lehr(lehr.Linear(), "1s")
    run = trainer(
        tmp_path, driver, max_steps=100_000, eval_strategy="steps", eval_steps=50, more={"eval_dataset": data()}
    )
    run.train()
    assert driver.scheduler.finished
    assert 5 < run.state.global_step < 5_000


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("100ep", "give TrainingArguments max_steps=1600, or leave the budget out"),
        (lehr.Budget(tokens=100), "tokens_per_step=..."),
        ("2parsecs", "unknown unit 'parsecs'"),
    ],
)
def test_a_budget_that_does_not_fit_is_refused(budget: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        trainer(tmp_path, Lehr(lehr.Linear(), budget)).train()


@pytest.mark.parametrize(
    "options", [{"lr_scheduler_type": "cosine"}, {"warmup_steps": 5}, {"lr_scheduler_type": "constant"}]
)
def test_a_schedule_in_the_arguments_is_refused(options: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"leave out lr_scheduler_type and warmup_steps.*Lehr\(lehr.Cosine"):
        trainer(tmp_path, Lehr(lehr.Linear()), **options).train()


@pytest.mark.parametrize(
    "make",
    [
        lambda one: lehr.Scheduler(one, lehr.Linear(), lehr.Budget(steps=20)),
        lambda one: torch.optim.lr_scheduler.StepLR(one, 5),
        lambda one: transformers.get_cosine_schedule_with_warmup(one, 2, 20),
    ],
    ids=["ours", "torch's", "theirs"],
)
def test_a_scheduler_beside_the_callback_is_refused(make: Any, tmp_path: Path) -> None:
    model = bert()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with pytest.raises(ValueError, match=r"optimizers=\(optimizer, None\)"):
        trainer(tmp_path, Lehr(lehr.Linear()), model=model, more={"optimizers": (optimizer, make(optimizer))}).train()


def test_an_optimizer_of_ones_own_with_layerwise_rates(tmp_path: Path) -> None:
    model, rates = bert(), Rates()
    optimizer = torch.optim.AdamW(
        [{"params": model.bert.parameters(), "lr": 1e-4}, {"params": model.classifier.parameters(), "lr": 1e-3}]
    )
    driver = Lehr(lehr.Linear())
    trainer(tmp_path, driver, rates, model=model, more={"optimizers": (optimizer, None)}).train()
    assert driver.scheduler.base_lrs == [1e-4, 1e-3]
    assert rates.used == pytest.approx([1e-4 * (1 - k / 20) for k in range(20)])


@pytest.mark.parametrize("policy", [lehr.LRTuner(), lehr.LRTuner() * lehr.Linear()])
def test_a_look_along_the_step_is_refused_at_once(policy: Any) -> None:
    with pytest.raises(ValueError, match=r"looks along the step.*write lehr.fit\(lehr.Training"):
        Lehr(policy)


@pytest.mark.parametrize("arguments", [(0.1,), (lehr.Linear,), ("linear",), ([0.1],), (lehr.Linear(), 10)])
def test_what_is_of_the_wrong_kind_is_refused_at_once(arguments: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="Lehr: (policy|budget) must be"):
        Lehr(*arguments)


class Notes(lehr.Policy):
    """Notes each loss."""

    needs = ("loss",)

    def __init__(self) -> None:
        self.losses: list[float] = []

    def wants_look(self, progress: float) -> bool:
        return False

    def factors(self, moment: lehr.Moment) -> float:
        if moment.loss is not None:
            self.losses.append(float(moment.loss))
        return 1.0

    def __repr__(self) -> str:
        return "Notes()"


@pytest.mark.parametrize("accumulate", [1, 3])
def test_policies_see_the_loss_that_the_trainer_logs(accumulate: int, tmp_path: Path) -> None:
    policy = Notes()
    run = trainer(
        tmp_path, Lehr(policy), gradient_accumulation_steps=accumulate, eval_strategy="steps", eval_steps=3,
        more={"eval_dataset": data(8)},
    )  # fmt: skip
    run.train()
    logged = [row["loss"] for row in run.state.log_history if "loss" in row]
    assert len(policy.losses) == len(logged) == 20
    assert policy.losses == pytest.approx(logged, abs=2e-4)


def test_a_loss_that_the_model_does_not_return_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the model returned none, as with label_smoothing_factor"):
        trainer(tmp_path, Lehr(Notes()), label_smoothing_factor=0.1).train()
    trainer(tmp_path, Lehr(lehr.Linear()), label_smoothing_factor=0.1).train()


@pytest.mark.parametrize("make", [lehr.Cosine, lehr.LearnedSchedule.pretrained], ids=["schedule", "learned"])
def test_resuming_is_bit_for_bit(make: Any, tmp_path: Path) -> None:
    whole, first = Lehr(make()), Rates()
    run = trainer(tmp_path, whole, first, **saves(tmp_path))
    run.train()
    resumed, second = Lehr(make()), Rates()
    part = trainer(tmp_path, resumed, second, **saves(tmp_path))
    part.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    assert second.used == first.used[8:]
    assert torch.equal(weights(part.model), weights(run.model))
    assert resumed.scheduler.get_last_lr() == whole.scheduler.get_last_lr()


@pytest.mark.parametrize("step", [8, 16], ids=["before", "after"])
def test_layers_freeze_and_resume_bit_for_bit(step: int, tmp_path: Path) -> None:
    def run(folder: Path, resume: str | None = None) -> tuple[list[float], Tensor]:
        model, rates = bert(), Rates()
        plan = lehr.FreezeOut(lehr.layers_of(model, data(1)[0]["input_ids"][None]), t0=0.5, how="linear")
        optimizer = torch.optim.AdamW(plan.param_groups(lr=1e-3))
        more = {"optimizers": (optimizer, None)}
        trainer(folder, Lehr(plan), rates, model=model, more=more, **saves(folder)).train(resume_from_checkpoint=resume)
        return rates.used, weights(model)

    rates, ended = run(tmp_path)
    assert [rate > 0.0 for rate in rates] == [k < 10 for k in range(20)]
    resumed, again = run(tmp_path / "resumed", str(tmp_path / f"checkpoint-{step}"))
    assert resumed == rates[step:]
    assert torch.equal(again, ended)


@pytest.mark.parametrize("make", [lehr.Linear, lehr.LearnedSchedule.pretrained], ids=["schedule", "learned"])
def test_a_language_model_on_text(make: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"n_positions": 32, "n_embd": 32, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=256, **sizes))
    text = torch.tensor(list((Path(__file__).parents[2] / "README.md").read_bytes()))
    pieces = [{"input_ids": piece, "labels": piece} for piece in text.split(32) if len(piece) == 32]
    arguments = transformers.TrainingArguments(
        str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True, dataloader_pin_memory=False,
        save_strategy="no", learning_rate=1e-2, max_steps=60, logging_steps=1,
    )  # fmt: skip
    driver, rates = Lehr(make()), Rates()
    run = transformers.Trainer(model, arguments, train_dataset=pieces, callbacks=[driver, rates])
    run.train()
    losses = [row["loss"] for row in run.state.log_history if "loss" in row]
    assert len(rates.used) == len(losses) == 60
    assert rates.logged == pytest.approx(rates.used)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_resuming_with_another_curve_or_without_state_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path, Lehr(lehr.Linear()), **saves(tmp_path)).train()
    with pytest.raises(ValueError, match="the schedule changed"):
        trainer(tmp_path, Lehr(lehr.Cosine())).train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    trainer(tmp_path / "plain", **saves(tmp_path)).train()
    with pytest.raises(ValueError, match="written without this callback"):
        trainer(tmp_path / "plain", Lehr(lehr.Linear())).train(
            resume_from_checkpoint=str(tmp_path / "plain" / "checkpoint-8")
        )


@pytest.mark.parametrize("driven", ["callback", "scheduler"])
def test_another_peak_after_loading_is_refused_unless_accepted(driven: str, tmp_path: Path) -> None:
    def run(folder: Path, lr: float, accept: Any = (), **options: Any) -> list[float]:
        rates, model = Rates(), bert()
        if driven == "callback":
            one = trainer(folder, Lehr(lehr.Linear(), accept=accept), rates, model=model, learning_rate=lr, **options)
        else:
            optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
            scheduler = lehr.Scheduler(optimizer, lehr.Linear(), lehr.Budget(steps=20), accept=accept)
            one = trainer(folder, rates, model=model, more={"optimizers": (optimizer, scheduler)}, **options)
        one.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8") if folder != tmp_path else None)
        return rates.used

    run(tmp_path, 1e-3, **saves(tmp_path))
    with pytest.raises(ValueError, match=r"base learning rates changed(.|\n)*or to lehr.Scheduler or Lehr"):
        run(tmp_path / "other", 5e-4)
    rates = run(tmp_path / "other", 5e-4, accept="base_lrs")
    assert rates == pytest.approx([5e-4 * (1 - k / 20) for k in range(8, 20)])


def test_tokens_are_those_that_the_trainer_counts(tmp_path: Path) -> None:
    driver, rates = Lehr(lehr.Linear(), "320tok"), Rates()
    trainer(tmp_path, driver, rates, max_steps=100, include_num_input_tokens_seen="all", **saves(tmp_path)).train()
    assert rates.used == pytest.approx([1e-3 * (1 - k / 10) for k in range(10)])  # 4 rows of 8 tokens an update
    resumed = Rates()
    again = trainer(
        tmp_path, Lehr(lehr.Linear(), "320tok"), resumed, max_steps=100, include_num_input_tokens_seen="all"
    )
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    assert resumed.used == rates.used[8:]


def test_training_twice_starts_anew(tmp_path: Path) -> None:
    driver, rates = Lehr(lehr.LearnedSchedule.pretrained()), Rates()
    run = trainer(tmp_path, driver, rates)
    run.train()
    run.train()
    assert driver.scheduler.updates == 20
    assert not run.model._forward_hooks


def test_asking_too_early_says_when() -> None:
    with pytest.raises(RuntimeError, match="after trainer.train has begun"):
        _ = Lehr(lehr.Linear()).scheduler


# -- a scheduler as it is --------------------------------------------------------------------------------------------


def own(model: Any) -> Any:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return optimizer, lehr.Scheduler(optimizer, lehr.Linear().after_warmup(0.1), lehr.Budget(steps=20))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_scheduler_as_it_is(accumulate: int, tmp_path: Path) -> None:
    model, rates = bert(), Rates()
    pair = own(model)
    trainer(tmp_path, rates, model=model, gradient_accumulation_steps=accumulate, more={"optimizers": pair}).train()
    curve = lehr.Linear().after_warmup(0.1)
    assert rates.used == pytest.approx([1e-3 * curve(k / 20) for k in range(20)])
    assert rates.logged == pytest.approx(rates.used)


def test_a_scheduler_as_it_is_resumes_bit_for_bit(tmp_path: Path) -> None:
    one, two, first, second = bert(), bert(), Rates(), Rates()
    trainer(tmp_path, first, model=one, more={"optimizers": own(one)}, **saves(tmp_path)).train()
    part = trainer(tmp_path, second, model=two, more={"optimizers": own(two)}, **saves(tmp_path))
    part.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    assert second.used == first.used[8:]
    assert torch.equal(weights(two), weights(one))


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (lehr.LearnedSchedule.pretrained(), r"with Transformers write .*transformers.Lehr\(policy\)"),
        (lehr.LRTuner(), r"write lehr.fit\(lehr.Training"),
    ],
    ids=["loss", "look"],
)
def test_a_scheduler_as_it_is_says_that_a_policy_sees_nothing(policy: Any, said: str, tmp_path: Path) -> None:
    model = bert()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = lehr.Scheduler(optimizer, policy, lehr.Budget(steps=20))
    with pytest.raises(RuntimeError, match=said):
        trainer(tmp_path, model=model, more={"optimizers": (optimizer, scheduler)}).train()
