"""The command line: what it shows, and errors as one sentence with exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lehr import lab
from lehr.__main__ import main

BOMB = "".join(f"- &a{k} [{','.join([f'*a{k - 1}' if k else 'x'] * 9)}]\n" for k in range(9))
"""A list in YAML that is small as it is written and huge once it is."""


def lehr(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["lehr", *arguments])
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as exit_:
        main()
    return int(exit_.value.code or 0)


def test_show_draws_in_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert lehr(monkeypatch, "show", "Linear().after_warmup(0.05) * Triangular(cycles=4)", "--lr", "0.4") == 0
    shown = capsys.readouterr().out
    assert "Linear().after_warmup(0.05) * Triangular(cycles=4)" in shown
    assert any(0x2800 < ord(character) < 0x2900 for character in shown)  # braille dots
    assert "at  50%: 0" in shown


@pytest.mark.parametrize("code", ["Linear() * 1e-320", "Constant(0)", "Constant(1e30)", "Exponential(1e-300)"])
def test_show_draws_extremes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str) -> None:
    assert lehr(monkeypatch, "show", code, "--lr", "1e-30") == 0
    assert lehr(monkeypatch, "show", code, "--lr", "1e30") == 0
    said = capsys.readouterr()
    assert "nan" not in said.out
    assert not said.err


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_show_writes_pictures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str, magic: bytes) -> None:
    path = tmp_path / f"picture.{ending}"
    assert lehr(monkeypatch, "show", "one_cycle", "--out", str(path)) == 0
    assert path.read_bytes().startswith(magic)
    assert path.stat().st_size > 3_000


def test_lists(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert lehr(monkeypatch, "methods") == 0
    assert "Steps()" in capsys.readouterr().out
    assert lehr(monkeypatch, "tasks") == 0
    shown = capsys.readouterr().out
    assert "tinyshakespeare" in shown
    assert "loss per token" in shown
    assert lehr(monkeypatch, "--version") == 0
    assert lehr(monkeypatch, "--help") == 0


def test_compare_end_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("compare", "--methods", "linear,Cosine().after_warmup(0.1)", "--budget", "2ep", "--seeds", "2")
    claim = ("--claim", "linear > Cosine().after_warmup(0.1)")
    assert lehr(monkeypatch, *arguments, "--out", str(out), "--lr-grid", "0.1,0.05", *claim) == 0
    shown = capsys.readouterr().out
    finding = lab.examine(lab.read_results(out), [claim[1]])[0]
    assert finding.sentence(lab.ACCURACY.criterion) in " ".join(shown.split())
    assert "Test accuracy after 2ep" in shown
    assert str(out / "report.html") in shown
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock",
        "claims.json",
        "report.html",
        "results.json",
        "runs",
    ]
    assert "Stated before its runs." in " ".join(shown.split())
    assert "Stated before its runs." in (out / "report.html").read_text()
    assert len(list((out / "runs").iterdir())) == 8
    page = (out / "report.html").read_text()
    (out / "report.html").unlink()
    assert lehr(monkeypatch, "report", str(out)) == 0
    assert len((out / "report.html").read_text()) == pytest.approx(len(page), rel=0.01)
    (out / "report.html").unlink()
    capsys.readouterr()
    assert lehr(monkeypatch, "report", str(out), "--text") == 0
    printed = capsys.readouterr().out
    assert "Test accuracy after 2ep" in printed
    assert printed.strip() in shown
    assert not (out / "report.html").exists()
    (out / "results.json").write_text((out / "results.json").read_text().replace("0.", "1.", 1))
    for options in ((), ("--text",)):
        assert lehr(monkeypatch, "report", str(out), *options) == 2
        said = capsys.readouterr().err
        assert "results.json is damaged" in said
        assert len(said.splitlines()) == 1


def test_a_folder_of_trainings_by_options_from_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    for name, lr in (("slow", 0.001), ("fast", 0.1)):
        Path(f"mine/{name}.py").write_text(
            "from dataclasses import replace\nimport torch\nfrom lehr import lab\n\n"
            f"def make_task():\n    task = lab.load_task('digits')\n"
            f"    return replace(task, optimizer=lambda model: torch.optim.SGD(model.parameters(), lr={lr}))\n"
        )
    Path("mine/helper.py").write_text("raise SystemExit  # it is read, not run\n")
    Path("compare.yaml").write_text(
        "task: mine\nbudget: 10ep\nseeds: 2\nmethods:\n  - linear\n  - Steps(at=(0.5, 0.75))\nprocesses: 1\n"
        "lr-grid: [0.01, 0.02]\nclaim:\n  - linear > Steps(at=(0.5, 0.75))\n"
    )
    assert lehr(monkeypatch, "compare", "--config", "compare.yaml", "--budget", "3steps", "--out", "out") == 0
    shown = capsys.readouterr().out
    assert shown.count("linear > Steps(at=(0.5, 0.75)): ") == 2  # each task has its findings
    assert shown.count("Test accuracy after 3steps") == 2
    assert shown.index("fast") < shown.index("All tasks") < shown.rindex("Steps(at=(0.5, 0.75))")
    assert sorted(path.name for path in Path("out").iterdir()) == ["fast", "slow"]
    assert len(list(Path("out/slow/runs").iterdir())) == 8
    for text, said in (
        ("budgett: 3", "has the option 'budgett'; there are accumulate, address, budget"),
        ("- 3", "must hold options by name"), ("a: [", "is no YAML"), ("budget: {a: 1}", "must say budget as a text"),
        ("budget: " + "[" * 3_000, "is no YAML"), ("budget: " + "9" * 5_000, "is no YAML"),
        ("seeds: yes", "must say seeds"), ("budget: 2020-13-45", "is no YAML"), ("compile: 3", "as true or false"),
        ("lr-grid: 1\nlr_grid: 2", "says an option twice"), ("seeds: 1\nseeds: 2", "says seeds twice"),
        ("#" * 100_001, "too large"),
        ("budget:\n" + BOMB, "must say budget as a text"),
    ):  # fmt: skip
        Path("compare.yaml").write_text(text)
        assert lehr(monkeypatch, "compare", "--config", "compare.yaml") == 2
        assert said in capsys.readouterr().err
    for arguments, said in (
        (("--config", "none.yaml"), "there is no file none.yaml"),
        (("--task", "out"), "no file in out has a function make_task"),
        (("--task", "mine", "--network", "lenet"), "--network is for one image task"),
        (("--device", "cuda:x"), "device must be auto, cpu, or an accelerator"),
        (("--precision", "half"), "precision must be fp32, bf16 or fp16"),
    ):
        assert lehr(monkeypatch, "compare", *arguments) == 2
        assert said in capsys.readouterr().err


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from lab.test_report import named
    from lehr.cli.tables import print_results

    print_results(Console(width=200), named("[red]x[/red] \x1b[2J"))
    shown = capsys.readouterr().out
    assert "[red]x[/red]" in shown
    assert "\x1b" not in shown
    assert "\\x1b[2J" in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("compare", "--task", "diggits"), "unknown task 'diggits' (did you mean digits?)"),
        (("compare", "--methods", "liner"), "unknown method 'liner' (did you mean linear?)"),
        (("compare", "--methods", "Linear(nonsense=3)"), "unexpected keyword argument 'nonsense'"),
        (("compare", "--budget", "10"), "the budget '10' has no unit"),
        (("compare", "--budget", "-3ep"), "epochs must be above 0"),
        (("compare", "--lr-grid", "0.1,big"), "--lr-grid: 'big' is not a learning rate"),
        (("compare", "--lr", "-1"), "--lr: a learning rate must be above 0"),
        (("compare", "--lr", "1", "--lr-grid", "1,2"), "--lr and --lr-grid exclude each other"),
        (("compare", "--out", "/dev/null/results"), "/dev/null/results"),
        (("compare", "--data", "/nowhere", "--task", "cifar10"), "--data: there is no folder /nowhere"),
        (("compare", "--claim", "linear"), 'a claim names two methods, as in "knee > linear"'),
        (("compare", "--claim", "knee > linear"), "is about 'knee', which is not among the methods linear,"),
        (("compare", "--on", "dask"), "--on takes processes or ray; got 'dask'"),
        (("compare", "--gpus", "1"), "--address and --gpus are for Ray: give --on ray as well"),
        (
            ("compare", "--on", "ray", "--devices", "cpu:0,cpu:1"),
            "device=cpu:0, cpu:1 is for processes of this machine",
        ),
        (("compare", "--on", "ray", "--processes-per-device", "2"), "on Ray, --gpus 0.5 lets two runs share a GPU"),
        (("compare", "--seeds", "0"), "seeds"),
        (("compare", "--seeds", "100000000"), "a comparison has at most 100,000"),
        (("compare", "--lr-grid", "0.1", "--search-seeds", "100000000"), "a comparison has at most 100,000"),
        (("compare", "--budgets", "1%x100000000"), "a comparison has at most 100,000"),
        (("compare", "--processes", "1000000"), "processes must be a whole number, at least 1 and at most 512"),
        (("report", "/nowhere", "--text"), "there is no file /nowhere/results.json"),
        (("show", "Linear() + 1"), "schedules can only be multiplied"),
        (("show", "Constant(1e999)"), "Constant: value must be a finite number; got inf"),
        (("show", "Constant(1/0)"), "division by zero"),
        (("show", "linear", "--lr", "nan"), "--lr: a learning rate must be above 0"),
        (("show", "linear", "--lr", "inf"), "--lr: a learning rate must be above 0"),
        (("show", "linear", "--lr", "0"), "--lr: a learning rate must be above 0"),
        (("show", "linear", "--out", "picture.gif"), "picture.gif must end in .png, .svg or .pdf"),
        (("report", "/nowhere"), "there is no file /nowhere/results.json"),
        (("shw",), "shw"),
    ],
)
def test_bad_input_gets_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert lehr(monkeypatch, *arguments) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert "Traceback" not in said.err
    assert list(tmp_path.rglob("*.html")) == []


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name == "typer" or name.startswith("lehr.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)
    assert lehr(monkeypatch) == 2
    assert "needs typer; install it with: pip install 'lehr[lab]'" in capsys.readouterr().err


def test_compare_at_shares_of_the_budget(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (
        "--methods",
        "linear,constant",
        "--budget",
        "4ep",
        "--budgets",
        "5%x3,50%",
        "--seeds",
        "2",
        "--processes",
        "1",
    )
    assert lehr(monkeypatch, "compare", *options, "--out", str(tmp_path)) == 0
    shown = capsys.readouterr().out
    assert f"{2 * (3 + 2 + 2)} runs in" in shown
    assert len(list((tmp_path / "runs").iterdir())) == 2 * (3 + 2 + 2)
    assert "How well less of the budget foretells it" in shown
    page = (tmp_path / "report.html").read_text()
    assert "Test accuracy against budget" in page
    assert "What a small budget tells of the full one" in page


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ("10", "'10' is not a share of the budget; write 1%,10%"),
        ("0%", "is not a share"),
        ("120%", "is not a share"),
        ("1.2.3%", "is not a share"),
        ("5%x0", "asks for no seeds"),
        ("5%,5.0%", "names 5.0% twice"),
        ("100%x4", "given by --seeds"),
    ],
)
def test_bad_shares_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], budgets: str, message: str
) -> None:
    assert lehr(monkeypatch, "compare", "--budgets", budgets) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("ending", "magic"), [("png", b"\x89PNG"), ("json", b'{"rates"')])
def test_find_draws_suggests_and_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str, magic: bytes
) -> None:
    out = tmp_path / f"found.{ending}"
    assert lehr(monkeypatch, "find", "--task", "digits", "--steps", "80", "--out", str(out)) == 0
    shown = capsys.readouterr().out
    assert any(0x2800 < ord(character) < 0x2900 for character in shown)
    for word in ("valley", "steepest", "edge", "bounds", "The loss diverged at"):
        assert word in shown
    assert out.read_bytes().startswith(magic)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "x.txt"), "--out: x.txt must end in .png, .svg, .pdf or .json"),
        (("--mode", "log"), "--mode must be exp or linear"),
        (("--low", "0"), "low must be above 0"),
        (("--steps", "1"), "steps must be a whole number, at least 2"),
    ],
)
def test_find_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert lehr(monkeypatch, "find", *options) == 2
    assert message in capsys.readouterr().err


def test_find_says_why_there_is_no_suggestion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lehr(monkeypatch, "find", "--high", "0.1", "--steps", "120") == 0
    assert "No suggestion: the loss still falls at 0.1 and never rises: raise high." in capsys.readouterr().out


def test_freeze_shows_layers_and_savings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "rates.svg"
    assert lehr(monkeypatch, "freeze", "--task", "digits", "--budget", "10ep", "--out", str(path)) == 0
    shown = capsys.readouterr().out
    assert "FreezeOut(<3 layers>, t0=0.8, how='cubic')" in shown
    assert "Predicted to save 24.2% of the time" in shown
    assert "In the time of 10 epochs: 13.1904 epochs." in shown
    assert path.read_bytes().startswith(b"<?xml")


def test_freeze_finds_the_plan_that_saves_so_much(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lehr(monkeypatch, "freeze", "--task", "digits", "--how", "linear", "--save", "20%", "--max-events", "1") == 0
    assert "Predicted to save 20.0% of the time" in capsys.readouterr().out
    assert lehr(monkeypatch, "freeze", "--task", "digits", "--save", "55%") == 0
    assert "which may be too much: see --unscaled" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--save", "most"), "--save: most is no share"),
        (("--save", "99%"), "time must be above 0 and at most"),
        (("--how", "quartic"), "how must be"),
        (("--budget", "10s"), "a budget in seconds is spent in full"),
        (("--out", "picture.txt"), "--out: picture.txt must end in"),
    ],
)
def test_freeze_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert lehr(monkeypatch, "freeze", "--task", "digits", *arguments) == 2
    assert says in capsys.readouterr().err


def test_show_sends_freezeout_to_freeze(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert lehr(monkeypatch, "show", "freezeout") == 2
    assert "lehr freeze draws them" in capsys.readouterr().err


def test_meta_train_writes_weights_that_load(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from lehr import MLRSNet

    path = tmp_path / "learned.safetensors"
    arguments = ("--updates", "40", "--every", "4", "--inner", "momentum", "--gamma", "0.1", "--out", str(path))
    assert lehr(monkeypatch, "meta-train", "--task", "digits", *arguments) == 0
    shown = capsys.readouterr().out
    assert "share of gamma at losses of 2, 1, 0.5, 0.1: 0." in shown
    assert any(0x2800 < ord(character) < 0x2900 for character in shown)
    learned = MLRSNet.load(path)
    assert learned.header["updates"] == 40
    assert learned.header["gamma"] == "0.1"


def test_meta_train_evolves_the_learned_schedule(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from lehr import LearnedSchedule

    path = tmp_path / "learned.safetensors"
    arguments = ("--updates", "8", "--generations", "2", "--pairs", "1", "--first", "pretrained", "--out", str(path))
    assert lehr(monkeypatch, "meta-train", "--policy", "learned", "--task", "digits,zoo/mlp/1", *arguments) == 0
    assert "factor of the edge while the loss stands still" in capsys.readouterr().out
    learned = LearnedSchedule.load(path)
    assert learned.header["tasks"] == ["digits", "zoo/mlp/1"]
    assert learned.header["updates of a run"] == [2, 4, 8]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--policy", "cosine"), "--policy must be mlrsnet or learned"),
        (("--policy", "learned", "--inner", "sgd"), "--inner is for --policy mlrsnet"),
        (("--pairs", "3"), "--pairs is for --policy learned"),
        (("--out", "learned.pt"), "must end in .safetensors"),
        (("--inner", "lion"), "--inner must be one of sgd, momentum, adamw"),
        (("--order", "third"), "--order must be first or second"),
        (("--gamma", "big"), "--gamma must be a number"),
        (("--updates", "2"), "updates must be at least every"),
    ],
)
def test_meta_train_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert lehr(monkeypatch, "meta-train", *arguments) == 2
    assert says in capsys.readouterr().err


OWN = """
import torch
import lehr
from lehr import lab


