"""The zoo's problems: what is to be learnt, as tensors."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from lehr.lab import datasets, files
from lehr.lab.data import Data, split

HELD_OUT = 2_000
"""Examples that are held out for validation at most, and as many for the test."""

WORDS = 1_000
"""Words that the sentences' numbers tell apart."""

LONGEST = 16
"""Words of a sentence at most."""


@lru_cache(maxsize=8)
def teacher(inputs: int, outputs: int, examples: int, seed: int) -> Data:
    """Normal inputs, and what a random network of two hidden layers makes of them, of mean 0 and deviation 1."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples + 2 * HELD_OUT, inputs, generator=generator)
    y = x
    for width in (64, 64, outputs):
        weights = torch.randn(y.shape[1], width, generator=generator) * (2.0 / y.shape[1]) ** 0.5
        y = y @ weights if width == outputs else torch.relu(y @ weights + 0.5 * torch.randn(width, generator=generator))
    y = (y - y.mean(0)) / y.std(0)
    return split(x, y, validation=HELD_OUT, test=HELD_OUT, seed=seed)


@lru_cache(maxsize=8)
def classes_of_teacher(inputs: int, classes: int, examples: int, seed: int, noise: float = 0.0) -> Data:
    """Normal inputs, and which output of a random network is largest; some training labels are another's.

    Args:
        inputs: numbers of an input.
        classes: at least 2.
        examples: to train on.
        seed: of all of it.
        noise: share of training labels that say a random class.
    """
    drawn = teacher(inputs, classes, examples, seed)
    train, validation, test = ((x, y.argmax(1)) for x, y in (drawn.train, drawn.validation, drawn.test))
    return Data((train[0], with_noise(train[1], classes, noise, seed)), validation, test)


def with_noise(labels: Tensor, classes: int, noise: float, seed: int) -> Tensor:
    """The labels, of which a share says a random class."""
    generator = torch.Generator().manual_seed(seed + 1)
    wrong = torch.rand(len(labels), generator=generator) < noise
    return torch.where(wrong, torch.randint(classes, labels.shape, generator=generator), labels)


@lru_cache(maxsize=4)
def small_images(size: int, classes: tuple[int, ...] = tuple(range(10)), data: str | None = None) -> Data:
    """CIFAR-10 at a lower resolution, of some of its classes."""
    whole = datasets.cifar10(data)
    number = torch.full((10,), -1)
    number[list(classes)] = torch.arange(len(classes))
    parts = []
    for images, labels in (whole.train, whole.validation, whole.test):
        keep = number[labels] >= 0
        parts.append((avg_pool2d(images[keep], 32 // size).contiguous(), number[labels[keep]]))
    return Data(parts[0], *((x[:HELD_OUT], y[:HELD_OUT]) for x, y in parts[1:]))


@lru_cache(maxsize=2)
def characters(length: int, data: str | None = None) -> Data:
    """Tiny Shakespeare in stretches of `length` characters, and the characters after them."""
    whole = datasets.tinyshakespeare(data)
    parts = [tuple(part.reshape(-1, length) for part in pair) for pair in (whole.train, whole.validation, whole.test)]
    return Data(*((x[:HELD_OUT] if i else x, y[:HELD_OUT] if i else y) for i, (x, y) in enumerate(parts)))


@lru_cache(maxsize=1)
def sentences(data: str | None = None) -> Data:
    """Movie-review sentences (Pang and Lee 2005) as numbers of words, and whether they praise."""
    found = files.find(("*polarity*/rt-polarity.neg", "*polarity*/rt-polarity.pos"), data)
    if not found:
        raise ValueError("the data of rt-polarity is not on this machine: name its folder with --data or LEHR_DATA")
    lines = [path.read_text(encoding="latin-1").splitlines() for path in found]
    texts = [re.findall(r"[a-z']+", line.lower()) for part in lines for line in part]
    common = Counter(word for text in texts for word in text).most_common(WORDS - 2)
    number = {word: index + 2 for index, (word, _) in enumerate(common)}
    x = torch.zeros(len(texts), LONGEST, dtype=torch.long)
    for row, text in enumerate(texts):
        codes = [number.get(word, 1) for word in text[:LONGEST]]
        x[row, : len(codes)] = torch.tensor(codes)
    y = torch.cat([torch.full((len(part),), index) for index, part in enumerate(lines)])
    return split(x, y, validation=1_500, test=1_500)


@lru_cache(maxsize=1)
def grey_images(data: str | None = None) -> Data:
    """CIFAR-10 in grey at 8 by 8 pixels from 0 to 1, to be said again."""
    whole = small_images(8, data=data)
    deviation = torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1)
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
    grey = [(images * deviation + mean).mean(1).flatten(1) for images, _ in (whole.train, whole.validation, whole.test)]
    return Data(*((x, x) for x in grey))


def rescale(problem: Data, scale: float) -> Data:
    """The problem with its targets multiplied, so that a squared error is that squared."""
    return Data(*((x, y * scale) for x, y in (problem.train, problem.validation, problem.test)))


def pretrain(model: nn.Module, problem: Data, updates: int = 400) -> dict[str, Tensor]:
    """Weights of the model after some training on the problem, the same for every run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        for update in range(updates):
            rows = torch.randint(len(problem.train[0]), (64,))
            optimizer.param_groups[0]["lr"] = 2e-3 * (1.0 - update / updates)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(problem.train[0][rows]), problem.train[1][rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
