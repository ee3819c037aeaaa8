"""Generators of random numbers that somebody keeps: noted and put back, saved and loaded."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from copy import deepcopy
from typing import Any, final

import torch


@final
class GeneratorState:
    """One generator's numbers, of torch, Python or NumPy, as a state that loads with `weights_only=True`.

    >>> generator = random.Random(0)
    >>> state = GeneratorState(generator).state_dict()
    >>> first = generator.random()
    >>> GeneratorState(generator).load_state_dict(state)
    >>> generator.random() == first
    True
    """

    def __init__(self, generator: Any) -> None:
        self.generator = generator

    def state_dict(self) -> dict[str, Any]:
        """Its numbers."""
        if isinstance(self.generator, torch.Generator):
            return {"numbers": self.generator.get_state()}
        if isinstance(self.generator, random.Random):
            return {"numbers": self.generator.getstate()}
        if isinstance(self.generator, _of_numpy("Generator")):
            return {"numbers": _without_arrays(self.generator.bit_generator.state)}
        return {"numbers": _without_arrays(self.generator.get_state(legacy=False))}

    def load_state_dict(self, state: Any) -> None:
        """Go on from what `state_dict` returned."""
        numbers = state["numbers"]
        if isinstance(self.generator, torch.Generator):
            self.generator.set_state(numbers.cpu())
        elif isinstance(self.generator, random.Random):
            version, values, gauss = numbers
            self.generator.setstate((version, tuple(values), gauss))
        elif isinstance(self.generator, _of_numpy("Generator")):
            self.generator.bit_generator.state = deepcopy(numbers)
        else:
            self.generator.set_state(deepcopy(numbers))


def is_generator(part: Any) -> bool:
    """Whether a thing is a generator of random numbers, of torch, Python or NumPy."""
    return isinstance(part, (torch.Generator, random.Random, *_of_numpy("Generator", "RandomState")))


def _of_numpy(*names: str) -> tuple[Any, ...]:
    """NumPy's classes of these names; none where it is not loaded, and so nothing can be of them."""
    numpy = sys.modules.get("numpy.random")
    return () if numpy is None else tuple(getattr(numpy, name) for name in names)


def keep_generator(generator: Any) -> Callable[[], None]:
    """Note a generator's numbers; what is returned puts them back."""
    state = GeneratorState(generator).state_dict()
    load: Callable[[Any], None] = GeneratorState(generator).load_state_dict
    return lambda: load(state)


def _without_arrays(state: Any) -> Any:
    """NumPy's state with lists for arrays, which it takes as well."""
    if isinstance(state, dict):
        return {key: _without_arrays(value) for key, value in state.items()}
    return state.tolist() if hasattr(state, "tolist") else state
