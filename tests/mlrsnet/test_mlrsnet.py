"""MLR-SNet: the published cell to the last digit, and files that nobody can abuse."""

from __future__ import annotations

import json
import math
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lehr
from learned.looks import noted
from lehr.mlrsnet.published import NAMES

LOSSES = [2.3, 2.1, 1.7, 1.9, 1.0, 0.4, 0.05, 3.0]
RELEASED = Path(os.environ.get("LEHR_DATA", "/nowhere")) / "mlr-snet"


def published(seed: int = 0) -> dict[str, torch.Tensor]:
    """A state dict as the authors' code writes it, with weights of our own."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "layer1.fc_i2h.0.weight": (25, 1), "layer1.fc_i2h.0.bias": (25,),
        "layer1.fc_i2h.2.weight": (200, 25), "layer1.fc_i2h.2.bias": (200,),
        "layer1.fc_h2h.0.weight": (25, 50), "layer1.fc_h2h.0.bias": (25,),
        "layer1.fc_h2h.2.weight": (200, 25), "layer1.fc_h2h.2.bias": (200,),
        "layer3.weight": (1, 50), "layer3.bias": (1,),
    }  # fmt: skip
    return {name: 0.4 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def by_hand(state: dict[str, torch.Tensor], losses: list[float], cell: str) -> list[float]:
    """The published cells in double precision and plain Python, gate by gate."""
    weights = {name: value.double().tolist() for name, value in state.items()}

    def linear(name: str, x: list[float]) -> list[float]:
        rows = zip(weights[f"{name}.weight"], weights[f"{name}.bias"], strict=True)
        return [sum(w * v for w, v in zip(row, x, strict=True)) + bias for row, bias in rows]

    def two(name: str, x: list[float]) -> list[float]:
        return linear(f"{name}.2", [max(0.0, v) for v in linear(f"{name}.0", x)])

    def sigmoid(x: float) -> float:
        return 1.0 / (1.0 + math.exp(-x))

    h, c, found = [0.0] * 50, [0.0] * 50, []
    for loss in losses:
        x = [a + b for a, b in zip(two("layer1.fc_i2h", [loss]), two("layer1.fc_h2h", h), strict=True)]
        first, second, third, fourth = (x[k : k + 50] for k in (0, 50, 100, 150))
        for j in range(50):
            if cell == "meta-test":
                forget, transform, leave = sigmoid(second[j]), math.tanh(third[j]), sigmoid(fourth[j])
            else:
                forget, transform, leave = sigmoid(second[j] - 1.0), math.tanh(fourth[j]), sigmoid(third[j])
            c[j] = forget * c[j] + sigmoid(first[j]) * transform
            h[j] = leave * math.tanh(c[j])
        found.append(sigmoid(linear("layer3", h)[0]))
    return found


@pytest.mark.parametrize("cell", ["meta-test", "meta-train"])
def test_the_cells_are_the_published_ones(cell: Any, tmp_path: Path) -> None:
    torch.save(published(), tmp_path / "theirs.pth")
    ours = lehr.MLRSNet.from_published(tmp_path / "theirs.pth", cell=cell).rates(LOSSES)
    assert ours.tolist() == pytest.approx(by_hand(published(), LOSSES, cell), abs=1e-6)


def test_the_cells_differ(tmp_path: Path) -> None:
    torch.save(published(), tmp_path / "theirs.pth")
    one, two = (
        lehr.MLRSNet.from_published(tmp_path / "theirs.pth", cell=cell).rates(LOSSES)
        for cell in ("meta-test", "meta-train")
    )
    assert (one - two).abs().max() > 1e-3


@pytest.mark.skipif(not RELEASED.is_dir(), reason="LEHR_DATA has no mlr-snet")
@pytest.mark.parametrize(
    ("name", "loss", "first", "last"),
    [("mlr_snet_1", 2.3, 0.728, 0.729), ("mlr_snet_100", 0.5, 0.547, 0.036), ("mlr_snet_200", 0.1, 0.595, 0.018)],
)
def test_released_weights_decay_as_they_should(name: str, loss: float, first: float, last: float) -> None:
    path = RELEASED / f"{name}.pth"
    rates = lehr.MLRSNet.from_published(path).rates([loss] * 200)
    assert (rates[0].item(), rates[-1].item()) == pytest.approx((first, last), abs=6e-4)
    state = torch.load(path, map_location="cpu", weights_only=True)
    assert rates[:8].tolist() == pytest.approx(by_hand(state, [loss] * 8, "meta-test"), abs=1e-6)


def test_a_cell_that_is_not_known_is_asked_for(tmp_path: Path) -> None:
    torch.save(published(), tmp_path / "theirs.pth")
    with pytest.raises(ValueError, match="pass cell='meta-train'"):
        lehr.MLRSNet.from_published(tmp_path / "theirs.pth")


@pytest.mark.parametrize(
    ("classes", "loss", "gamma"),
    [
        (10, math.log(10), 0.669), (10, 1.0, 0.324), (10, 0.5, 0.160), (10, 0.2, 0.044), (10, 0.1, 0.001),
        (10, 0.05, 0.022), (100, math.log(100), 1.040), (100, 1.0, 0.364), (1000, math.log(1000), 1.033),
    ],
)  # fmt: skip
def test_gamma_is_the_published_one_with_a_floor(classes: int, loss: float, gamma: float) -> None:
    assert lehr.mlrsnet.PublishedGamma(classes)(loss) == pytest.approx(gamma, abs=6e-4)


@given(st.integers(2, 10**6), st.floats(1e-9, 1e3))
def test_gamma_never_vanishes(classes: int, loss: float) -> None:
    assert lehr.mlrsnet.PublishedGamma(classes)(loss) >= 1e-3


def test_stages_change_networks_and_keep_the_state() -> None:
    torch.manual_seed(0)
    networks = [lehr.mlrsnet.MLRSNetwork(hidden=8) for _ in range(3)]
    told: list[float] = []

    def gamma(loss: float) -> float:
        told.append(loss)
        return 2.0

    policy = lehr.MLRSNet(*networks, gamma=gamma)
    state = networks[0].start()
    for k in range(9):
        share, state = networks[k // 3](torch.tensor(1.0 + k), state)
        assert policy.factors(lehr.Moment(k / 9, loss=1.0 + k)) == pytest.approx(2.0 * share.item(), rel=1e-6)
        assert policy.factors(lehr.Moment(k / 9)) == policy.factors(lehr.Moment((k + 1) / 9))
    assert told == pytest.approx([1.0, 2.0, 3.5])  # the first loss, then means of those before


def test_nothing_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device would be waited for where Python asks a tensor for its number."""
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.1))
    scheduler = lehr.Scheduler(optimizer, lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork()), lehr.Budget(steps=10))
    asked: list[str] = []
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        losses.append(loss.detach().clone())
        with noted(monkeypatch, asked):
            scheduler.observe(loss=loss.detach())
        optimizer.step()
        with noted(monkeypatch, asked):
            scheduler.step()
    assert asked == []
    policy: Any = scheduler.policy
    rates = policy.rates(torch.stack(losses)).tolist()
    history = [factors[0] for _, _, factors in scheduler.history]
    assert history[:10] == pytest.approx(rates)
    assert scheduler.get_last_lr() == pytest.approx([0.1 * rates[-1]])


