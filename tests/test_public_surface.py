"""The public surface is one sorted, documented list."""

import inspect
import re
from pathlib import Path

import pytest

import lehr
from lehr import lab

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("module", [lehr, lab], ids=["lehr", "lehr.lab"])
def test_all_is_sorted_and_complete(module) -> None:
    assert module.__all__ == sorted(module.__all__)
    public = {name for name, value in vars(module).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert set(module.__all__) == public


@pytest.mark.parametrize("name", lehr.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    thing = getattr(lehr, name)
    text = inspect.getdoc(thing) or ""
    first = text.split("\n\n")[0]
    assert first.endswith((".", "?")), name
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return
    assert ">>>" in text or name == "Preview", f"{name} has no example"
    for parameter in _parameters(thing):
        assert re.search(rf"^\s*{parameter}:", text, re.MULTILINE), f"{name} does not document {parameter}"


def _parameters(thing: object) -> list[str]:
    if thing in (lehr.Follow, lehr.History, lehr.Policy, lehr.Schedule):
        return []
    hidden = {"endless", "agree"} if thing is lehr.Budget else set()
    return [name for name in inspect.signature(thing).parameters if name not in hidden]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", lehr.__all__)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    assert re.search(
        rf"^(\.\. auto\w+:: lehr\.{name}\b|   {name}\b)", (ROOT / "docs/reference.md").read_text(), re.MULTILINE
    )


def test_methods_with_arguments_are_documented() -> None:
    for name in lehr.__all__:
        thing = getattr(lehr, name)
        if not inspect.isclass(thing):
            continue
        for method, value in vars(thing).items():
            if not method.startswith("_") and callable(value) and method not in ("factor_at", "get_lr"):
                assert inspect.getdoc(getattr(thing, method)), f"{name}.{method}"
