"""A run to be killed: `python tests/state/killed_run.py POLICY FOLDER` prints each update, and at the end a hash."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import torch

import lehr

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.policies import POLICIES

STEPS = 60


def main(name: str, folder: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(6, 6) for _ in range(3)))
    groups = [{"params": list(layer.parameters()), "lr": 0.05 / (1 + i)} for i, layer in enumerate(model)]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    inputs = torch.randn(64, 6)
    loader = torch.utils.data.DataLoader(inputs, batch_size=8, shuffle=True)

    def loss(network: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        return (network(torch.nn.functional.dropout(batch, 0.1)) - batch.flip(1)).square().mean()

    training = lehr.Training(model, optimizer, loader, loss, accumulate=2)
    lehr.fit(
        training, f"{STEPS}steps", POLICIES[name](model), every="2steps", checkpoints=folder, progress=False,
        log_every=1, log=lambda update, values: print(update, flush=True),  # noqa: T201
    )  # fmt: skip
    digest = hashlib.sha256()
    for tensor in (*model.state_dict().values(), torch.get_rng_state()):
        digest.update(tensor.numpy().tobytes())
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, torch.Tensor):
                digest.update(value.numpy().tobytes())
    print("done", digest.hexdigest(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
