"""Your own training for `lehr compare --task examples/any_training.py:make_task`: a loader, dropout, two optimizers."""

import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import lehr
from lehr import lab

inputs = torch.randn(1_000, 16, generator=torch.Generator().manual_seed(0))
targets = (inputs[:, 0] * inputs[:, 1] > 0).long()


def make_training(seed: int) -> lehr.Training:
    """A fresh network with its data, from the seed: torch, NumPy and random are seeded before this is called."""
    model = torch.nn.Sequential(
        torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(64, 2)
    )  # fmt: skip
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim != 2]
    optimizers = [torch.optim.Muon(matrices, lr=0.02), torch.optim.AdamW(others, lr=0.003)]
    loader = DataLoader(
        TensorDataset(inputs[:700], targets[:700]), batch_size=20, shuffle=True,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    return lehr.Training(
        model, optimizers, loader, lambda model, batch: cross_entropy(model(batch[0]), batch[1]), clip_norm=1.0
    )


def accuracy(training: lehr.Training, part: slice) -> torch.Tensor:
    """The share of right answers; the lab has put the model into evaluation mode."""
    return (training.modules[0](inputs[part]).argmax(-1) == targets[part]).float().mean()


def make_task() -> lab.TrainingTask:
    return lab.TrainingTask(
        make_training=make_training,
        validate=lambda training: accuracy(training, slice(700, 850)),
        test=lambda training: accuracy(training, slice(850, 1_000)),
        budget="3ep",
    )
