"""Policies, and how they multiply."""

import pytest

from contract.policies import Plateau
from lehr import Constant, Cosine, Linear, Moment, Policy
from lehr.policy import Follow


def factors(policy: Policy, progress: float = 0.5) -> object:
    return policy.factors(Moment(progress))


def test_products_widen_to_the_groups() -> None:
    wide, narrow = Follow(Linear(), Cosine()), Follow(Constant(0.5))
    assert factors(narrow * narrow) == 0.25
    assert factors(wide * narrow) == (0.25, 0.25)
    assert factors(narrow * wide) == (0.25, 0.25)
    assert factors(wide * wide) == (0.25, 0.25)
    assert factors(0.5 * wide * Linear()) == (0.125, 0.125)


def test_products_need_what_their_parts_need_and_remember_both() -> None:
    product = Plateau() * Plateau() * Linear()
    assert product.needs == ("loss", "loss")
    product.factors(Moment(0.0, loss=1.0))
    product.factors(Moment(0.0, loss=2.0))
    other = Plateau() * Plateau() * Linear()
    other.load_state_dict(product.state_dict())
    assert factors(other, 0.0) == factors(product, 0.0) == 0.25
    assert repr(product) == "Plateau() * Plateau() * Follow(Linear())"


def test_schedules_multiply_with_policies_from_either_side() -> None:
    assert factors(Linear() * Plateau()) == factors(Plateau() * Linear()) == 0.5
    assert factors(Linear() * Follow(Linear(), Cosine())) == (0.25, 0.25)


def test_products_of_what_only_follows_still_only_follow() -> None:
    product = Follow(Linear(), Cosine()) * Linear() * 0.5
    assert isinstance(product, Follow)
    assert product.at(0.5) == (0.125, 0.125)


def test_only_schedules_are_followed() -> None:
    with pytest.raises(TypeError, match="Follow takes one schedule, or one for each parameter group"):
        Follow()
    with pytest.raises(TypeError, match="Follow takes"):
        Follow("linear")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="policy must be a schedule"):
        Plateau() * "linear"  # type: ignore[operator]
