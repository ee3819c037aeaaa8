"""No learning rate and no schedule to choose: a range test finds the edge, the learned schedule does the rest."""

import torch

import lehr

torch.manual_seed(0)
inputs = torch.randn(8_192, 20)
targets = (inputs @ torch.randn(20, 40)).relu().matmul(torch.randn(40, 5)).argmax(1)  # what another network says
model = torch.nn.Sequential(torch.nn.Linear(20, 128), torch.nn.ReLU(), torch.nn.Linear(128, 5))
optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)  # whatever the rate is

data = torch.utils.data.TensorDataset(inputs[1_024:], targets[1_024:])
batches = lehr.Batches(torch.utils.data.DataLoader(data, batch_size=64, shuffle=True))


def backward() -> torch.Tensor:
    x, y = next(batches)
    loss = torch.nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    return loss.detach()


def train_step() -> torch.Tensor:
    loss = backward()
    optimizer.step()
    return loss


edge = lehr.range_test(train_step, optimizer, restore=[model, batches], low=1e-5, steps=100).edge()
for group in optimizer.param_groups:
    group["lr"] = edge
scheduler = lehr.Scheduler(optimizer, lehr.LearnedSchedule.pretrained(), lehr.Budget(steps=600))
while not scheduler.finished:
    scheduler.observe(loss=backward())
    optimizer.step()
    scheduler.step()
    if scheduler.last_epoch % 100 == 0:
        print(f"{scheduler.progress:4.0%}  lr {scheduler.get_last_lr()[0]:.2e}")

with torch.no_grad():
    right = (model(inputs[:1_024]).argmax(1) == targets[:1_024]).float().mean().item()
print(f"{right:.1%} right on data held out, from a range test whose edge was {edge:.2e}")
