"""No learning rate and no schedule to choose: a range test finds the edge, the learned schedule does the rest."""

import torch

import lehr

torch.manual_seed(0)
inputs = torch.randn(4_096, 20)
targets = torch.sin(inputs[:, :4].sum(1, keepdim=True))
model = torch.nn.Sequential(torch.nn.Linear(20, 128), torch.nn.Tanh(), torch.nn.Linear(128, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)  # whatever the rate is

data = torch.utils.data.TensorDataset(inputs[1_024:], targets[1_024:])
batches = lehr.Batches(torch.utils.data.DataLoader(data, batch_size=64, shuffle=True))


def train_step() -> torch.Tensor:
    x, y = next(batches)
    loss = torch.nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


edge = lehr.range_test(train_step, optimizer, restore=[model, batches], low=1e-5, steps=100).edge()
for group in optimizer.param_groups:
    group["lr"] = edge
scheduler = lehr.Scheduler(optimizer, lehr.LearnedSchedule.pretrained(), lehr.Budget(steps=600))
while not scheduler.finished:
    scheduler.observe(loss=train_step())
    scheduler.step()
    if scheduler.last_epoch % 100 == 0:
        print(f"{scheduler.progress:4.0%}  lr {scheduler.get_last_lr()[0]:.2e}")

with torch.no_grad():
    held_out = torch.nn.functional.mse_loss(model(inputs[:1_024]), targets[:1_024]).item()
print(f"loss on data held out: {held_out:.4f}, from a range test whose edge was {edge:.2e}")
