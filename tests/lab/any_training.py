"""Trainings as people have them, for comparisons in seconds."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler

import lehr
from lehr import lab


def numbers(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Images(Dataset[tuple[Tensor, int]]):
    """Which half is brighter; each look flips the image or not, and adds noise."""

    def __init__(self, count: int, *, augments: bool) -> None:
        self.images = torch.rand(count, 1, 8, 8, generator=numbers(count))
        self.labels = (self.images[..., :4, :].mean((1, 2, 3)) > self.images[..., 4:, :].mean((1, 2, 3))).long()
        self.augments = augments

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        if self.augments:
            if random.random() < 0.5:
                image = image.flip(-1)
            image = image + 0.01 * torch.randn(image.shape) + 0.01 * float(np.random.randn())
        return image, int(self.labels[index])


def accuracy_on(dataset: Dataset[Any]) -> Any:
    def evaluate(training: lehr.Training) -> dict[str, float]:
        right, loss, count = 0.0, 0.0, 0
        for inputs, targets in DataLoader(dataset, batch_size=50):
            outputs = training.modules[0](inputs)
            right += float((outputs.argmax(-1) == targets).sum())
            loss += float(cross_entropy(outputs, targets, reduction="sum"))
            count += len(targets)
        return {"accuracy": right / count, "loss": loss / count}

    return evaluate


def batch_loss(model: nn.Module, batch: Any) -> Tensor:
    inputs, targets = batch
    return cross_entropy(model(inputs), targets)


def augmented_images(workers: int = 0, accumulate: int = 1, **changes: Any) -> lab.TrainingTask:
    """A convolutional network with batch norm and dropout, on a loader with augmentation."""

    def make_training(seed: int) -> lehr.Training:
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(144, 2)
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        loader = DataLoader(Images(80, augments=True), batch_size=16, shuffle=True, num_workers=workers)
        return lehr.Training(model, optimizer, loader, batch_loss, accumulate=accumulate)

    arguments = {
        "make_training": make_training, "validate": accuracy_on(Images(50, augments=False)),
        "test": accuracy_on(Images(60, augments=False)), "budget": "2ep", "example": torch.zeros(2, 1, 8, 8),
    }  # fmt: skip
    return lab.TrainingTask(**{**arguments, **changes})


def sentences(count: int) -> list[dict[str, Tensor]]:
    ids = torch.randint(2, 40, (count, 12), generator=numbers(count))
    return [{"input_ids": row, "attention_mask": torch.ones_like(row), "labels": (row[0] > 20).long()} for row in ids]


def f1_on(rows: list[dict[str, Tensor]]) -> Any:
    def evaluate(training: lehr.Training) -> dict[str, Tensor]:
        batch = torch.utils.data.default_collate(rows)
        output = training.modules[0](**batch)
        said, true = output.logits.argmax(-1).bool(), batch["labels"].bool()
        both = (said & true).sum()
        return {"F1": 2 * both / (said.sum() + true.sum()).clamp(min=1), "accuracy": (said == true).float().mean(),
                "loss": output.loss}  # fmt: skip

    return evaluate


def bert() -> lab.TrainingTask:
    """A small Hugging Face classifier with dict batches, judged by F1."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16,
    )  # fmt: skip
    config._attn_implementation = "eager"

    def make_training(seed: int) -> lehr.Training:
        model = BertForSequenceClassification(config)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        loader: DataLoader[Any] = DataLoader(sentences(64), batch_size=16, shuffle=True)  # type: ignore[arg-type]
        return lehr.Training(model, optimizer, loader, lambda model, batch: model(**batch).loss, clip_norm=1.0)

    example = {"input_ids": torch.ones(2, 12, dtype=torch.int64)}
    return lab.TrainingTask(
        make_training=make_training, validate=f1_on(sentences(30)), test=f1_on(sentences(40)),
        criterion=lab.Criterion("F1"), budget="6steps", example=example,
    )  # fmt: skip


