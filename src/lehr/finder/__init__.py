"""The finder: which learning rates a model can bear, from one short run over all of them."""

from lehr.finder.found import Found as Found
from lehr.finder.range_test import range_test as range_test
from lehr.finder.suggest import NoSuggestion as NoSuggestion
from lehr.finder.suggest import clr_bounds as clr_bounds
from lehr.finder.suggest import edge_rate as edge_rate
from lehr.finder.suggest import minimum_rate as minimum_rate
from lehr.finder.suggest import slide_rate as slide_rate
from lehr.finder.suggest import steepest_rate as steepest_rate
from lehr.finder.suggest import valley_rate as valley_rate
