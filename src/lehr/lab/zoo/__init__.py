"""The zoo: small trainings of many kinds, on which rules that promise to need no tuning are developed and judged."""

from lehr.lab.zoo.families import FAMILIES as FAMILIES
from lehr.lab.zoo.families import find_family as find_family
from lehr.lab.zoo.family import Family as Family
from lehr.lab.zoo.family import Member as Member
from lehr.lab.zoo.recipe import Recipe as Recipe
from lehr.lab.zoo.world import MemberWorld as MemberWorld

__all__ = ["FAMILIES", "Family", "Member", "MemberWorld", "Recipe", "find_family"]
