"""Parameter groups and layers: which belongs to which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lehr.freezing.layers import Layers


def split(layers: Layers, groups: Iterable[Any], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Groups of which none mixes layers, in the order of the layers; each keeps the options of the one it was in."""
    known = _layer_of_each(layers)
    last = len(layers) - 1
    parts: list[tuple[int, dict[str, Any]]] = []
    seen: set[int] = set()
    given = list(groups)
    for group in given if all(isinstance(one, Mapping) for one in given) else [{"params": given}]:
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        if names := [one[0] for one in params if isinstance(one, tuple)]:
            raise ValueError(f"param_groups: groups hold named parameters ({names[0]}, ...); give the parameters alone")
        if seen & set(map(id, params)) or len(set(map(id, params))) < len(params):
            raise ValueError("param_groups: groups hold the same parameter twice")
        seen |= set(map(id, params))
        by_layer: dict[int, list[Tensor]] = {}
        for parameter in params:
            by_layer.setdefault(known.get(id(parameter), last), []).append(parameter)
        rest = {key: value for key, value in group.items() if key not in ("params", "param_names")}
        parts += [(layer, {"params": own, **options, **rest}) for layer, own in by_layer.items()]
    return [group for _, group in sorted(parts, key=lambda part: part[0])]


def layers_of_groups(layers: Layers, optimizer: Optimizer) -> tuple[int, ...]:
    """For each of the optimizer's groups the layer that it holds; groups outside all layers count to the last.

    Raises:
        ValueError: if one mixes layers.
    """
    known = _layer_of_each(layers)
    last = len(layers) - 1
    found: list[int] = []
    for index, group in enumerate(optimizer.param_groups):
        held = {known.get(id(parameter), last) for parameter in group["params"]} or {last}
        if len(held) > 1:
            names = ", ".join(layers[layer].name for layer in sorted(held))
            raise ValueError(
                f"FreezeOut: parameter group {index} mixes layers ({names}); build the optimizer with "
                "plan.param_groups(lr=...), or split your own with plan.param_groups(groups)"
            )
        found += held
    if not any(id(parameter) in known for group in optimizer.param_groups for parameter in group["params"]):
        raise ValueError(
            "FreezeOut: the optimizer has none of the layers' parameters; it belongs to another model, or the model's "
            "parameters were replaced (as by fully_shard) after layers_of looked at them"
        )
    return tuple(found)


def _layer_of_each(layers: Layers) -> dict[int, int]:
    return {id(parameter): index for index, layer in enumerate(layers) for parameter in layer.parameters}
