"""Meta-training: gradients by finite differences, optimizers by torch's, resume bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import lehr
from lehr import lab
from lehr.mlrsnet import InnerAdamW, InnerSGD, MLRSNetwork
from lehr.mlrsnet.courses import Course
from lehr.mlrsnet.inner import Inner
from lehr.mlrsnet.unroll import Order, Student, meta_loss, update

INNERS: dict[str, Inner] = {
    "sgd": InnerSGD(weight_decay=0.01),
    "momentum": InnerSGD(momentum=0.9),
    "adamw": InnerAdamW(weight_decay=0.1),
}
every_inner = pytest.mark.parametrize("inner", INNERS.values(), ids=INNERS.keys())


def task(seed: int = 0, norm: bool = False, **changes: Any) -> Any:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(300, 4, generator=generator)
    data = SimpleNamespace(train=(inputs, (inputs[:, 0] * inputs[:, 1] > 0).long()))
    layers = [nn.Linear(4, 8), *([nn.BatchNorm1d(8)] if norm else []), nn.Tanh(), nn.Linear(8, 2)]

    def model() -> nn.Module:
        made = nn.Sequential(*layers)
        for layer in made:
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        return made

    arguments = {"model": model, "load": lambda: data, "loss": nn.functional.cross_entropy, "batch_size": 16}
    return SimpleNamespace(**{**arguments, **changes})


def double(inner: Inner) -> tuple[MLRSNetwork, Student, list[Any], Any]:
    """A student with a little history, in double precision."""
    torch.manual_seed(0)
    network = MLRSNetwork(6).double()
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    params = {name: value.detach() for name, value in model.named_parameters()}
    batches = [(torch.randn(8, 4).double(), torch.randint(2, (8,))) for _ in range(6)]
    zeros = torch.zeros(1, 6).double()
    student = Student(
        params, {}, {name: value.double() for name, value in inner.start(params).items()}, (zeros, zeros), 0.3, model,
        nn.functional.cross_entropy, inner,
    )  # fmt: skip
    for batch in batches[:2]:
        student = update(student.settled(), network, batch, "first")[0].settled()
    return network, student, batches[2:5], batches[5]


def hypergradient(network: MLRSNetwork, student: Student, batches: list[Any], held: Any, order: Order) -> Any:
    grads = torch.autograd.grad(meta_loss(student, network, batches, held, order), list(network.parameters()))
    return torch.cat([grad.flatten() for grad in grads])


@every_inner
def test_the_exact_hypergradient_agrees_with_finite_differences(inner: Inner) -> None:
    network, student, batches, held = double(inner)
    exact = hypergradient(network, student, batches, held, "second")
    where, h = exact.abs().topk(12).indices, 1e-5
    flat = nn.utils.parameters_to_vector(network.parameters()).detach()
    for index in where:
        losses = []
        for sign in (1.0, -1.0):
            moved = flat.clone()
            moved[index] += sign * h
            nn.utils.vector_to_parameters(moved, network.parameters())
            losses.append(float(meta_loss(student, network, batches, held, "second").detach()))
        nn.utils.vector_to_parameters(flat, network.parameters())
        assert (losses[0] - losses[1]) / (2 * h) == pytest.approx(exact[index].item(), rel=1e-4, abs=1e-10)


@every_inner
def test_first_order_is_exact_for_one_update_and_not_for_more(inner: Inner) -> None:
    network, student, batches, held = double(inner)
    one = [hypergradient(network, student, batches[:1], held, order) for order in ("first", "second")]
    assert torch.allclose(one[0], one[1], rtol=1e-10)
    several = [hypergradient(network, student, batches, held, order) for order in ("first", "second")]
    assert not torch.allclose(several[0], several[1], rtol=1e-3)
    assert torch.nn.functional.cosine_similarity(several[0], several[1], dim=0) > 0.5


def test_first_order_is_the_published_product() -> None:
    """d meta / d share = -gamma <gradient of the meta-loss after the step, direction>."""
    _, student, batches, held = double(INNERS["momentum"])
    share = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    ours = torch.autograd.grad(meta_loss(student, lambda loss, state: (share, state), batches[:1], held), share)[0]  # type: ignore[arg-type]
    ahead = student.apart()
    grads = torch.autograd.grad(ahead.loss_on(batches[0]), list(ahead.params.values()))
    direction, _ = student.inner.direction(ahead.params, dict(zip(ahead.params, grads, strict=True)), student.optimizer)
    moved = {
        name: (value - 0.3 * 0.4 * direction[name]).detach().requires_grad_() for name, value in ahead.params.items()
    }
    after = torch.autograd.grad(replace(ahead, params=moved).loss_on(held), list(moved.values()))
    product = sum((g * direction[name]).sum().item() for g, name in zip(after, moved, strict=True))
    assert ours.item() == pytest.approx(-0.3 * product, rel=1e-10)


@every_inner
def test_the_inner_optimizers_are_torchs(inner: Inner) -> None:
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(3, 2, dtype=torch.float64)), nn.Parameter(torch.randn(2).double())]
    theirs: torch.optim.Optimizer
    if isinstance(inner, InnerAdamW):
        theirs = torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.1)
    else:
        assert isinstance(inner, InnerSGD)
        theirs = torch.optim.SGD(parameters, lr=0.02, momentum=inner.momentum, weight_decay=inner.weight_decay)
    ours = {str(i): parameter.detach().clone() for i, parameter in enumerate(parameters)}
    state = {name: value.double() for name, value in inner.start(ours).items()}
    for _ in range(20):
        grads = {name: torch.randn_like(value) for name, value in ours.items()}
        direction, state = inner.direction(ours, grads, state)
        ours = {name: value - 0.02 * direction[name] for name, value in ours.items()}
        for i, parameter in enumerate(parameters):
            parameter.grad = grads[str(i)]
        theirs.step()
        assert all(torch.allclose(ours[str(i)], p.detach(), rtol=1e-9) for i, p in enumerate(parameters))


def test_meta_data_is_held_out() -> None:
    for share in (0.01, 0.1, 0.5):
        own = Course(task(), InnerSGD(), 0.1, share, seed=3)
        seen = {tuple(row) for row in own.train[0].tolist()}
        judged = {tuple(row) for row in own.meta[0].tolist()}
        assert len(judged) == round(300 * share)
        assert len(seen) + len(judged) == 300
        assert not seen & judged


def test_it_resumes_bit_for_bit(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "updates": 60,
        "every": 3,
        "inner": InnerAdamW(),
        "gamma": 0.05,
        "stages": 2,
    }
    tasks = [task(0, norm=True), task(1)]
    whole = lehr.meta_train(tasks, **arguments)

    class KilledError(Exception):
        pass

    def die(step: lehr.mlrsnet.MetaStep) -> None:
        if step.progress > 0.6:
            raise KilledError

    with pytest.raises(KilledError):
        lehr.meta_train(tasks, **arguments, folder=tmp_path, save_every=7, report=die)
    told: list[float] = []
    again = lehr.meta_train(
        tasks, **arguments, folder=tmp_path, save_every=7, report=lambda step: told.append(step.progress)
    )
    assert told[0] > 0.5
    for one, two in zip(whole.networks, again.networks, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"updates": 20, "folder": tmp_path, "gamma": 0.1}
    lehr.meta_train(task(), **arguments)
    for change in (
        {"seed": 1},
        {"updates": 40},
        {"inner": InnerAdamW()},
        {"order": "second"},
        {"stages": 2},
    ):
        with pytest.raises(ValueError, match=f"another .*{next(iter(change))}.*; choose another folder"):
            lehr.meta_train(task(), **{**arguments, **change})


def test_frozen_parts_stay_as_they_are() -> None:
    made: list[nn.Module] = []

    def model() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 2))
        model[0].requires_grad_(False)
        model[1].eval()
        made.append(model)
        return model

    own = Course(task(model=model), InnerSGD(), 0.5, 0.1, seed=0)
    before = {name: value.clone() for name, value in own.student.skeleton.state_dict().items()}
    student = own.student
    network = MLRSNetwork()
    student = replace(student, lstm=network.start())
    for _ in range(5):
        student = update(student.settled(), network, own.batch(own.train), "first")[0].settled()
    assert "0.weight" not in student.params
    assert torch.equal(own.student.skeleton.state_dict()["0.weight"], before["0.weight"])
    assert student.buffers["1.num_batches_tracked"] == 0


def test_attention_and_tokens_can_be_learned_from() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(7, 8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.output = nn.Linear(8, 7)
            self.output.weight = self.embedding.weight

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            x = self.embedding(tokens)
            q = x.view(len(x), -1, 2, 4).transpose(1, 2)
            x = x + nn.functional.scaled_dot_product_attention(q, q, q).transpose(1, 2).flatten(2)
            return self.output(x)  # type: ignore[no-any-return]

    tokens = torch.randint(7, (200, 6))
    mine = task(
        model=Small, load=lambda: SimpleNamespace(train=(tokens, tokens.roll(1, 1))),
        loss=lambda outputs, targets: nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten()),
    )  # fmt: skip
    assert lehr.meta_train(mine, updates=10, unroll=2, order="second", gamma=0.1)
    assert lehr.meta_train(
        task(
            model=lambda: nn.Linear(4, 2).bfloat16(),
            load=lambda: SimpleNamespace(train=(torch.randn(200, 4).bfloat16(), torch.randint(2, (200,)))),
        ),
        updates=10,
        gamma=0.1,
    )


def test_it_learns_to_lower_a_rate_that_is_too_high() -> None:
    """With a rate that bounces, the meta-gradient points down."""
    steps: list[lehr.mlrsnet.MetaStep] = []
    slow = lehr.meta_train(task(), updates=300, every=2, gamma=20.0, meta_lr=0.02, report=steps.append)
    assert steps[-1].rate < 0.7 * steps[0].rate
    assert slow.rates([0.7])[0] < 0.73
    assert [step.updates for step in steps[:3]] == [2, 4, 6]


def test_random_numbers_of_others_are_left() -> None:
    mine = task()
    before = torch.random.get_rng_state()
    lehr.meta_train(mine, updates=10)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_it_says_how_it_was_trained(tmp_path: Path) -> None:
    lehr.meta_train([task(name="mine")], updates=10, stages=2).save(tmp_path / "x.safetensors")
    loaded = lehr.MLRSNet.load(tmp_path / "x.safetensors")
    assert loaded.header["tasks"] == ["mine"]
    assert loaded.header["inner"] == "InnerSGD(momentum=0.0, weight_decay=0.0005)"
    assert len(loaded.networks) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"updates": 0}, "updates"),
        ({"updates": 3, "every": 5}, "at least every"),
        ({"unroll": 0}, "unroll"),
        ({"order": "third"}, "order"),
        ({"held_out": 1.0}, "held_out"),
        ({"meta_lr": 0.0}, "meta_lr"),
        ({"held_out": 0.99}, "less than a batch"),
        ({"gamma": 0.0}, "gamma"),
        ({"gamma": float("nan")}, "gamma"),
        ({"gamma": "0.1"}, "gamma"),
        ({"gamma": 1e300}, "gamma"),
        ({"stages": 3}, "only 2 meta-updates"),
        ({"meta_lr": "1e-3"}, "meta_lr"),
        ({"meta_lr": 1e300}, "meta_lr"),
        ({"meta_weight_decay": -1.0}, "meta_weight_decay"),
        ({"seed": 2**70}, "seed"),
        ({"seed": "0"}, "seed"),
        ({"hidden": 10**9}, "hidden"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"meta_train: .*{message}"):
        lehr.meta_train(task(), **{"updates": 10, **arguments})


def test_an_optimizer_is_no_rule() -> None:
    with pytest.raises(TypeError, match=r"meta_train: inner must be a rule such as InnerSGD\(momentum=0.9\)"):
        lehr.meta_train(task(), updates=10, inner="sgd")  # type: ignore[arg-type]


def test_a_loss_without_classes_needs_a_gamma() -> None:
    inputs = torch.randn(100, 4)
    mine = task(load=lambda: SimpleNamespace(train=(inputs, inputs[:, :2])), loss=nn.functional.mse_loss)
    with pytest.raises(ValueError, match="gamma must be given"):
        lehr.meta_train(mine, updates=10)
    assert lehr.meta_train(mine, updates=10, gamma=0.1)


def test_training_that_diverges_starts_anew_and_then_gives_up() -> None:
    with pytest.raises(ValueError, match="diverges again and again; lower gamma"):
        lehr.meta_train(task(), updates=2_000, every=1, gamma=1e30)
    with pytest.raises(ValueError, match="momentum"):
        InnerSGD(momentum=1.0)


@pytest.mark.parametrize(
    ("broken", "error", "message"),
    [
        ({"loss": lambda outputs, targets: None}, ValueError, "loss of Task must return a tensor of one number"),
        ({"loss": lambda outputs, targets: outputs.logsumexp(1)}, ValueError, "must return a tensor of one number"),
        ({"loss": lambda outputs, targets: outputs.mean().detach()}, ValueError, "that follows from the weights"),
        ({"model": lambda: None}, TypeError, "model of Task must return a torch.nn.Module; got NoneType"),
        ({"model": nn.Flatten}, ValueError, "model of Task has no weights to train"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_trained_is_refused(broken: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lehr.meta_train(replace(lab.load_task("digits"), **broken), updates=5)
