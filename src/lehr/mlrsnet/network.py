"""The network of MLR-SNet: one LSTM cell from the training loss to a share of the learning rate."""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from lehr._arguments import whole_argument
from lehr._numbers import shown

Cell = Literal["meta-test", "meta-train"]
State = tuple[Tensor, Tensor]

CELLS: Final = get_args(Cell)

WIDEST: Final = 1_024
"""No state is larger."""


class MLRSNetwork(nn.Module):
    """loss, state -> share of the learning rate, state.

        h, c = LSTM(loss, h, c);    alpha / gamma = sigmoid(w . h + b)

    The authors' code has two cells that take the same weights and mean different things by them. "meta-test" has its
    gates in the order input, forget, transform, output; the published weights belong to it. "meta-train" has them in
    the order input, forget, output, transform, and subtracts 1 from the forget gate.

    Args:
        hidden: size of the state, from 2 to 1,024.
        cell: which of the two.

    Source: Shu et al. 2022 (MLR-SNet), section 3.2, and the authors' code.

    >>> network = MLRSNetwork()
    >>> sum(parameter.numel() for parameter in network.parameters())
    11776
    >>> share, state = network(torch.tensor(2.3), network.start())
    >>> share.shape, 0.0 < share.item() < 1.0
    (torch.Size([]), True)
    """

    def __init__(self, hidden: int = 50, cell: Cell = "meta-test") -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"MLRSNetwork: cell must be one of {', '.join(CELLS)}; got {shown(cell)}")
        self.hidden = hidden = whole_argument("MLRSNetwork: hidden", hidden, 2, WIDEST)
        self.cell: Cell = cell
        self.from_input = _two_layers(1, hidden)
        self.from_state = _two_layers(hidden, hidden)
        self.output = nn.Linear(hidden, 1)
        nn.init.uniform_(self.output.weight, -0.1, 0.1)
        nn.init.ones_(self.output.bias)  # starts at sigmoid(1) = 0.73, as the published weights did

    def start(self) -> State:
        """The state before anything was seen."""
        zeros = torch.zeros(1, self.hidden, device=self.output.weight.device)
        return zeros, zeros

    def forward(self, loss: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of the cell.

        Args:
            loss: a training loss, one number.
            state: h and c, each of shape (1, hidden).
        """
        h, c = state
        gates = self.from_input(loss.reshape(1, 1)) + self.from_state(h)
        if self.cell == "meta-test":
            enter, forget, transform, leave = gates.split(self.hidden, 1)
        else:
            enter, forget, leave, transform = gates.split(self.hidden, 1)
            forget = forget - 1.0
        c = torch.sigmoid(forget) * c + torch.sigmoid(enter) * torch.tanh(transform)
        h = torch.sigmoid(leave) * torch.tanh(c)
        return torch.sigmoid(self.output(h)).reshape(()), (h, c)


def _two_layers(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden // 2), nn.ReLU(), nn.Linear(hidden // 2, 4 * hidden))
