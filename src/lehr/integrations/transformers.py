"""Transformers: one callback that drives the learning rates of a `Trainer`."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

import lehr
from lehr.integrations._arguments import check_budget, check_countable, check_policy, parsed

STATE: Final = "lehr"
"""Where the trainer's own scheduler keeps our state in a checkpoint."""


class Lehr(TrainerCallback):
    """Drives the learning rates of a Transformers `Trainer` along a schedule or policy, under its budget.

    `learning_rate` of the `TrainingArguments` is the peak. The scheduler that the trainer makes for itself hands its
    calls on, so the rates that the trainer logs are the real ones, and its checkpoints hold all that is needed:
    `train(resume_from_checkpoint=...)` goes on as if training had never been stopped. Policies see the loss that the
    model returns, put together over accumulated batches as the trainer does.

    Args:
        policy: a schedule, a list of schedules (one for each parameter group) or a policy that does not look along the
            step. The trainer makes two groups: parameters with weight decay, and those without.
        budget: what there is to spend, as text such as "30min" or "3ep", or as a `lehr.Budget`; training stops when it
            is spent. If not given it is what `num_train_epochs` or `max_steps` make it. Tokens are counted with
            `include_num_input_tokens_seen` of the `TrainingArguments`.
        accept: how a checkpoint may differ from this run, as in `lehr.Scheduler`: `accept="budget"` trains longer.

    Raises:
        TypeError: if an argument is of the wrong kind.
        ValueError: if the policy looks along the step; when training starts, if the trainer has a schedule of its own.

    >>> import tempfile, transformers
    >>> sizes = dict(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    >>> model = transformers.BertForSequenceClassification(transformers.BertConfig(**sizes))
    >>> data = [{"input_ids": torch.tensor([k, 1, 2]), "labels": torch.tensor(k % 2)} for k in range(16)]
    >>> arguments = TrainingArguments(
    ...     tempfile.mkdtemp(), max_steps=5, use_cpu=True, disable_tqdm=True, report_to="none", save_strategy="no"
    ... )
    >>> driver = Lehr(lehr.Linear().after_warmup(0.2))
    >>> _ = transformers.Trainer(model, arguments, train_dataset=data, callbacks=[driver]).train()  # doctest: +ELLIPSIS
    {'train_runtime': ...}
    >>> driver.scheduler.updates, driver.scheduler.get_last_lr()
    (5, [0.0, 0.0])
    """

    def __init__(
        self,
        policy: lehr.Policy | lehr.Schedule | Sequence[lehr.Schedule],
        budget: str | lehr.Budget | None = None,
        *,
        accept: str | Collection[str] = (),
    ) -> None:
        check_policy(policy)
        check_budget(budget)
        if isinstance(policy, lehr.Policy) and "loss_at" in policy.needs:
            raise ValueError(
                f"Lehr: {policy!r} looks along the step, for which a Trainer gives its callbacks no batches; write "
                "lehr.fit(lehr.Training(model, optimizer, loader, lambda model, batch: model(**batch).loss), budget, "
                "policy) instead"
            )
        self.policy = policy
        self.budget = budget
        self.accept = accept
        self._scheduler: lehr.Scheduler | None = None
        self._loss = _LossOfUpdate()
        self._tokens: float = 0
        self._pause = ExitStack()

    @property
    def scheduler(self) -> lehr.Scheduler:
        """The scheduler of the run, from when training starts.

        Raises:
            RuntimeError: before that.
        """
        if self._scheduler is None:
            raise RuntimeError("Lehr.scheduler is built when training starts; ask for it after trainer.train has begun")
        return self._scheduler

    # -- the trainer's events ---------------------------------------------------------------------------------------

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        given: LRScheduler = more["lr_scheduler"]
        if not _is_default(given, state.max_steps):
            raise ValueError(
                "Lehr: the trainer has a learning-rate schedule of its own, and both would set the rate; leave out "
                "lr_scheduler_type and warmup_steps, and the scheduler in optimizers=(optimizer, None), and write the "
                "curve as Lehr(lehr.Cosine().after_warmup(0.1))"
            )
        budget = self._budget_of(args, state, more["train_dataloader"])
        for group, rate in zip(more["optimizer"].param_groups, given.base_lrs, strict=True):
            group["initial_lr"] = rate  # what a checkpoint has brought is not what this run was asked for
        self._tokens = state.num_input_tokens_seen
        self._scheduler = lehr.Scheduler(more["optimizer"], self.policy, budget, accept=self.accept)
        loaded = vars(given).pop(STATE, None)
        if loaded is not None:
            self._scheduler.load_state_dict(loaded)
        elif state.global_step:
            raise ValueError(
                f"Lehr: the checkpoint after {state.global_step} updates was written without this callback, or with "
                "save_only_model, so where its schedule was is not known; start from its weights with "
                "Model.from_pretrained(checkpoint) instead"
            )
        _hand_on(given, self._scheduler)
        if self._scheduler.wants_loss:
            self._loss.watch(more["model"])

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._pause.close()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        scheduler = self.scheduler
        if scheduler.budget.unit == "tokens" and scheduler.budget.each is None:
            scheduler.observe_amount((state.num_input_tokens_seen - self._tokens) / args.world_size)
            self._tokens = state.num_input_tokens_seen
        if scheduler.wants_loss:
            scheduler.observe(loss=self._loss.take())

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.budget is not None and self.scheduler.finished:
            control.should_training_stop = True
        self._pause_for(control)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._pause_for(control)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self._pause.close()
        self._loss.leave()

    def _pause_for(self, control: TrainerControl) -> None:
        """Until the next update begins, if evaluation or saving comes before it."""
        self._pause.close()
        if self.budget is not None and (control.should_evaluate or control.should_save):
            self._pause.enter_context(self.scheduler.paused())

    def _budget_of(self, args: TrainingArguments, state: TrainerState, loader: Any) -> lehr.Budget:
        if self.budget is None:
            return lehr.Budget(steps=state.max_steps)
        if isinstance(self.budget, str):
            batches = args.gradient_accumulation_steps
            sizes: dict[str, float] = {"samples_per_step": args.train_batch_size * batches * args.world_size}
            with suppress(TypeError):  # a stream
                sizes["steps_per_epoch"] = math.ceil(len(loader) / batches)
            budget = parsed(self.budget, sizes)
        else:
            budget = self.budget
        if budget.unit != "tokens" or args.include_num_input_tokens_seen == "no":
            check_countable(budget)
        if budget.updates is not None and not budget.endless and budget.updates > state.max_steps:
            raise ValueError(
                f"Lehr: the budget of {budget} is {budget.updates:,} updates, but the trainer ends after "
                f"{state.max_steps:,}; give TrainingArguments max_steps={budget.updates:.0f}, or leave the budget out"
            )
        return budget


