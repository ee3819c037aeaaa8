"""The rules of the house, held by machine."""

from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[1]


def test_data_flows_one_way() -> None:
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def test_version_and_changelog_agree() -> None:
    import lehr

    assert f"## {lehr.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_nothing_names_a_registry_or_this_machine() -> None:
    for name in ("constraints.txt", "pyproject.toml", "Makefile", "README.md"):
        text = (ROOT / name).read_text()
        assert "://" not in text.replace("https://github.com", "").replace("https://arxiv.org", ""), name
        assert "/work" not in text, name
