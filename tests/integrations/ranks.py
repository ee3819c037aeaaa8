"""Runs of Accelerate and of Transformers' Trainer in two processes, which `test_ranks.py` starts with torchrun."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import accelerate
import torch
import transformers
from torch import Tensor, nn

import lehr
from lehr.integrations.transformers import Lehr

RATE = 1e-3


class Rates(transformers.TrainerCallback):
    """The rates that updates were made with."""

    def __init__(self) -> None:
        self.used: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        optimizer.optimizer.register_step_post_hook(lambda one, *_: self.used.append(one.param_groups[0]["lr"]))


def ended(scheduler: lehr.Scheduler, rates: list[float], model: nn.Module) -> dict[str, Any]:
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return {"updates": scheduler.updates, "rates": rates, "weights": float(weights.double().sum())}


def prepared(policy: Any, budget: Any, lr: float) -> dict[str, Any]:
    """A run of a training made of what Accelerate has prepared, two batches an update."""
    torch.manual_seed(0)
    accelerator = accelerate.Accelerator(cpu=True)
    net, inputs = nn.Linear(4, 1), torch.randn(256, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    rates: list[float] = []
    optimizer.register_step_post_hook(lambda one, *_: rates.append(one.param_groups[0]["lr"]))
    model, optimizer, loader = accelerator.prepare(
        net, optimizer, torch.utils.data.DataLoader(inputs, batch_size=8, shuffle=True)
    )
    training = lehr.Training(
        model, optimizer, loader, lambda one, x: (one(x) - x.sum(1, keepdim=True)).square().mean(), accumulate=2
    )
    rates.clear()
    scheduler = lehr.Scheduler(training, policy, training.budget(budget))
    for _ in training.run(scheduler):
        pass
    return ended(scheduler, rates, net)


def looped(folder: Path, resume: bool) -> dict[str, Any]:
    """The loop of Accelerate's documentation, with everything prepared, saved after two of four epochs."""
    torch.manual_seed(0)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    net = nn.Linear(4, 1)
    inner = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    loader = torch.utils.data.DataLoader(torch.randn(256, 4), batch_size=8)
    budget = lehr.Budget.over(loader, epochs=4, accumulate=2, ranks=accelerator.num_processes)
    ours = lehr.Scheduler(inner, lehr.LearnedSchedule.pretrained(), budget)
    model, optimizer, loader, scheduler = accelerator.prepare(net, inner, loader, ours)
    rates: list[float] = []
    inner.register_step_post_hook(lambda one, *_: rates.append(one.param_groups[0]["lr"]))
    if resume:
        accelerator.load_state(str(folder))
    for epoch in range(2 if resume else 0, 4):
        for x in loader:
            with accelerator.accumulate(model):
                loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    scheduler.scheduler.observe(loss=loss)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
        if epoch == 1 and not resume:
            accelerator.save_state(str(folder))
    return ended(ours, rates, net) | {"finished": ours.finished}


def frozen(find: bool) -> dict[str, Any]:
    """A run whose first layer freezes half-way, in the wrapper that Accelerate puts around a model."""
    torch.manual_seed(0)
    wrapper = accelerate.DistributedDataParallelKwargs(find_unused_parameters=find)
    accelerator = accelerate.Accelerator(cpu=True, kwargs_handlers=[wrapper])
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    plan = lehr.FreezeOut(lehr.layers_of(net), t0=0.5, how="linear")
    optimizer = torch.optim.SGD(plan.param_groups(lr=0.01))
    rates: list[float] = []
    optimizer.register_step_post_hook(lambda one, *_: rates.append(one.param_groups[0]["lr"]))
    model, optimizer, loader = accelerator.prepare(
        net, optimizer, torch.utils.data.DataLoader(torch.randn(256, 4), batch_size=8)
    )
    training = lehr.Training(model, optimizer, loader, lambda one, x: (one(x) - x.sum(1, keepdim=True)).square().mean())
    scheduler = lehr.Scheduler(training, plan, training.budget("1ep"))
    for _ in training.run(scheduler):
        pass
    return ended(scheduler, rates, net)


def refused(run: Any, *arguments: Any) -> str:
    """What a run says that is refused."""
    try:
        run(*arguments)
    except ValueError as error:
        return str(error)
    return ""


def with_accelerate(folder: Path) -> dict[str, Any]:
    return {
        "freezing": frozen(True),
        "freezing, plain": refused(frozen, False),
        "schedule": prepared(lehr.Linear(), "3ep", 0.01),
        "tuner": prepared(lehr.LRTuner(), "10ep", 1e-6),
        "loop": looped(folder / "state", resume=False),
        "resumed": looped(folder / "state", resume=True),
    }


def bert() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=50, **sizes))


def rows() -> list[dict[str, Tensor]]:
    tokens = torch.randint(0, 50, (64, 8), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": row, "labels": (row[0] % 2).long()} for row in tokens]


def trained(
    folder: Path, model: nn.Module, driver: Lehr, resume: str | None = None, find: bool = False, optimizer: Any = None
) -> dict[str, Any]:
    """A run of Transformers' Trainer: four rows a rank and batch, two batches an update, three epochs."""
    rates = Rates()
    arguments = transformers.TrainingArguments(
        str(folder), num_train_epochs=3, per_device_train_batch_size=4, gradient_accumulation_steps=2,
        learning_rate=RATE, use_cpu=True, report_to="none", disable_tqdm=True, dataloader_pin_memory=False,
        save_strategy="epoch", ddp_find_unused_parameters=find,
    )  # fmt: skip
    transformers.Trainer(
        model, arguments, train_dataset=rows(), callbacks=[driver, rates], optimizers=(optimizer, None)
    ).train(resume_from_checkpoint=resume)
    return ended(driver.scheduler, rates.used, model)


def freezing(folder: Path, find: bool) -> dict[str, Any]:
    model = bert()
    plan = lehr.FreezeOut(lehr.layers_of(model, rows()[0]["input_ids"][None]), t0=0.5, how="linear")
    return trained(folder, model, Lehr(plan), find=find, optimizer=torch.optim.SGD(plan.param_groups(lr=RATE)))


def with_transformers(folder: Path) -> dict[str, Any]:
    schedule, learned = lehr.Linear().after_warmup(0.25), lehr.LearnedSchedule.pretrained
    return {
        "schedule": trained(folder / "schedule", bert(), Lehr(schedule)),
        "epochs": trained(folder / "epochs", bert(), Lehr(schedule, "2ep")),
        "learned": trained(folder / "learned", bert(), Lehr(learned())),
        "resumed": trained(folder / "resumed", bert(), Lehr(learned()), str(folder / "learned" / "checkpoint-8")),
        "freezing": freezing(folder / "freezing", True),
        "freezing, plain": refused(freezing, folder / "refused", False),
    }


if __name__ == "__main__":
    library, folder = sys.argv[1], Path(sys.argv[2])
    made = {"accelerate": with_accelerate, "transformers": with_transformers}[library](folder)
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(made))