def test_gamma_can_be_the_authors_own_to_the_last_digit() -> None:
    """Their transfer: the whole set's mean loss where a third of the epochs begins, and num_epoch // 3 for that."""
    torch.manual_seed(0)
    networks = [lehr.mlrsnet.MLRSNetwork(hidden=8) for _ in range(3)]
    epochs, updates, classes = 200, 2, 10
    at = [0.0]  # the epoch, as the training set's loss would know it

    def whole_set() -> float:
        asked.append(at[0])
        return 2.0 - at[0] / epochs

    def formula(loss: float) -> float:
        return abs(math.sqrt(loss) * math.log(loss * classes)) / classes**0.25 / 4.0

    asked: list[float] = []
    changes = (epochs // 3 / epochs, 2 * (epochs // 3) / epochs)
    policy = lehr.MLRSNet(
        *networks, gamma=lehr.mlrsnet.PublishedGamma(classes), stage_loss=whole_set, changes_at=changes
    )
    state, gamma = networks[0].start(), 0.0
    for epoch in range(epochs):
        at[0] = float(epoch)
        stage = min(epoch // (epochs // 3), 2)  # as their loop counts
        if epoch in (0, 66, 132):
            gamma = formula(2.0 - epoch / epochs)
        for update in range(updates):
            loss = 1.0 + 0.1 * update
            share, state = networks[stage](torch.tensor(loss), state)
            progress = (epoch * updates + update) / (epochs * updates)
            assert policy.factors(lehr.Moment(progress, loss=loss)) == pytest.approx(gamma * share.item(), rel=1e-6)
    assert asked == [0.0, 66.0, 132.0]


def test_a_number_for_gamma_takes_no_loss_of_the_whole_set() -> None:
    policy = lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(4), gamma=0.5, stage_loss=lambda: 1 / 0)
    assert policy.factors(lehr.Moment(0.0, loss=1.0)) < 0.5
    policy = lehr.MLRSNet(
        lehr.mlrsnet.MLRSNetwork(4), gamma=lehr.mlrsnet.PublishedGamma(3), stage_loss=lambda: math.nan
    )
    with pytest.raises(ValueError, match="stage_loss must give a finite loss; it gave nan"):
        policy.factors(lehr.Moment(0.0, loss=1.0))


def test_other_stages_are_another_schedule() -> None:
    torch.manual_seed(0)
    networks = [lehr.mlrsnet.MLRSNetwork(4) for _ in range(2)]
    texts = [
        repr(lehr.MLRSNet(*networks, **more))  # type: ignore[arg-type]
        for more in ({}, {"changes_at": [0.3]}, {"changes_at": [0.4]}, {"stage_loss": _fixed_network})
    ]
    assert len(set(texts)) == 4


@pytest.mark.parametrize("losses", [[], [2.0, 1.0, 3.0], [torch.tensor(2.0), torch.tensor(0.5)]])
@pytest.mark.parametrize("gamma", [0.5, lehr.mlrsnet.PublishedGamma(3)])
def test_a_state_that_is_loaded_is_the_state_that_was_saved(losses: list[Any], gamma: Any) -> None:
    used, fresh = (lehr.MLRSNet(_fixed_network(), gamma=gamma) for _ in range(2))
    for k, loss in enumerate(losses):
        used.factors(lehr.Moment(k / 10, loss=loss))
    fresh.load_state_dict(used.state_dict())
    for moment in (lehr.Moment(0.5), lehr.Moment(0.5, loss=1.0)):
        assert float(fresh.factors(moment)) == float(used.factors(moment))


@pytest.mark.parametrize(
    "change",
    [
        {"stage": 1}, {"stage": -1}, {"stage": 0.0}, {"stage": None}, {"seen": -1}, {"seen": 10**400}, {"seen": "3"},
        {"scale": -0.5}, {"scale": math.nan}, {"scale": 0.25}, {"scale": None}, {"share": -5}, {"share": 1.5},
        {"share": torch.tensor(math.nan)}, {"share": torch.zeros(3)}, {"mean": math.inf}, {"mean": "low"},
        {"h": torch.zeros(1, 5)}, {"h": torch.full((1, 4), 2.0)}, {"c": torch.full((1, 4), math.nan)},
        {"c": torch.zeros(1).expand(10**9, 4)}, {"c": [0.0] * 4}, {"h": torch.zeros(1, 4, dtype=torch.int64)},
        {"c": torch.zeros(1, 4).to_sparse()}, {"h": torch.zeros(1, 4, device="meta")},
    ],
)  # fmt: skip
def test_a_state_of_no_run_is_refused_and_nothing_changes(change: dict[str, Any]) -> None:
    policy = lehr.MLRSNet(_fixed_network(), gamma=0.5)
    policy.factors(lehr.Moment(0.0, loss=1.0))
    state = policy.state_dict()
    with pytest.raises(ValueError, match=f"the state of MLRSNet: {next(iter(change))} must"):
        policy.load_state_dict({**state, **change})
    assert repr(policy.state_dict()) == repr(state)
    for name in state:
        with pytest.raises(ValueError, match=f"has no {name}"):
            policy.load_state_dict({key: value for key, value in state.items() if key != name})


@pytest.mark.parametrize("tensor", [False, True])
def test_a_loss_that_is_no_number_is_passed_over(tensor: bool) -> None:
    torch.manual_seed(0)
    network = lehr.mlrsnet.MLRSNetwork(8)

    def rates(losses: list[float]) -> list[float]:
        policy = lehr.MLRSNet(network)
        given = [torch.tensor(loss) if tensor else loss for loss in losses]
        return [float(policy.factors(lehr.Moment(0.0, loss=loss))) for loss in given]

    sound = rates([1.0, 2.0, 3.0])
    assert rates([1.0, math.inf, math.nan, 2.0, 3.0]) == [sound[0], sound[0], sound[0], *sound[1:]]


def test_a_second_run_starts_afresh() -> None:
    policy = lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(8), gamma=lehr.mlrsnet.PublishedGamma(2))
    firsts = []
    for _ in range(2):
        scheduler = lehr.Scheduler(torch.optim.SGD([torch.zeros(1)], lr=1.0), policy, lehr.Budget(steps=5))
        scheduler.observe(loss=1.3)
        firsts.append(scheduler.get_last_lr())
        scheduler.observe(loss=0.3)
    assert firsts[0] == firsts[1]


