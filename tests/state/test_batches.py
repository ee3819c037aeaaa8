"""Batches come again after a trial."""

import pytest
import torch
from torch.utils.data import DataLoader

import lehr


def loader(**changes: object) -> DataLoader[float]:
    return DataLoader(torch.arange(10.0), batch_size=2, shuffle=True, **changes)  # type: ignore[arg-type]


def test_goes_round_for_ever() -> None:
    batches = lehr.Batches([1, 2, 3])
    assert iter(batches) is batches
    assert [next(batches) for _ in range(7)] == [1, 2, 3, 1, 2, 3, 1]


@pytest.mark.parametrize("own_generator", [True, False])
@pytest.mark.parametrize("drawn", [0, 3])
def test_a_trial_uses_up_nothing(own_generator: bool, drawn: int) -> None:
    def start() -> lehr.Batches[torch.Tensor]:
        torch.manual_seed(5)
        batches = lehr.Batches(loader(generator=torch.Generator().manual_seed(7) if own_generator else None))
        for _ in range(drawn):
            next(batches)
        return batches

    never = start()
    expected = [next(never).tolist() for _ in range(2)]
    batches = start()
    with lehr.untouched(batches):
        with lehr.untouched(batches):  # one inside the other
            tried = [next(batches).tolist() for _ in range(4)]
        assert [next(batches).tolist() for _ in range(2)] == tried[:2]
    assert [next(batches).tolist() for _ in range(2)] == expected == tried[:2]


def test_one_trial_inside_another_in_the_middle_of_an_epoch() -> None:
    batches = lehr.Batches(list(range(10)))
    next(batches)
    with lehr.untouched(batches):
        next(batches)
        with lehr.untouched(batches):
            next(batches), next(batches)
        assert next(batches) == 2
    assert [next(batches) for _ in range(5)] == [1, 2, 3, 4, 5]


def test_loaders_with_a_position_of_their_own_are_not_started_afresh() -> None:
    class Positioned:
        place = 0

        def __iter__(self):
            while True:
                self.place += 1
                yield self.place

    batches = lehr.Batches(Positioned())
    with lehr.untouched(batches):
        next(batches), next(batches)
    assert [next(batches) for _ in range(3)] == [1, 2, 3]


def test_a_generator_is_kept_too_and_ends() -> None:
    batches = lehr.Batches(iter([1, 2, 3]))
    with lehr.untouched(batches):
        assert [next(batches), next(batches)] == [1, 2]
    assert [next(batches), next(batches), next(batches)] == [1, 2, 3]
    with pytest.raises(StopIteration):
        next(batches)


def test_an_empty_loader_is_told() -> None:
    with pytest.raises(ValueError, match="the loader is empty"):
        next(lehr.Batches([]))