class _LossOfUpdate:
    """The loss of an update, from what the model returns for each of its batches."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._shares = False
        self._leave: Callable[[], None] | None = None

    def watch(self, model: nn.Module) -> None:
        """Note what the model returns while it trains."""
        self.leave()
        self._parts.clear()
        self._leave = model.register_forward_hook(self._note, with_kwargs=True).remove

    def leave(self) -> None:
        """Watch no more."""
        if self._leave is not None:
            self._leave()
            self._leave = None

    def _note(self, model: nn.Module, inputs: Any, named: Mapping[str, Any], output: Any) -> None:
        if not torch.is_grad_enabled() or not model.training:
            return
        loss = output.get("loss") if isinstance(output, Mapping) else output[0]
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise ValueError(
                "Lehr: the policy needs the loss, but the model returned none, as with label_smoothing_factor or "
                "compute_loss_func; leave these out and have labels in each batch, or use a schedule such as "
                "lehr.Linear()"
            )
        self._parts.append(loss.detach().float().reshape(()))
        self._shares = named.get("num_items_in_batch") is not None  # then each is divided by the items of all batches

    def take(self) -> Tensor:
        """The loss of the batches since the last time."""
        parts = torch.stack(self._parts)
        self._parts.clear()
        return parts.sum() if self._shares else parts.mean()


def _is_default(scheduler: LRScheduler, steps: int) -> bool:
    """Whether it is what a trainer makes if nothing is said: linear to zero, without warm-up."""
    if not isinstance(scheduler, LambdaLR):
        return False
    points = (0, 1, steps // 3, steps // 2, steps)
    return all(
        math.isclose(curve(k), max(0.0, 1.0 - k / max(1, steps)), abs_tol=1e-6)
        for curve in scheduler.lr_lambdas
        for k in points
    )


def _hand_on(given: LRScheduler, scheduler: lehr.Scheduler) -> None:
    """Have the trainer's own scheduler, which cannot be replaced from a callback, hand its calls on to ours."""
    own = {name: value for name, value in given.state_dict().items() if name != "base_lrs"}  # the next run has its own
    vars(given).update(
        step=scheduler.step,
        get_last_lr=scheduler.get_last_lr,
        state_dict=lambda: {**own, STATE: scheduler.state_dict()},
    )
