"""MLR-SNet as a policy: a learned network sets the rate from the training loss."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor

from lehr._arguments import number_argument, path_argument
from lehr._numbers import LARGEST, SMALLEST, floats, shown
from lehr.mlrsnet.network import CELLS, WIDEST, Cell, MLRSNetwork, State
from lehr.mlrsnet.published import read_published
from lehr.policy import Moment, Policy
from lehr.state.reading import Fields
from lehr.state.weight_files import check_fit, digest, read_weights, write_weights

Gamma = float | Callable[[float], float]
StageLoss = Callable[[], float]

PRETRAINED: Final = Path(__file__).parent / "pretrained"
"""Where the weights are that come with lehr."""

KIND: Final = "mlr-snet"
MOST_NETWORKS: Final = 64
"""No file holds more."""

MEMORY: Final = 100.0
"""Over how many updates the loss is averaged that a new stage takes its scale from."""


class MLRSNet(Policy):
    """The schedule of MLR-SNet: an LSTM, meta-learned, that sets the rate from the training loss.

        factor = gamma * sigmoid(w . h + b),    h, c = LSTM(loss / loss_scale, h, c)

    With several networks each has its equal share of the run, as in the authors' transfer protocol (weights from early,
    middle and late in meta-training); the state goes on from one to the next, and gamma is found anew.

        stage k begins at k / n of the run, or at changes_at[k - 1]

    Give it `scheduler.observe(loss=...)` at every update. With tensors for the loss and the optimizer's rates and a
    number for gamma, nothing waits for the device; a function for gamma is asked at the start of a stage.

    Args:
        networks: one or more, for equal shares of the budget.
        gamma: the scale of the factors: a number above 0, or a function of the mean training loss such as
            `PublishedGamma`, which gives learning rates, so that the base rate of the optimizer should be 1. It gets
            `stage_loss()`; without one the first loss, and at later stages the mean of the last hundred or so, which
            costs nothing, and is above the loss of the whole set where that falls fast.
        loss_scale: what losses are divided by before the network sees them; the authors take ln(vocabulary) for text.
        stage_loss: gives the mean loss over the whole training set, as the authors take it, when a stage begins: a pass
            over the data, the same number on all ranks. It is not called where gamma is a number.
        changes_at: at which progress each network after the first takes over, ascending between 0 and 1; equal shares
            if not given. The authors change at whole epochs: for 3 networks and 200 epochs at (66 / 200, 132 / 200).
        header: how the networks came about, kept in files.

    Raises:
        ValueError: if an argument is out of range.

    Source: Shu et al. 2022 (MLR-SNet), equations 2 to 5; the protocol is that of the authors' code.

    >>> _ = torch.manual_seed(0)
    >>> mlrsnet = MLRSNet(MLRSNetwork(), gamma=0.5)
    >>> 0.0 < mlrsnet.factors(Moment(0.0, loss=2.3)) < 0.5
    True
    """

    needs = ("loss",)

    def __init__(
        self,
        *networks: MLRSNetwork,
        gamma: Gamma = 1.0,
        loss_scale: float = 1.0,
        stage_loss: StageLoss | None = None,
        changes_at: Sequence[float] | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> None:
        _check(networks)
        if not callable(gamma):
            gamma = number_argument("MLRSNet: gamma, where it is no function,", gamma, SMALLEST, LARGEST)
        loss_scale = number_argument("MLRSNet: loss_scale", loss_scale, SMALLEST, LARGEST)
        self.changes_at = _stages_change_at(len(networks), stage_loss, changes_at)
        self.networks = tuple(network.requires_grad_(False) for network in networks)
        self.gamma = gamma
        self.loss_scale = loss_scale
        self.stage_loss = stage_loss
        self.header = dict(header or {})
        self._optimizer: Any = None
        self._start_afresh()

    def _start_afresh(self) -> None:
        first = self.networks[0]
        self._stage = 0
        self._state: State = first.start()
        self._scale: float | None = None if callable(self.gamma) else float(self.gamma)
        self._share: Tensor | float = float(torch.sigmoid(first.output.bias).detach())
        self._mean: Tensor | float = 0.0
        self._seen = 0

    # -- as a policy ------------------------------------------------------------------------------------------------

    def bind(self, optimizer: Any) -> None:
        if self._optimizer is not None and self._optimizer is not optimizer:
            self._start_afresh()
        self._optimizer = optimizer

    def factors(self, moment: Moment) -> Any:
        if moment.loss is not None:
            self._observe(moment.loss, moment.progress)
        scale = 1.0 if self._scale is None else self._scale
        return scale * self._share

    @torch.no_grad()
    def _observe(self, loss: Any, progress: float) -> None:
        given = loss if isinstance(loss, Tensor) else torch.tensor(float(loss))
        given = given.detach().to(self.networks[0].output.weight.dtype).reshape(())
        network = self._network_for(progress, given)
        if callable(self.gamma) and self._scale is None:
            return
        share, (h, c) = network(given / self.loss_scale, self._state)
        sound = torch.isfinite(given)  # a loss that is not is passed over, without a look at it
        mean = torch.as_tensor(self._mean, dtype=torch.float32, device=given.device)
        self._seen += 1
        self._mean = torch.where(sound, mean + (given - mean) / min(float(self._seen), MEMORY), mean)
        self._state = (torch.where(sound, h, self._state[0]), torch.where(sound, c, self._state[1]))
        share = torch.where(sound, share, torch.as_tensor(self._share, dtype=torch.float32, device=given.device))
        self._share = share if isinstance(loss, Tensor) else float(share)

    def _network_for(self, progress: float, loss: Tensor) -> MLRSNetwork:
        """The network of the stage, on the device of the loss; with it a new scale, if the stage is new."""
        stage = self._stage_at(progress)
        if callable(self.gamma) and (self._scale is None or stage != self._stage):
            mean = self._loss_of_stage(loss)
            if math.isfinite(mean):  # else that of the next update is asked
                self._scale = self._scale_at(mean)
                self._stage = stage
        else:
            self._stage = stage
        network = self.networks[stage]
        if network.output.weight.device != loss.device:
            network.to(loss.device)
        self._state = (self._state[0].to(loss.device), self._state[1].to(loss.device))
        return network

    def _scale_at(self, mean: float) -> float:
        """What gamma makes of a mean loss; in the middle of a run the old scale, if it makes nothing of it."""
        assert callable(self.gamma)
        try:
            return float(self.gamma(mean))
        except ValueError as error:
            if self._scale is None:
                raise
            warnings.warn(f"MLRSNet keeps the scale {self._scale:g} at the change of stages: {error}", stacklevel=2)
            return self._scale

    def _stage_at(self, progress: float) -> int:
        if self.changes_at is not None:
            return bisect_right(self.changes_at, progress + 1e-9)
        return min(int(progress * len(self.networks) + 1e-9), len(self.networks) - 1)

    def _loss_of_stage(self, loss: Tensor) -> float:
        if self.stage_loss is None:
            return float(loss if not self._seen else self._mean)
        given = float(self.stage_loss())
        if not math.isfinite(given):
            raise ValueError(f"MLRSNet: stage_loss must give a finite loss; it gave {given!r}")
        return given

    def state_dict(self) -> dict[str, Any]:
        return {
            "stage": self._stage, "h": self._state[0], "c": self._state[1], "scale": self._scale,
            "share": self._share, "mean": self._mean, "seen": self._seen,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            ValueError: if it is anything else; then nothing changes.
        """
        fields, shape = Fields("the state of MLRSNet", state), (1, self.networks[0].hidden)
        stage = fields.whole("stage", 0, len(self.networks) - 1)
        h, c = fields.tensor("h", shape, -1.0, 1.0), fields.tensor("c", shape)
        scale = None if callable(self.gamma) and fields.any("scale") is None else fields.number("scale", 0.0)
        share, mean = fields.scalar("share", 0.0, 1.0), fields.scalar("mean")
        seen = fields.whole("seen")
        if not callable(self.gamma) and scale != float(self.gamma):
            raise fields.error("scale", f"this schedule's gamma, {self.gamma!r}", scale)
        self._stage, self._state, self._scale = stage, (h, c), scale
        self._share, self._mean, self._seen = share, mean, seen

    def __repr__(self) -> str:
        weights = {f"{i}.{name}": t for i, one in enumerate(self.networks) for name, t in one.state_dict().items()}
        first, gamma = self.networks[0], getattr(self.gamma, "__qualname__", repr(self.gamma))
        return (
            f"MLRSNet({len(self.networks)} of {first.hidden} hidden, {first.cell}, weights {digest(weights)[:12]}, "
            f"gamma={gamma}, loss_scale={self.loss_scale!r}{_stages(self.stage_loss, self.changes_at)})"
        )

    # -- by itself, and as files ------------------------------------------------------------------------------------

    @torch.no_grad()
    def rates(self, losses: Sequence[float] | Tensor) -> Tensor:
        """The first network's outputs for a sequence of losses, from a fresh state; this run's own state is left.

        Args:
            losses: training losses, one an update.

        Returns:
            A share of gamma for each.

        Raises:
            ValueError: if `losses` are no numbers.
        """
        numbers = floats(losses)
        if numbers is None:
            raise ValueError(f"MLRSNet.rates: losses must be a list of numbers; got {shown(losses)}")
        network = self.networks[0]
        state = network.start()
        shares = []
        for loss in torch.tensor(numbers, dtype=torch.float32, device=state[0].device) / self.loss_scale:
            share, state = network(loss, state)
            shares.append(share)
        return torch.stack(shares) if shares else torch.empty(0)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the networks to a safetensors file with a header; gamma is for the task at hand, and not in it."""
        tensors = {f"{i}.{name}": t for i, one in enumerate(self.networks) for name, t in one.state_dict().items()}
        first = self.networks[0]
        header = {"hidden": first.hidden, "cell": first.cell, "networks": len(self.networks)}
        about = {**header, "loss_scale": self.loss_scale, "about": self.header}
        write_weights(path_argument("MLRSNet.save: path", path), tensors, {"kind": KIND, **about})

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        gamma: Gamma = 1.0,
        stage_loss: StageLoss | None = None,
        changes_at: Sequence[float] | None = None,
    ) -> MLRSNet:
        """The schedule that `save` wrote, at its start.

        Args:
            path: of the file; nothing in it is run.
            gamma: the scale of the factors.
            stage_loss: as for `MLRSNet`.
            changes_at: as for `MLRSNet`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is no such thing, or damaged.
        """
        tensors, header = read_weights(path_argument("MLRSNet.load: path", path), KIND)
        try:
            fields = Fields("its header", header)
            scale, about = fields.number("loss_scale", 1e-30, 1e30), fields.table("about")
            networks = _networks(tensors, fields)
        except ValueError as error:
            raise ValueError(f"{path} holds no MLR-SNet that fits its own header: {error}") from None
        return cls(*networks, gamma=gamma, loss_scale=scale, stage_loss=stage_loss, changes_at=changes_at, header=about)

    @classmethod
    def pretrained(cls, *, gamma: Gamma = 1.0) -> MLRSNet:
        """The schedule that comes with lehr: the published algorithm on a small convolutional network, with momentum.

        With gamma at 1 its outputs are shares of the optimizer's own rate.

        Args:
            gamma: the scale of the factors.

        >>> MLRSNet.pretrained().header["tasks"]
        ['Fashion-MNIST, 10,000 images at 14 x 14']
        """
        return cls.load(PRETRAINED / "mlr-snet.safetensors", gamma=gamma)

    @classmethod
    def from_published(
        cls,
        *paths: str | PathLike[str],
        cell: Cell | Literal["detect"] = "detect",
        gamma: Gamma = 1.0,
        loss_scale: float = 1.0,
        stage_loss: StageLoss | None = None,
        changes_at: Sequence[float] | None = None,
    ) -> MLRSNet:
        """The schedule of checkpoints that the authors' code wrote.

        Args:
            paths: of one checkpoint, or of those for the first, second, ... share of the run.
            cell: which cell they belong to. Weights do not tell: "detect" knows those that the authors released, which
                belong to "meta-test", and refuses to guess for others.
            gamma: the scale of the factors.
            loss_scale: what losses are divided by.
            stage_loss: as for `MLRSNet`.
            changes_at: as for `MLRSNet`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if a file holds anything else, or the cell is not known.
        """
        networks = []
        for path in [path_argument("MLRSNet.from_published: paths", path) for path in paths]:
            tensors, released = read_published(path)
            if cell == "detect" and not released:
                raise ValueError(
                    f"{path}: the authors' code has two cells that take these weights, and they are none of those "
                    "that were released; pass cell='meta-train' for what meta_train.py wrote, cell='meta-test' for "
                    "what meta_test.py reads"
                )
            kind: Cell = "meta-test" if cell == "detect" else cell
            try:
                network = _filled(tensors, _hidden(tensors["output.weight"]), kind)
            except ValueError as error:
                raise ValueError(f"{path} is not a published MLR-SNet: {error}") from None
            networks.append(network)
        about = {"source": "Shu et al. 2022, released checkpoints", "files": [Path(path).name for path in paths]}
        return cls(
            *networks, gamma=gamma, loss_scale=loss_scale, stage_loss=stage_loss, changes_at=changes_at, header=about
        )


def _networks(tensors: Mapping[str, Tensor], header: Fields) -> list[MLRSNetwork]:
    """The networks of a file, whose header is believed where the tensors agree."""
    count, hidden = header.whole("networks", 1, MOST_NETWORKS), header.whole("hidden", 2, WIDEST)
    cell = header.text("cell")
    if cell not in CELLS:
        raise header.error("cell", f"one of {', '.join(CELLS)}", cell)
    kind: Cell = cell  # type: ignore[assignment]
    marks = [f"{index}." for index in range(count)]
    if strange := [name for name in tensors if not name.startswith(tuple(marks))]:
        raise ValueError(f"it has a {strange[0]}, which belongs to none of {count} networks")
    parts = [{k.removeprefix(mark): v for k, v in tensors.items() if k.startswith(mark)} for mark in marks]
    return [_filled(part, hidden, kind) for part in parts]


def _hidden(output: Tensor) -> int:
    hidden = output.shape[-1]
    if not 2 <= hidden <= WIDEST:
        raise ValueError(f"its state must have from 2 to {WIDEST} numbers; it has {hidden}")
    return hidden


def _filled(tensors: Mapping[str, Tensor], hidden: int, cell: Cell) -> MLRSNetwork:
    """A network with these weights, made only once they are known to be all of it."""
    with torch.device("meta"):
        expected = MLRSNetwork(hidden, cell).state_dict()
    check_fit(tensors, expected)
    network = MLRSNetwork(hidden, cell)
    network.load_state_dict(tensors)
    return network


def _stages(stage_loss: StageLoss | None, changes_at: Sequence[float] | None) -> str:
    """What is not as usual about the stages, as in `repr`."""
    changes = "" if changes_at is None else f", changes_at={changes_at!r}"
    return changes if stage_loss is None else f", stage_loss={getattr(stage_loss, '__qualname__', 'given')}{changes}"


def _stages_change_at(networks: int, stage_loss: Any, changes_at: Any) -> tuple[float, ...] | None:
    if stage_loss is not None and not callable(stage_loss):
        raise ValueError(f"MLRSNet: stage_loss must be a function without arguments; got {shown(stage_loss)}")
    if changes_at is None:
        return None
    places = floats(changes_at)
    if places is None:
        raise ValueError(f"MLRSNet: changes_at must be a list of shares of the run; got {shown(changes_at)}")
    if len(places) != networks - 1 or not all(one < other for one, other in pairwise([0.0, *places, 1.0])):
        raise ValueError(
            f"MLRSNet: changes_at must say where each of {networks} networks but the first takes over, ascending "
            f"between 0 and 1; got {shown(places)}"
        )
    return tuple(places)


def _check(networks: Sequence[Any]) -> None:
    if not networks or not all(isinstance(network, MLRSNetwork) for network in networks):
        raise ValueError(f"MLRSNet: give one MLRSNetwork or more; got {shown(networks)}")
    if len({(network.hidden, network.cell) for network in networks}) > 1:
        raise ValueError("MLRSNet: all networks must have the same cell and hidden size, since the state goes on")
