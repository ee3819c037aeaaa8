"""A member of the zoo as a world from which schedules learn, its runs made side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

import lehr
from lehr.lab.finding import find_edge
from lehr.lab.zoo.family import Member
from lehr.lab.zoo.stack import Stack


@dataclass(frozen=True)
class MemberWorld:
    """Stacked runs of a member: a `lehr.learned.World`.

    Args:
        name: of the family and the number.
        member: with a single optimizer, SGD or AdamW.
    """

    name: str
    member: Member

    def edge(self, seed: int) -> float:
        """The edge of a range test, as the method `learned` of a comparison finds it."""
        return find_edge(self.member.task("1steps", self.name).workload().loop(seed))

    def judge(self, variants: Sequence[lehr.learned.Variant], updates: int) -> list[float]:
        """The validation error at the end of each run; infinite for one that diverged."""
        stack = Stack(self.member, [variant.seed for variant in variants], updates)
        optimizer = self.member.recipe.make_optimizer(stack.model)
        for variant in variants:
            variant.schedule.bind(optimizer)  # which tells it whether gradients are divided by their size
        for update in range(updates):
            losses = stack.backward().tolist()
            rates = [
                variant.rate * variant.schedule.factors(lehr.Moment(update / updates, loss=loss))
                for variant, loss in zip(variants, losses, strict=True)
            ]
            stack.step(torch.tensor(rates))
        return [stack.error(index) for index in range(len(variants))]
