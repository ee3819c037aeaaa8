"""Both sides of each line of docs/coming_from.md, update by update."""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler
from transformers import optimization

import lehr

PAGE = (Path(__file__).parents[2] / "docs/coming_from.md").read_text(encoding="utf-8")
N, W = 100, 20
Curve = Callable[[float], float]
"""Update (or, for fastai, share of the run) -> factor: the formulas of libraries that need more than torch."""


def lines() -> Iterator[tuple[str, str, str]]:
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        library = section.partition("\n")[0]
        for theirs, ours in re.findall(r"^\| (`.+?) \| (`.+?) \|$", section, re.MULTILINE):
            for code in re.findall(r"`([^`]+)`", theirs):
                yield library, code, ours.strip("`")


def fastai_cosine(start: float, end: float) -> Curve:
    return lambda p: start + (1.0 + math.cos(math.pi * (1.0 - p))) * (end - start) / 2.0


def fastai_combined(shares: Sequence[float], curves: Sequence[Curve]) -> Curve:
    return lambda p: curves[0](p / shares[0]) if p < shares[0] else curves[1]((p - shares[0]) / shares[1])


def timm_cosine(optimizer: object, t_initial: int, warmup_t: int = 0, *, warmup_prefix: bool = False) -> Curve:
    assert warmup_prefix == (warmup_t > 0)

    def rate(k: float) -> float:
        return k / warmup_t if k < warmup_t else 0.5 * (1.0 + math.cos(math.pi * (k - warmup_t) / t_initial))

    return rate


def warmed(duration: str, curve: Curve) -> Curve:
    share = float(duration.removesuffix("dur"))
    return lambda k: k / N / share if k / N < share else curve(N * (k / N - share) / (1.0 - share))


FORMULAS: dict[str, dict[str, Any]] = {
    "timm": {
        "CosineLRScheduler": timm_cosine,
        "PolyLRScheduler": lambda optimizer, t_initial, power: lambda k: (1.0 - k / t_initial) ** power,
    },
    "fastai": {
        "SchedLin": lambda start, end: lambda p: start + p * (end - start),
        "SchedCos": fastai_cosine,
        "SchedExp": lambda start, end: lambda p: start * (end / start) ** p,
        "combine_scheds": fastai_combined,
        "combined_cos": lambda share, start, middle, end: fastai_combined(
            [share, 1.0 - share], [fastai_cosine(start, middle), fastai_cosine(middle, end)]
        ),
    },
    "Composer": {
        "LinearScheduler": lambda: lambda k: 1.0 - k / N,
        "CosineAnnealingScheduler": lambda: lambda k: 0.5 * (1.0 + math.cos(math.pi * k / N)),
        "MultiStepScheduler": lambda at: lambda k: 0.1 ** sum(k / N >= float(one.removesuffix("dur")) for one in at),
        "LinearWithWarmupScheduler": lambda duration: warmed(duration, lambda k: 1.0 - k / N),
        "ConstantWithWarmupScheduler": lambda duration: warmed(duration, lambda k: 1.0),
    },
}


def driven(make: Callable[[torch.optim.Optimizer], Any]) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    scheduler = make(optimizer)
    rates = []
    for _ in range(N):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(("library", "theirs", "ours"), list(lines()))
def test_both_sides_are_the_same(library: str, theirs: str, ours: str) -> None:
    names = {"lehr": lehr, "n": N, "w": W, **vars(lr_scheduler), **vars(optimization), **FORMULAS.get(library, {})}
    if library in FORMULAS:
        curve = eval(theirs, {**names, "optimizer": None})
        expected = [0.1 * curve(k / N if library == "fastai" else k) for k in range(N)]
    else:
        expected = driven(lambda optimizer: eval(theirs, {**names, "optimizer": optimizer}))
    if "(optimizer" in ours:
        found = driven(lambda optimizer: eval(ours, {**names, "optimizer": optimizer}))
    else:
        found = [0.1 * eval(ours, names)(k / N) for k in range(N)]
    assert found == pytest.approx(expected, abs=1e-12)


def test_each_library_has_its_lines() -> None:
    assert {library for library, _, _ in lines()} == {"torch", "transformers", "timm", "fastai", "Composer"}
    assert len(list(lines())) >= 27
