"""Figures in a notebook where nobody has made one with pyplot."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lehr._figure import new_figure


def test_a_fresh_notebook_shows_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    formatters = pytest.importorskip("IPython.core.formatters")
    shell = SimpleNamespace(display_formatter=formatters.DisplayFormatter())
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    shown, _ = shell.display_formatter.format(new_figure(2, 1, called="plot"))
    assert shown["image/png"].startswith(b"\x89PNG")


def test_what_the_notebook_has_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = pytest.importorskip("matplotlib.figure")
    formatters = pytest.importorskip("IPython.core.formatters")
    shell = SimpleNamespace(display_formatter=formatters.DisplayFormatter())
    shell.display_formatter.formatters["image/svg+xml"].for_type(figures.Figure, lambda figure: "<svg/>")
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    shown, _ = shell.display_formatter.format(new_figure(2, 1, called="plot"))
    assert "image/png" not in shown