class Tagger(nn.Module):
    """Whether the first number of a sequence is positive, by an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 8, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        outputs, _ = self.lstm(inputs)
        return self.head(outputs[torch.arange(len(lengths)), lengths - 1])  # type: ignore[no-any-return]


def padded(rows: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    inputs = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return inputs[..., None], lengths, (inputs[:, 0] > 0).long()


def sequences(count: int) -> list[Tensor]:
    generator = numbers(count)
    return [torch.randn(int(torch.randint(3, 9, (), generator=generator)), generator=generator) for _ in range(count)]


def lstm() -> lab.TrainingTask:
    """An LSTM with clipping over sequences of different length, drawn by a sampler with weights."""

    def make_training(seed: int) -> lehr.Training:
        model, rows = Tagger(), sequences(60)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        sampler = WeightedRandomSampler([1.0 + (len(row) > 5) for row in rows], 64, generator=numbers(seed))
        loader: DataLoader[Any] = DataLoader(rows, batch_size=16, sampler=sampler, collate_fn=padded)  # type: ignore[arg-type]

        def loss(model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
            inputs, lengths, labels = batch
            outputs = model(inputs, lengths)
            return cross_entropy(outputs, labels), {"accuracy": (outputs.argmax(-1) == labels).float().mean()}

        return lehr.Training(model, optimizer, loader, loss, clip_norm=0.5)

    def evaluate(training: lehr.Training) -> float:
        inputs, lengths, labels = padded(sequences(40))
        return float((training.modules[0](inputs, lengths).argmax(-1) == labels).float().mean())

    example = padded(sequences(3))[:2]
    return lab.TrainingTask(
        make_training=make_training, validate=evaluate, test=evaluate, budget="3ep", example=example
    )


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """Examples of which nobody knows how many there are."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(40):
            inputs = torch.randn(4)
            yield inputs, (inputs.sum() > 0).long()


def stream() -> lab.TrainingTask:
    """A data set of unknown length."""

    def make_training(seed: int) -> lehr.Training:
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return lehr.Training(model, optimizer, DataLoader(Stream(), batch_size=8), batch_loss)

    return lab.TrainingTask(make_training=make_training, validate=held_out, test=held_out, budget="12steps")


def held_out(training: lehr.Training) -> float:
    inputs = torch.randn(100, 4, generator=numbers(0))
    return float((training.modules[0](inputs).argmax(-1) == (inputs.sum(1) > 0)).float().mean())


def two_optimizers() -> lab.TrainingTask:
    """Muon for the matrices, AdamW for the rest, gradients of two batches in an update."""

    def make_training(seed: int) -> lehr.Training:
        model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
        matrices = [one for one in model.parameters() if one.ndim == 2]
        others = [one for one in model.parameters() if one.ndim != 2]
        optimizers = [torch.optim.Muon(matrices, lr=0.02), torch.optim.AdamW(others, lr=0.003)]
        inputs = torch.randn(96, 4, generator=numbers(1))
        pairs = torch.utils.data.TensorDataset(inputs, (inputs.sum(1) > 0).long())
        loader = DataLoader(pairs, batch_size=8, shuffle=True, generator=numbers(seed))
        return lehr.Training(model, optimizers, loader, batch_loss, accumulate=2)

    return lab.TrainingTask(make_training=make_training, validate=held_out, test=held_out, budget="2ep")


def own_loop() -> lab.TrainingTask:
    """A loop of one's own, with a hidden state carried from update to update, named in touches."""

    class Carried:
        def __init__(self) -> None:
            self.hidden: Any = None

        def state_dict(self) -> dict[str, Any]:
            return {"hidden": self.hidden}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.hidden = state["hidden"]

    def make_training(seed: int) -> lehr.Training:
        lstm, head, carried = nn.LSTM(1, 6, batch_first=True), nn.Linear(6, 1), Carried()
        model = nn.ModuleList([lstm, head])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        wave = torch.sin(torch.linspace(0, 60, 400)) + 0.1 * torch.randn(400, generator=numbers(seed))
        pieces = lehr.Batches([piece.reshape(4, 10, 1) for piece in wave.reshape(10, 40)])

        def backward() -> Tensor:
            optimizer.zero_grad()
            piece = next(pieces)
            outputs, hidden = lstm(piece[:, :-1], carried.hidden)
            carried.hidden = tuple(part.detach() for part in hidden)
            loss = (head(outputs) - piece[:, 1:]).square().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            return loss.detach()

        def step() -> Tensor:
            loss = backward()
            optimizer.step()
            return loss

        return lehr.Training.of(step, touches=[model, optimizer, pieces, carried], backward=backward)

    def error(training: lehr.Training) -> Tensor:
        lstm, head = training.modules[0].children()
        wave = torch.sin(torch.linspace(0, 10, 60)).reshape(1, 60, 1)
        result: Tensor = (head(lstm(wave[:, :-1])[0]) - wave[:, 1:]).square().mean()
        return result

    criterion = lab.Criterion("squared error", higher_is_better=False)
    return lab.TrainingTask(
        make_training=make_training, validate=error, test=error, criterion=criterion, budget="20steps"
    )


def endless() -> lab.TrainingTask:
    """Batches from a function that never ends, without a length."""

    def make_training(seed: int) -> lehr.Training:
        model = nn.Linear(4, 2)
        generator = numbers(seed)

        def draw() -> Iterator[tuple[Tensor, Tensor]]:
            for _ in itertools.count():
                inputs = torch.randn(8, 4, generator=generator)
                yield inputs, (inputs.sum(1) > 0).long()

        return lehr.Training(model, torch.optim.SGD(model.parameters(), lr=0.1), draw, batch_loss)

    return lab.TrainingTask(make_training=make_training, validate=held_out, test=held_out, budget="80samples")
