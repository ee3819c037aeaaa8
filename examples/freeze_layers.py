"""Freeze a network's layers one after the other, with a printed forecast of what that saves."""

import torch
from torch import nn

import lehr

torch.manual_seed(0)
inputs = torch.randint(0, 20, (2_048, 12))
targets = (inputs[:, 0] > inputs[:, -1]).long()


class Classifier(nn.Module):
    """An encoder of any kind: what runs when is found out by running it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 32)
        self.positions = nn.Parameter(torch.zeros(12, 32))
        block = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(block, 4, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        encoded = self.encoder(self.embedding(numbers) + self.positions)
        return self.head(encoded.mean(1))


model = Classifier()
plan = lehr.FreezeOut(lehr.layers_of(model, inputs[:2]), t0=0.8, how="cubic")
optimizer = torch.optim.AdamW(plan.param_groups(lr=1e-3))
print(lehr.freeze_savings(model, inputs[:2], plan))


def cross_entropy(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    numbers, classes = batch
    return torch.nn.functional.cross_entropy(model(numbers), classes)


data = torch.utils.data.TensorDataset(inputs, targets)
training = lehr.Training(
    model, optimizer, torch.utils.data.DataLoader(data, batch_size=64, shuffle=True), cross_entropy
)
scheduler = lehr.Scheduler(training, plan, training.budget("4ep"))
for _ in training.run(scheduler):  # freezes by itself
    if scheduler.updates % 32 == 0:
        with torch.no_grad():
            right = (model(inputs).argmax(1) == targets).float().mean().item()
        print(f"{scheduler.progress:4.0%}  {plan.frozen} of {len(plan.layers)} layers frozen  accuracy {right:.3f}")
