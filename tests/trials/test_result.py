"""The result of a range test: as numbers, text, JSON and a picture."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
import torch

import lehr
from trials.test_rules import curve


def found(**changes: object) -> lehr.RangeTestResult:
    return lehr.RangeTestResult(*curve(1), **changes)  # type: ignore[arg-type]


def test_json_round_trip() -> None:
    for one in (found(), found(metrics=[0.5] * 85, evaluations=[(0.1, 0.5)], ending="diverged")):
        assert lehr.RangeTestResult.from_json(one.to_json()) == one
    for text in ("", "{}", "[1]", '{"rates": [1], "evaluations": null, "x": 1}', '{"evaluations": 3}'):
        with pytest.raises(ValueError, match=r"not what RangeTestResult\.to_json writes"):
            lehr.RangeTestResult.from_json(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"rates": [1.0, 0.5]}, {"rates": [0.0, 1.0]}, {"rates": [1.0, None]}, {"rates": ["1", "2"]}, {"rates": "12"},
        {"rates": [1.0]}, {"rates": None}, {"rates": [True, 2.0]}, {"rates": [1.0, 10**400]}, {"losses": [1.0]},
        {"losses": None}, {"losses": [1.0, None]}, {"losses": [None, 1.0]}, {"losses": [[1.0], [2.0]]},
        {"metrics": [1.0]}, {"metrics": ["a", "b"]}, {"metrics": 3}, {"evaluations": [[1.0]]}, {"evaluations": [1.0]},
        {"evaluations": [[-1.0, 2.0]]}, {"evaluations": {"a": 1}}, {"evaluations": [[None, 1.0]]},
        {"evaluations": [[2.0, 1.0], [1.0, 1.0]]}, {"ending": "fast"}, {"ending": None}, {"ending": ["high"]},
        {"higher_is_better": 1}, {"higher_is_better": "yes"}, {"more": 1},
    ],
)  # fmt: skip
def test_damaged_json_is_refused(changes: dict[str, object]) -> None:
    whole = json.loads(lehr.RangeTestResult([1.0, 2.0], [2.0, 1.0]).to_json())
    with pytest.raises(ValueError, match=r"not what RangeTestResult\.to_json writes: .") as error:
        lehr.RangeTestResult.from_json(json.dumps({**whole, **changes}))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250
    for name in whole:
        with pytest.raises(ValueError, match=f"'{name}' is missing"):
            lehr.RangeTestResult.from_json(json.dumps({key: value for key, value in whole.items() if key != name}))


@pytest.mark.parametrize("text", ["NaN", '{"rates": [Infinity]}', "[" * 10**5, "1" * 10**4, "null", None, 3])
def test_what_is_no_json_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not what RangeTestResult\.to_json writes"):
        lehr.RangeTestResult.from_json(text)


def test_numbers_of_any_kind_become_plain() -> None:
    rates, losses = curve(1)
    result = lehr.RangeTestResult(np.array(rates), torch.tensor(losses, dtype=torch.float64))  # type: ignore[arg-type]
    assert result == lehr.RangeTestResult(rates, losses)
    assert lehr.RangeTestResult.from_json(result.to_json()) == result
    with pytest.raises(ValueError, match="RangeTestResult: losses must be finite, but for the last of a test whose"):
        lehr.RangeTestResult(rates, [math.nan, *losses[1:]])


def test_notebooks_draw_the_course() -> None:
    html = found()._repr_html_()
    assert html.count("h0") == 85  # a dot for each loss
    assert "steepest" in html.partition("<figcaption>")[2]
    assert "nan" not in lehr.RangeTestResult(*curve(0), ending="not finite")._repr_html_()
    only = lehr.RangeTestResult([0.1], [math.nan], ending="not finite")
    assert "<svg" not in only._repr_html_()
    assert "1 updates from 0.1" in only._repr_html_()
    assert str(lehr.RangeTestResult([], [])) == "no updates"


def test_rates_that_stay_the_same_suggest_nothing() -> None:
    flat = lehr.RangeTestResult([0.1] * 20, [1.0] * 20)
    assert set(flat.suggestions().values()) == {None}
    with pytest.raises(lehr.NoSuggestion, match="the rate stays the same"):
        flat.bounds()


def test_json_is_strict_and_metrics_may_be_broken() -> None:
    one = found(metrics=[math.inf] + [k / 85 for k in range(84)], ending="not finite")
    one.losses[-1] = math.nan
    again = lehr.RangeTestResult.from_json(one.to_json())
    assert "NaN" not in one.to_json()
    assert math.isnan(again.losses[-1])
    assert again.losses[:-1] == one.losses[:-1]
    assert one.bounds() == again.bounds()


def test_the_picture_shows_losses_and_suggestions() -> None:
    axes = found(metrics=[k / 85 for k in range(85)]).plot()
    labels = axes.get_legend_handles_labels()[1]
    assert [label.split()[0] for label in labels] == ["steepest", "valley", "slide", "minimum", "edge"]
    assert axes.get_xscale() == "log"
    low, high = axes.get_ylim()
    assert low < 0.8 < 2.3 < high < 20  # the blow-up does not press the rest flat
    assert found(evaluations=[(1e-3, 0.1), (1e-2, 0.4)]).plot(axes) is axes
    assert lehr.RangeTestResult([0.1] * 3, [1.0] * 3).plot().get_legend() is None


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        found().plot()


def test_bounds_prefer_evaluations_then_the_metric_then_the_loss() -> None:
    rates, _ = curve(0)
    rising = [min(0.7, 0.1 + 0.012 * max(0, k - 20)) for k in range(100)]
    metric = lehr.RangeTestResult(*curve(0), metrics=rising)
    assert metric.bounds() == lehr.trials.clr_bounds(rates, rising)
    error = lehr.RangeTestResult(*curve(0), metrics=[1.0 - score for score in rising], higher_is_better=False)
    assert error.bounds() == pytest.approx(metric.bounds())
    pairs = list(zip(rates, rising, strict=True))[::2]
    assert lehr.RangeTestResult(*curve(0), metrics=[0.5] * 100, evaluations=pairs).bounds() == lehr.trials.clr_bounds(
        rates[::2], rising[::2]
    )
    low, high = lehr.RangeTestResult(*curve(0)).bounds()
    assert 0 < low < high < lehr.RangeTestResult(*curve(0)).edge()


def test_a_loss_that_is_not_finite_is_left_out() -> None:
    rates, losses = curve(0)
    ended = lehr.RangeTestResult([*rates[:70], rates[70]], [*losses[:70], float("nan")], ending="not finite")
    assert ended.edge() == pytest.approx(rates[69], rel=0.5)
    assert ended.minimum() > 0
    assert "until it was not finite" in str(ended)
