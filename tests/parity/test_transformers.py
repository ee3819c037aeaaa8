"""The curves of transformers' get_scheduler, step by step."""

import pytest
import torch
from transformers import get_scheduler

import lehr
from lehr import Schedule

TOTAL, WARMUP = 200, 30
WARM = WARMUP / TOTAL


@pytest.mark.parametrize(
    ("name", "arguments", "ours"),
    [
        ("constant", {}, lehr.Constant()),
        ("constant_with_warmup", {}, lehr.Constant().after_warmup(WARM)),
        ("linear", {}, lehr.Linear().after_warmup(WARM)),
        ("cosine", {}, lehr.Cosine().after_warmup(WARM)),
        ("cosine_with_restarts", {"num_cycles": 3}, lehr.WarmRestarts(cycles=3).after_warmup(WARM)),
        ("polynomial", {"power": 2.0, "lr_end": 0.1}, lehr.Polynomial(power=2.0, end=0.01).after_warmup(WARM)),
        ("inverse_sqrt", {}, lehr.InverseSqrt(WARMUP / (TOTAL - WARMUP)).after_warmup(WARM)),
        (
            "warmup_stable_decay",
            {"num_decay_steps": 40, "decay_type": "1-sqrt"},
            lehr.warmup_stable_decay(warmup=WARM, decay=40 / TOTAL),
        ),
        (
            "warmup_stable_decay",
            {"num_decay_steps": 40, "decay_type": "cosine"},
            lehr.warmup_stable_decay(warmup=WARM, decay=40 / TOTAL, shape=lehr.Cosine()),
        ),
    ],
)
def test_get_scheduler(name: str, arguments: dict[str, object], ours: Schedule) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=10.0)
    scheduler = get_scheduler(
        name, optimizer, num_warmup_steps=WARMUP, num_training_steps=TOTAL, scheduler_specific_kwargs=arguments
    )
    for k in range(TOTAL):
        assert abs(10.0 * ours(k / TOTAL) - optimizer.param_groups[0]["lr"]) < 1e-12 * 10, k
        optimizer.step()
        scheduler.step()