def test_a_function_for_gamma_does_not_stand_in_the_way_of_resuming() -> None:
    texts = {repr(lehr.MLRSNet(_fixed_network(), gamma=lambda loss: 0.1 * loss)) for _ in range(2)}
    assert len(texts) == 1


def _fixed_network() -> lehr.mlrsnet.MLRSNetwork:
    torch.manual_seed(0)
    return lehr.mlrsnet.MLRSNetwork(4)


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    torch.manual_seed(0)
    kept = lehr.MLRSNet(
        lehr.mlrsnet.MLRSNetwork(7, "meta-train"),
        lehr.mlrsnet.MLRSNetwork(7, "meta-train"),
        loss_scale=3.0,
        header={"on": "digits"},
    )
    kept.save(tmp_path / "new" / "learned.safetensors")
    loaded = lehr.MLRSNet.load(tmp_path / "new" / "learned.safetensors", gamma=0.5)
    assert torch.equal(loaded.rates(LOSSES), kept.rates(LOSSES))
    assert (loaded.loss_scale, loaded.header, loaded.networks[1].cell) == (3.0, {"on": "digits"}, "meta-train")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["learned.safetensors"]


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/lehr-was-here",)


def _hostile(tmp_path: Path) -> dict[str, Path]:
    torch.manual_seed(0)
    good = tmp_path / "good.safetensors"
    lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(4)).save(good)
    content = good.read_bytes()
    from safetensors.torch import save_file

    from lehr.state.weight_files import write_weights

    files = {
        name: tmp_path / name for name in ("truncated", "empty", "pickle", "foreign", "deep", "unsealed", "flipped")
    }
    files["truncated"].write_bytes(content[: len(content) // 2])
    files["empty"].write_bytes(b"")
    files["pickle"].write_bytes(pickle.dumps(Evil(), protocol=2))
    save_file({"w": torch.ones(2)}, files["foreign"])
    save_file({"w": torch.ones(2)}, files["deep"], {"lehr": "[" * 100_000})
    flipped = bytearray(content)
    flipped[-10] ^= 1
    files["flipped"].write_bytes(flipped)
    header = {
        "kind": "mlr-snet", "hidden": 4, "cell": "meta-test", "networks": 1, "loss_scale": 1.0, "about": {},
    }  # fmt: skip
    weights = {f"0.{name}": value for name, value in lehr.mlrsnet.MLRSNetwork(4).state_dict().items()}
    save_file(weights, files["unsealed"], {"lehr": json.dumps({"format": 2, **header})})
    headers: dict[str, dict[str, Any]] = {
        "other": {"kind": "else"}, "hidden": {"hidden": 40_000}, "wrong hidden": {"hidden": 6},
        "many": {"networks": 10**6},
        "two": {"networks": 2}, "true": {"networks": True}, "none": {"networks": 0}, "cell": {"cell": "ifgo"},
        "scale": {"loss_scale": 10**400}, "negative scale": {"loss_scale": -1.0}, "text": {"loss_scale": "1"},
        "about": {"about": [1]},
    }  # fmt: skip
    for name, change in headers.items():
        files[name] = tmp_path / name
        write_weights(files[name], weights, {**header, **change})
    tensors: dict[str, dict[str, torch.Tensor]] = {
        "shape": {"w": torch.ones(2)}, "nan": {**weights, "0.output.bias": torch.tensor([math.nan])},
        "infinite": {**weights, "0.output.bias": torch.tensor([math.inf])},
        "steep": {**weights, "0.output.bias": torch.tensor([1e30])},
        "wide": {"0.output.weight": torch.ones(1, 3_000)}, "whole": {**weights, "0.output.bias": torch.tensor([1])},
        "more": {**weights, "1.output.bias": torch.ones(1)}, "three": {**weights, "0.output.bias": torch.ones(1, 1, 1)},
    }  # fmt: skip
    for name, held in tensors.items():
        files[name] = tmp_path / name
        write_weights(files[name], held, header)
    return files


def test_a_small_file_cannot_claim_a_large_network(tmp_path: Path) -> None:
    """12 kB whose one tensor says that the state has 3,000 numbers, which would be a gigabyte of weights."""
    from lehr.state.weight_files import write_weights

    resource = pytest.importorskip("resource")
    header = {"kind": "mlr-snet", "hidden": 3_000, "cell": "meta-test", "networks": 1, "loss_scale": 1.0, "about": {}}
    write_weights(tmp_path / "wide", {"0.output.weight": torch.ones(1, 3_000)}, header)
    write_weights(tmp_path / "learned", {"leave.weight": torch.ones(1, 3_000_000)}, {"kind": "learned-schedule"})
    theirs = published()
    theirs["layer3.weight"] = torch.zeros(1, 1).expand(1, 2**24)
    torch.save(theirs, tmp_path / "theirs.pth")
    expanded = {name: torch.zeros(1).expand(2**30) for name in NAMES}
    torch.save(expanded, tmp_path / "expanded.pth")
    torch.save(expanded, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("wide", "learned"):
        with pytest.raises(ValueError, match=name):
            (lehr.MLRSNet if name == "wide" else lehr.LearnedSchedule).load(tmp_path / name)
    for name in ("theirs.pth", "expanded.pth", "old.pth"):
        with pytest.raises(ValueError, match=name):
            lehr.MLRSNet.from_published(tmp_path / name, cell="meta-test")
    # kilobytes: what one file may claim beyond its length, 64 MB, and a copy of that
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18


def test_hostile_and_damaged_files_are_refused(tmp_path: Path) -> None:
    for name, path in _hostile(tmp_path).items():
        with pytest.raises(ValueError, match=str(path)):
            lehr.MLRSNet.load(path)
        with pytest.raises(ValueError, match=str(path)):
            lehr.MLRSNet.from_published(path)
        assert not Path("/tmp/lehr-was-here").exists(), name
    with pytest.raises(FileNotFoundError, match="no file"):
        lehr.MLRSNet.load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layer3.bias"), "it should hold"),
        (lambda state: state.update({"layer3.weight": torch.ones(1, 49)}), "not a published MLR-SNet"),
        (lambda state: state.update({"layer3.bias": "text"}), "should be tensors"),
        (lambda state: state.update({"layer3.bias": torch.tensor([math.nan])}), "not finite"),
        (lambda state: state.update({"layer3.bias": torch.zeros(1).to_sparse()}), "impossible shape"),
        (lambda state: state.update({name: value[:0] for name, value in state.items()}), "not a published|impossible"),
    ],
)
def test_other_state_dicts_are_refused(change: Callable[[Any], Any], message: str, tmp_path: Path) -> None:
    state = published()
    change(state)
    torch.save(state, tmp_path / "theirs.pth")
    with pytest.raises(ValueError, match=message):
        lehr.MLRSNet.from_published(tmp_path / "theirs.pth", cell="meta-test")


def test_every_name_has_a_place() -> None:
    assert set(NAMES) == set(published())
    assert set(NAMES.values()) == set(lehr.mlrsnet.MLRSNetwork().state_dict())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lehr.MLRSNet, "one MLRSNetwork"),
        (lambda: lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(4), lehr.mlrsnet.MLRSNetwork(6)), "same cell and hidden"),
        (lambda: lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(4), gamma=0.0), "gamma"),
        (lambda: lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(4), loss_scale=0.0), "loss_scale"),
        (lambda: lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(4), loss_scale=10**400), "loss_scale"),
        (lambda: lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(4), gamma="large"), "gamma"),
        (lambda: lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(4), stage_loss=2.3), "stage_loss"),
        (lambda: lehr.MLRSNet(lehr.mlrsnet.MLRSNetwork(4), changes_at=[0.5]), "changes_at"),
        (lambda: lehr.MLRSNet(*[lehr.mlrsnet.MLRSNetwork(4)] * 3, changes_at=[0.5, 0.4]), "changes_at"),
        (lambda: lehr.MLRSNet(*[lehr.mlrsnet.MLRSNetwork(4)] * 2, changes_at=[1.0]), "changes_at"),
        (lambda: lehr.MLRSNet(*[lehr.mlrsnet.MLRSNetwork(4)] * 2, changes_at=0.5), "changes_at"),
        (lambda: lehr.MLRSNet(*[lehr.mlrsnet.MLRSNetwork(4)] * 2, changes_at=["x"]), "changes_at"),
        (lambda: lehr.mlrsnet.MLRSNetwork(1), "hidden"),
        (lambda: lehr.mlrsnet.MLRSNetwork(cell="ifgo"), "cell"),  # type: ignore[arg-type]
        (lambda: lehr.mlrsnet.PublishedGamma(1), "classes"),
        (lambda: lehr.mlrsnet.PublishedGamma(10)(-1.0), "loss"),
        (lambda: lehr.mlrsnet.PublishedGamma(10, floor=0.0), "floor"),
    ],
)
def test_bad_arguments_are_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_gamma_waits_for_a_loss_that_is_finite_and_keeps_its_scale_where_the_formula_says_nothing() -> None:
    networks = [lehr.mlrsnet.MLRSNetwork(4) for _ in range(2)]
    policy = lehr.MLRSNet(*networks, gamma=lehr.mlrsnet.PublishedGamma(10))
    late = lehr.MLRSNet(*networks, gamma=lehr.mlrsnet.PublishedGamma(10))
    late.factors(lehr.Moment(0.0, loss=math.nan))
    assert late.factors(lehr.Moment(0.0, loss=2.3)) == policy.factors(lehr.Moment(0.0, loss=2.3))
    scale = policy.state_dict()["scale"]
    policy.factors(lehr.Moment(0.4, loss=-9.0))
    with pytest.warns(UserWarning, match="keeps the scale"):
        policy.factors(lehr.Moment(0.6, loss=1.0))
    assert policy.state_dict()["scale"] == scale
    with pytest.raises(ValueError, match="give gamma a number"):
        lehr.MLRSNet(networks[0], gamma=lehr.mlrsnet.PublishedGamma(10)).factors(lehr.Moment(0.0, loss=-1.0))
    assert lehr.mlrsnet.PublishedGamma(10)(0.0) == 1e-3
