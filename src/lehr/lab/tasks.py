"""The tasks that `lehr compare` knows by name, and those in a user's own file."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Final

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import lehr
from lehr._numbers import shown
from lehr.lab import datasets, models, sentences
from lehr.lab.augmentation import crop_and_flip
from lehr.lab.failures import told
from lehr.lab.image_folder import image_folder
from lehr.lab.loop import Trainable
from lehr.lab.metric import ACCURACY, TOKEN_LOSS, token_loss
from lehr.lab.networks import network
from lehr.lab.placement import AUTO, Placement
from lehr.lab.seeds import seed_everything
from lehr.lab.sources import sources
from lehr.lab.task import Task
from lehr.lab.zoo import find_family


def _sgd(lr: float, weight_decay: float = 5e-4) -> Callable[[nn.Module], torch.optim.Optimizer]:
    return lambda model: torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)


def _adamw(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW that decays matrices only."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.99))


def _digits(data: str | None) -> Task:
    return Task(
        about="scikit-learn's 8x8 digits, a small MLP, SGD with momentum (embedded)",
        model=models.mlp,
        data=datasets.digits,
        loss=cross_entropy,
        optimizer=_sgd(0.1),
        batch_size=32,
        budget="10ep",
    )


def _fashion_mnist(data: str | None) -> Task:
    return Task(
        about="Fashion-MNIST, a small CNN with batch norm, SGD with momentum",
        model=partial(models.small_cnn, channels=1, size=28),
        data=partial(datasets.fashion_mnist, data),
        loss=cross_entropy,
        optimizer=_sgd(0.1),
        batch_size=128,
        budget="2ep",
    )


def _cifar10(
    model: Callable[[], nn.Module], about: str, lr: float, weight_decay: float, batch_size: int
) -> Callable[..., Task]:
    def make(data: str | None) -> Task:
        return Task(
            about=about,
            model=model,
            data=partial(datasets.cifar10, data),
            loss=cross_entropy,
            optimizer=_sgd(lr, weight_decay),
            metric=ACCURACY,
            batch_size=batch_size,
            budget="5ep",
        )

    return make


def _tinyshakespeare(data: str | None) -> Task:
    return Task(
        about="Tiny Shakespeare by character, a small transformer, AdamW",
        model=partial(models.CharTransformer, context=datasets.CONTEXT),
        data=partial(datasets.tinyshakespeare, data),
        loss=token_loss,
        optimizer=_adamw,
        metric=TOKEN_LOSS,
        batch_size=32,
        budget="2ep",
        clip_norm=1.0,
    )


def _cifar100(data: str | None) -> Task:
    return Task(
        about="CIFAR-100, a wide ResNet, with crops and flips",
        model=network("wrn-16-4", 3, 32, 100),
        data=partial(datasets.cifar100, data),
        loss=cross_entropy,
        optimizer=_sgd(0.1),
        batch_size=128,
        budget="60ep",
        augment=crop_and_flip,
    )


def _letter(data: str | None) -> Task:
    return Task(
        about="letters by 16 numbers (KEEL), an MLP: 5,000 updates in seconds",
        model=partial(models.mlp, 16, 128, 26),
        data=partial(datasets.letter, data),
        loss=cross_entropy,
        optimizer=_sgd(0.1),
        batch_size=32,
        budget="10ep",
    )


def _text(path: Path) -> Task:
    return replace(
        _tinyshakespeare(None),
        about=f"the next byte of {path.name}, a small transformer, AdamW",
        model=partial(models.CharTransformer, vocabulary=256, context=BYTES, width=128, depth=4),
        data=partial(datasets.text_file, path, BYTES),
    )


def _tinyshakespeare_long(data: str | None) -> Task:
    return replace(_tinyshakespeare(data), about="the same for 5,000 updates: a task of minutes", budget="5000steps")


TEXTS: Final = (".txt", ".md", ".rst", ".tex", ".html", ".xml", ".jsonl")
"""Endings of files that are a task of their own."""

BYTES: Final = 128
"""Bytes in one example of a text file."""

IMAGES: Final = {"cifar10": (3, 32, 10), "cifar100": (3, 32, 100), "fashion-mnist": (1, 28, 10)}
"""Tasks that train any of `NETWORKS`: channels, pixels a side, and classes."""

TASKS: Final[dict[str, Callable[[str | None], Trainable]]] = {
    "cifar10": _cifar10(
        partial(models.small_cnn, channels=3, size=32), "CIFAR-10, a small CNN with batch norm", 0.1, 5e-4, 128
    ),
    "cifar10-quick": _cifar10(models.caffe_quick, "CIFAR-10, Caffe's quick net (no batch norm)", 0.01, 4e-3, 100),
    "cifar10-resnet": _cifar10(models.small_resnet, "CIFAR-10, an 8-layer ResNet with batch norm", 0.1, 5e-4, 128),
    "cifar100": _cifar100,
    "digits": _digits,
    "fashion-mnist": _fashion_mnist,
    "image-folder": image_folder,
    "letter": _letter,
    "minilm-polarity": sentences.minilm_polarity,
    "tinyshakespeare": _tinyshakespeare,
    "tinyshakespeare-long": _tinyshakespeare_long,
}


def load_task(name: str, data: str | None = None) -> Trainable:
    """The task of that name, or the one that a function in a user's file makes.

    Args:
        name: a name from `TASKS`, also with a network as in `cifar10/resnet18`; a training of the zoo, as `zoo/gru/3`;
            `path/to/file.py:function`; or a text file, whose bytes are then foretold.
        data: the folder to look for data in, if not the usual ones.

    Raises:
        TypeError: if `name` is no text.
        ValueError: if there is no such task, file or function, or it makes neither a `Task` nor a `TrainingTask`.

    >>> from lehr import lab
    >>> lab.load_task("digits").budget
    '10ep'
    """
    if not isinstance(name, str):
        raise TypeError(f"load_task: name must be a text, such as 'digits' or 'mine.py:make_task'; got {shown(name)}")
    if name in TASKS:
        return TASKS[name](data)
    base, _, chosen = name.partition("/")
    if (found := find_family(name)) is not None:
        if data is not None:
            raise ValueError(f"--data is not for {name}: the zoo looks for its data where LEHR_DATA says")
        return found[0].task(found[1])
    if base == "image-folder" and chosen and ":" not in name:
        return image_folder(data, chosen)
    if base in IMAGES and chosen and ":" not in name:
        plain = TASKS[base](data)
        assert isinstance(plain, Task)
        return replace(plain, model=network(chosen, *IMAGES[base]), about=f"{base}, {chosen}")
    if name.endswith(TEXTS):
        if not Path(name).is_file():
            raise ValueError(f"there is no file {name}")
        return _text(Path(name))
    path, _, function = name.rpartition(":")
    if name.endswith(".py"):
        raise ValueError(f"--task {name} names a file; add the function that makes the task, as in {name}:make_task")
    if not path.endswith(".py"):
        raise ValueError(
            f"unknown task {name!r}{_close(name, TASKS)}; known are {', '.join(TASKS)}, zoo/FAMILY/NUMBER, "
            "path/to/file.py:make_task, or a text file"
        )
    return _task_of(name, _function_in(Path(path), function))


def with_network(name: str, chosen: str) -> str:
    """The name of an image task that trains another network.

    Args:
        name: of the task.
        chosen: from `NETWORKS`; empty for the task's own.

    Raises:
        ValueError: if the task trains no network but its own.

    >>> with_network("cifar10", "wrn-16-4")
    'cifar10/wrn-16-4'
    """
    if not chosen:
        return name
    if name not in (*IMAGES, "image-folder"):
        known = ", ".join((*IMAGES, "image-folder"))
        raise ValueError(f"--network is for the tasks {known}; {name} trains a network of its own")
    return f"{name}/{chosen}"


def make_training(
    name: str, seed: int, budget: str, data: str | None = None, placement: Placement = AUTO
) -> tuple[lehr.Training, lehr.Budget]:
    """The training of a task from one seed, and its budget.

    Args:
        name: as in `load_task`; or `path/to/file.py:function` where the function takes the seed and makes a training.
        seed: of initial weights, batch order and all other random numbers.
        budget: as text; empty for the task's own.
        data: the folder to look for data in, if not the usual ones.
        placement: where and how it computes.

    Raises:
        ValueError: if there is no such task, file or function, it makes something else, or has no budget of its own.
    """
    found = load(name, data)
    if not isinstance(found, Trainable):
        if not budget:
            raise ValueError("--budget is missing: say what to spend, such as 10min or 500steps")
        training = trained_from(name, found, seed, placement)
        return training, training.budget(budget)
    workload = found.workload()
    training = workload.loop(seed, workload.placed(placement)).training
    return training, workload.budget_of(budget or workload.budget)


def load(name: str, data: str | None = None) -> Trainable | Callable[[int], object]:
    """The task of that name, or the function that makes a training from a seed, where that is what the name says.

    Args:
        name: as in `load_task`; or `path/to/file.py:function` where the function takes a seed.
        data: the folder to look for data in, if not the usual ones.

    Raises:
        ValueError: if there is no such task, file or function, or it makes something else.
    """
    path, _, function = name.rpartition(":")
    if not path.endswith(".py"):
        return load_task(name, data)
    made = _function_in(Path(path), function)
    return made if signature(made).parameters else _task_of(name, made)


def trained_from(name: str, made: Callable[[int], object], seed: int, placement: Placement = AUTO) -> lehr.Training:
    """The training that a function makes from a seed, with all random numbers seeded before.

    Args:
        name: of the function, for errors.
        made: seed -> training.
        seed: of initial weights, batch order and all other random numbers.
        placement: where it computes.

    Raises:
        ValueError: if the function fails or makes something else, or `placement` says what only the function can.
    """
    path, _, function = name.rpartition(":")
    if placement.accumulate != 1:
        raise ValueError(f"accumulate is for a lab.Task; say lehr.Training(..., accumulate={placement.accumulate})")
    seed_everything(seed)
    training = told(f"{function} of {path}", partial(made, seed))
    if not isinstance(training, lehr.Training):
        raise ValueError(f"{name} returned a {type(training).__name__}; it must return a lehr.Training")
    placement.move(training)
    return training


def code_of(name: str) -> str | None:
    """A hash of the code behind a user's task that has been loaded; None for one of lehr's own."""
    file = file_of(name)
    return sources(file) if file is not None and file.suffix == ".py" else None


def file_of(name: str) -> Path | None:
    """The file in a task's name; None for one of lehr's own.

    >>> str(file_of("mine.py:make_task")), str(file_of("book.txt")), file_of("cifar10/resnet18")
    ('mine.py', 'book.txt', None)
    """
    path = name if name.endswith(TEXTS) else name.rpartition(":")[0]
    return Path(path) if path.endswith((".py", *TEXTS)) else None


def with_file(name: str, file: Path) -> str:
    """The name of the same task with its file elsewhere.

    Args:
        name: of a task in a file.
        file: where that is.

    >>> with_file("mine.py:make_task", Path("yours.py")), with_file("book.txt", Path("books.txt"))
    ('yours.py:make_task', 'books.txt')
    """
    return str(file) if name.endswith(TEXTS) else f"{file}:{name.rpartition(':')[2]}"


def _task_of(name: str, made: Callable[[], object]) -> Trainable:
    path, _, function = name.rpartition(":")
    wrap = f"lehr.lab.TrainingTask(make_training={function}, validate=..., test=...)"
    if any(
        one.default is one.empty and one.kind <= one.POSITIONAL_OR_KEYWORD
        for one in signature(made).parameters.values()
    ):
        raise ValueError(
            f"{name} takes arguments, but a task comes from a function without any; if it makes a lehr.Training from "
            f"a seed, add a function that returns {wrap} and name that"
        )
    task = told(f"{function} of {path}", made)
    if not isinstance(task, Trainable):
        raise ValueError(
            f"{name} returned a {type(task).__name__}; it must return a lehr.lab.Task or a lehr.lab.TrainingTask"
            + (f", such as {wrap}" if isinstance(task, lehr.Training) else "")
        )
    return task


def _function_in(path: Path, function: str) -> Callable[..., object]:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    name = f"lehr_task_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickle look
    folder = str(path.parent.resolve())
    if folder not in sys.path:  # so that the file finds its neighbours, now and later, as when it is run
        sys.path.insert(0, folder)
    told(f"loading {path}", partial(spec.loader.exec_module, module))
    made = getattr(module, function, None)
    if not callable(made):
        raise ValueError(f"{path} has no function {function!r}")
    found: Callable[..., object] = made
    return found


def _close(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
