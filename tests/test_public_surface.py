"""The public surface is one sorted, documented list."""

import inspect
import re
import typing
from pathlib import Path

import pytest

import lehr
from lehr import lab
from lehr.scheduler import History

ROOT = Path(__file__).parents[1]

ROOMS = (
    lehr.autopilot, lehr.budget, lehr.cyclical, lehr.freezing, lehr.learned, lehr.mlrsnet, lehr.policy, lehr.scheduler,
    lehr.schedules, lehr.state, lehr.training, lehr.trials, lehr.tuning,
)  # fmt: skip

INNER = {"as_look", "as_policy", "parts_of"}
"""What rooms hand to each other, and users have no business with."""

PUBLIC = {f"lehr.{name}": getattr(lehr, name) for name in lehr.__all__} | {
    f"{room.__name__}.{name}": thing
    for room in ROOMS
    for name, thing in vars(room).items()
    if name not in (*lehr.__all__, *INNER) and not name.startswith("_") and not inspect.ismodule(thing)
}


@pytest.mark.parametrize("module", [lehr, lab], ids=["lehr", "lehr.lab"])
def test_all_is_sorted_and_complete(module) -> None:
    assert module.__all__ == sorted(module.__all__)
    public = {name for name, value in vars(module).items() if not name.startswith("_") and not inspect.ismodule(value)}
    assert set(module.__all__) == public


def test_the_top_is_short() -> None:
    assert len(lehr.__all__) <= 48


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name: str) -> None:
    thing = PUBLIC[name]
    if typing.get_origin(thing) is typing.Literal:
        return  # a type's name, which has no docstring of its own
    text = inspect.getdoc(thing) or ""
    first = text.split("\n\n")[0]
    assert first.endswith((".", "?")), name
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return
    assert ">>>" in text or name.endswith("Preview"), f"{name} has no example"
    for parameter in _parameters(thing):
        assert re.search(rf"^\s*{parameter}:", text, re.MULTILINE), f"{name} does not document {parameter}"


def _parameters(thing: object) -> list[str]:
    if thing in (lehr.Policy, lehr.Schedule, lehr.learned.World, lehr.policy.Follow, lehr.policy.Look, History):
        return []
    hidden = {"endless", "agree"} if thing is lehr.Budget else set()
    return [name for name in inspect.signature(thing).parameters if name not in hidden]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_in_the_reference(name: str) -> None:
    pages = "\n".join(page.read_text() for page in (ROOT / "docs/reference").glob("*.md"))
    assert re.search(rf"^\.\. auto\w+:: {re.escape(name)}$", pages, re.MULTILINE)


def test_methods_with_arguments_are_documented() -> None:
    for name, thing in PUBLIC.items():
        if not inspect.isclass(thing):
            continue
        for method, value in vars(thing).items():
            if not method.startswith("_") and callable(value) and method not in ("factor_at", "get_lr"):
                assert inspect.getdoc(getattr(thing, method)), f"{name}.{method}"
