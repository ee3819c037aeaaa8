"""Generators of random numbers that somebody keeps: noted and put back, saved and loaded."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Final, final

import torch

from lehr.state.reading import Fields, shown

TWISTER: Final = 624
"""Numbers of a Mersenne twister, up to which it counts."""

PHILOX: Final = 4
"""Numbers that Philox makes at once."""


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
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: if it is anything else; nothing has changed then.
        """
        fields = Fields("the checkpoint's generator", state)
        try_numbers(fields, "numbers", fields.any("numbers"), _fresh(self.generator))
        _set(self.generator, fields.any("numbers"))


def try_numbers(fields: Fields, name: str, numbers: Any, fresh: Any) -> None:
    """Have a new generator try the numbers of another of its kind.

    Args:
        fields: what they are from.
        name: of the field.
        numbers: of a generator of torch, Python or NumPy.
        fresh: the new generator.

    Raises:
        ValueError: if it refuses them.
    """
    try:
        sound = all(_is_sound(fresh, numbers))
        if sound:
            _set(fresh, numbers)
    except Exception:  # every kind of generator has errors of its own
        sound = False
    if not sound:
        raise fields.error(name, f"the numbers of a {type(fresh).__module__}.{type(fresh).__name__}", numbers)


def _is_sound(generator: Any, numbers: Any) -> Iterator[bool]:
    """Whether those numbers are of the type and in the range that Python and NumPy do not look at."""
    if isinstance(generator, random.Random):
        yield isinstance(numbers[0], int)
        yield _finite(numbers[2])
    elif isinstance(numbers, Mapping):
        yield not any(isinstance(value, torch.Tensor) for value in numbers["state"].values())
        yield _is_place(numbers["state"].get("pos", 0), TWISTER)
        yield _is_place(numbers.get("buffer_pos", 0), PHILOX)
        yield _finite(numbers.get("gauss"))
    elif isinstance(numbers, list | tuple):
        yield not isinstance(numbers[1], torch.Tensor)
        yield _is_place(numbers[2], TWISTER)
        yield _finite(numbers[4])


def _is_place(number: Any, last: int) -> bool:
    return isinstance(number, int) and 0 <= number <= last


def _finite(number: Any) -> bool:
    return number is None or math.isfinite(number)


def _fresh(generator: Any) -> Any:
    """A new generator of the same kind."""
    if isinstance(generator, torch.Generator):
        return torch.Generator(generator.device)
    if isinstance(generator, random.Random):
        return random.Random(0)  # noqa: S311 - no secret
    if isinstance(generator, _of_numpy("Generator")):
        return type(generator)(type(generator.bit_generator)(0))
    return type(generator)(type(generator._bit_generator)(0))


def _set(generator: Any, numbers: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(numbers.cpu())
    elif isinstance(generator, random.Random):
        version, values, gauss = _listed(numbers)
        generator.setstate((version, tuple(_listed(values)), gauss))
    elif isinstance(generator, _of_numpy("Generator")):
        generator.bit_generator.state = deepcopy(numbers)
    else:
        generator.set_state(deepcopy(numbers))


def _listed(values: Any) -> Any:
    """The values, if they are a list: others may be without end."""
    if not isinstance(values, list | tuple):
        raise TypeError(shown(values))
    return values


def is_generator(part: Any) -> bool:
    """Whether a thing is a generator of random numbers, of torch, Python or NumPy."""
    return isinstance(part, (torch.Generator, random.Random, *_of_numpy("Generator", "RandomState")))


def _of_numpy(*names: str) -> tuple[Any, ...]:
    """NumPy's classes of these names; none where it is not loaded, and so nothing can be of them."""
    numpy = sys.modules.get("numpy.random")
    return () if numpy is None else tuple(getattr(numpy, name) for name in names)


def keep_generator(generator: Any) -> Callable[[], None]:
    """Note a generator's numbers; what is returned puts them back."""
    numbers = GeneratorState(generator).state_dict()["numbers"]
    return lambda: _set(generator, numbers)


def _without_arrays(state: Any) -> Any:
    """NumPy's state with lists for arrays, which it takes as well."""
    if isinstance(state, dict):
        return {key: _without_arrays(value) for key, value in state.items()}
    return state.tolist() if hasattr(state, "tolist") else state
