"""Start with any learning rate; the tuner finds one: `python examples/tune_while_training.py 1e-6`."""

import sys

import torch

import lehr

start = float(sys.argv[1]) if len(sys.argv) > 1 else 1e-6
torch.manual_seed(0)
inputs = torch.randn(4_096, 20)
targets = torch.sin(inputs[:, :4].sum(1, keepdim=True))
model = torch.nn.Sequential(torch.nn.Linear(20, 128), torch.nn.Tanh(), torch.nn.Linear(128, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=start)
scheduler = lehr.Scheduler(optimizer, lehr.LRTuner(), lehr.Budget(steps=600))

data = torch.utils.data.TensorDataset(inputs[1_024:], targets[1_024:])
batches = lehr.Batches(torch.utils.data.DataLoader(data, batch_size=64, shuffle=True))


def loss_of_next_batch() -> torch.Tensor:
    x, y = next(batches)
    return torch.nn.functional.mse_loss(model(x), y)


probe = lehr.Probe(model, optimizer, loss_of_next_batch, restore=[batches], batches=3)
while not scheduler.finished:
    optimizer.zero_grad()
    loss = loss_of_next_batch()
    loss.backward()
    scheduler.observe(loss=loss.detach(), loss_at=probe)  # after backward, before the update
    optimizer.step()
    scheduler.step()

for decision in scheduler.policy.history:
    print(
        f"{decision.progress:4.0%}  {decision.what:8} lr {start * decision.factor:.2e} -> {start * decision.goal:.2e}"
    )
with torch.no_grad():
    held_out = torch.nn.functional.mse_loss(model(inputs[:1_024]), targets[:1_024]).item()
print(f"loss on data held out: {held_out:.4f}; the probes cost {probe.forward_passes} forward passes of 600 updates")
