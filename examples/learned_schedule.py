"""No learning rate and no schedule to choose: a range test finds the edge, the learned schedule does the rest."""

import torch

import lehr

torch.manual_seed(0)
inputs = torch.randn(8_192, 20)
targets = (inputs @ torch.randn(20, 40)).relu().matmul(torch.randn(40, 5)).argmax(1)  # what another network says
model = torch.nn.Sequential(torch.nn.Linear(20, 128), torch.nn.ReLU(), torch.nn.Linear(128, 5))
optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)  # whatever the rate is
data = torch.utils.data.TensorDataset(inputs[1_024:], targets[1_024:])
loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)


def cross_entropy(model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    x, y = batch
    return torch.nn.functional.cross_entropy(model(x), y)


training = lehr.Training(model, optimizer, loader, cross_entropy)
training.set_peak(lehr.range_test(training, low=1e-5, steps=100).edge())
scheduler = lehr.Scheduler(training, lehr.LearnedSchedule.pretrained(), lehr.Budget(steps=600))
for loss in training.run(scheduler):
    if scheduler.updates % 100 == 0:
        print(f"{scheduler.progress:4.0%}  lr {scheduler.get_last_lr()[0]:.2e}  loss {loss.item():.4f}")

with torch.no_grad():
    right = (model(inputs[:1_024]).argmax(1) == targets[:1_024]).float().mean().item()
print(f"{right:.1%} right on data held out, from a range test whose edge was {training.peak:.2e}")