def make_training(seed):
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    pairs = torch.utils.data.TensorDataset(inputs, (inputs.sum(1) > 0).long())
    loader = torch.utils.data.DataLoader(pairs, batch_size=8, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return lehr.Training(model, optimizer, loader, lambda m, b: torch.nn.functional.cross_entropy(m(b[0]), b[1]))


def evaluate(training):
    inputs = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    right = training.modules[0](inputs).argmax(-1) == (inputs.sum(1) > 0)
    return {"accuracy": right.float().mean()}


def make_task():
    return lab.TrainingTask(
        make_training=make_training, validate=evaluate, test=evaluate, budget="2ep", example=torch.zeros(2, 4)
    )


def broken():
    return lab.TrainingTask(make_training=lambda seed: 1 / 0, validate=evaluate, test=evaluate)


def unseen():
    def wrapped(seed):
        training = make_training(seed)
        model = Wrapped(training.modules[0])
        return lehr.Training(model, training.optimizers[0], training.batches, lambda m, b: m(b[0]).square().mean())
    return lab.TrainingTask(make_training=wrapped, validate=evaluate, test=evaluate)


class Wrapped(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)
"""


def test_a_training_of_ones_own_is_compared_found_and_frozen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    task, out = f"{tmp_path / 'mine.py'}:make_task", str(tmp_path / "out")
    arguments = ("--task", task, "--methods", "linear,freezeout", "--seeds", "2", "--lr-grid", "0.1,0.3", "--out", out)
    assert lehr(monkeypatch, "compare", *arguments, "--processes", "1", "--budgets", "50%") == 0
    assert "Test accuracy after 2ep" in capsys.readouterr().out
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 4 + 4 + 4
    for maker in ("make_task", "make_training"):
        assert lehr(monkeypatch, "find", "--task", task.replace("make_task", maker), "--steps", "40") == 0
        assert "suggestion" in capsys.readouterr().out
    assert lehr(monkeypatch, "freeze", "--task", task, "--budget", "2ep") == 0
    assert "FreezeOut(<2 layers>" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("function", "command", "says"),
    [
        ("broken", "compare", "ZeroDivisionError: division by zero (mine.py, line"),
        ("broken", "find", "ZeroDivisionError: division by zero (mine.py, line"),
        ("broken", "freeze", "ZeroDivisionError: division by zero (mine.py, line"),
        ("make_training", "compare", "add a function that returns lehr.lab.TrainingTask(make_training=make_training, "),
        ("make_training", "find --evaluate-every 5", "needs a validation set"),
        ("make_training", "find --accumulate 2", "Training(..., accumulate=2)"),
        ("unseen", "freeze", "give TrainingTask example=, what the model is called with"),
        ("make_task", "meta-train", "needs a lehr.lab.Task; "),
    ],
)
def test_what_is_wrong_with_a_training_of_ones_own_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, function: str, command: str,
    says: str,
) -> None:  # fmt: skip
    (tmp_path / "mine.py").write_text(OWN)
    options = ("--out", str(tmp_path / "out")) if command == "compare" else ()
    assert lehr(monkeypatch, *command.split(), "--task", f"{tmp_path / 'mine.py'}:{function}", *options) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1
