"""The checkpoints that the authors of MLR-SNet released, or that their code writes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from torch import Tensor

from lehr.state import saved_tensors
from lehr.state.weight_files import digest, size_checked, sound

NAMES: Final = {  # the authors' names for our parts
    f"{theirs}.{layer}.{kind}": f"{ours}.{layer}.{kind}"
    for theirs, ours in (("layer1.fc_i2h", "from_input"), ("layer1.fc_h2h", "from_state"))
    for layer in (0, 2)
    for kind in ("weight", "bias")
} | {f"layer3.{kind}": f"output.{kind}" for kind in ("weight", "bias")}

RELEASED: Final = frozenset(
    {
        "fa56fd38b6be99704f72f3009d37e4fce033ec2be7a6b7d894a8cd5f28ca9233",
        "5e9d76df8642335a41bbc3ce86fbe9249649c5c7bbb6cecea786e1842f73ef14",
        "0350dce0398ddd2758f4edd0ed58c27f49d7a5b6dc151dc7d9522f32ed644af6",
    }
)
"""Digests of the weights that the authors released, all of which belong to the cell "meta-test"."""


def read_published(path: Path) -> tuple[dict[str, Tensor], bool]:
    """The authors' weights under our names, and whether they are among those that they released.

    Args:
        path: of a file that holds a state dict; read with `weights_only=True`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds anything else.
    """
    with size_checked(path).open("rb") as file:
        try:
            state = saved_tensors.load(file)
        except ValueError as error:
            raise ValueError(f"{path} is not a state dict of sound size: {error}") from None
    if not isinstance(state, dict) or state.keys() != NAMES.keys():
        holds = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise ValueError(
            f"{path} is not a published MLR-SNet: it should hold {', '.join(NAMES)}; it holds {holds[:1_000]}"
        )
    if not all(isinstance(value, Tensor) and value.is_floating_point() for value in state.values()):
        raise ValueError(f"{path} is not a published MLR-SNet: all of its entries should be tensors of numbers")
    weights = sound(path, {ours: state[theirs] for theirs, ours in NAMES.items()})
    return weights, digest(state) in RELEASED
