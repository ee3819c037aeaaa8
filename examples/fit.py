"""What the time buys, which rate, and a run that may be killed: `python examples/fit.py 10s FOLDER`."""

import sys
import tempfile
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

import lehr

budget = sys.argv[1] if len(sys.argv) > 1 else "10s"
folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
torch.manual_seed(0)
inputs = torch.randn(4_096, 20)
targets = (inputs @ torch.randn(20, 40)).relu().matmul(torch.randn(40, 5)).argmax(1)  # what another network says
train = DataLoader(TensorDataset(inputs[512:], targets[512:]), batch_size=64, shuffle=True)
model = torch.nn.Sequential(torch.nn.Linear(20, 128), torch.nn.ReLU(), torch.nn.Linear(128, 5))
optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)  # whatever the rate is


def loss(model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, dict]:
    x, y = batch
    outputs = model(x)
    return torch.nn.functional.cross_entropy(outputs, y), {"accuracy": (outputs.argmax(1) == y).float().mean()}


def evaluate() -> dict[str, float]:
    model.eval()
    with torch.no_grad():
        return {"held-out accuracy": (model(inputs[:512]).argmax(1) == targets[:512]).float().mean().item()}


training = lehr.Training(model, optimizer, train, loss)
print(lehr.plan(training, budget))
training.set_peak(lehr.range_test(training, low=1e-4).edge() / 3)
print(f"peak rate {training.peak:.2g}, a third of the edge")
result = lehr.fit(training, budget, lehr.Linear().after_warmup(0.2), evaluate=evaluate, checkpoints=folder)
print(result)
result.plot().savefig(folder / "run.png")
print(f"drawn in {folder / 'run.png'}")
