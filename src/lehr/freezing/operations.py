"""A count of floating-point operations, with what torch's own counter leaves out or miscounts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Final

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

aten = torch.ops.aten
Shape = Sequence[int]


def counter() -> FlopCounterMode:
    """A context that counts the operations inside it."""
    return FlopCounterMode(display=False, custom_mapping=FORMULAS)


def _attention(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(grad: Shape, query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))  # type: ignore[no-untyped-call]


def _recurrent(inputs: Shape, weight: Shape, recurrent: Shape, *_: Any, **__: Any) -> int:
    """Two matrix products at each of the places of each sequence."""
    return 2 * inputs[0] * inputs[1] * (prod(weight) + prod(recurrent))


def _recurrent_backward(inputs: Shape, weight: Shape, recurrent: Shape, *_: Any, **__: Any) -> int:
    return 2 * _recurrent(inputs, weight, recurrent)


def _convolution_backward(
    grad: Shape, inputs: Shape, weight: Shape, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: Any,
    output_padding: Any, groups: int, wanted: Sequence[bool], *_: Any, **__: Any,
) -> int:  # fmt: skip
    """Each gradient that is wanted costs what the forward pass does; torch forgets the groups in that of the weight."""
    places = (inputs if transposed else grad)[2:]
    return 2 * inputs[0] * prod(places) * prod(weight) * (wanted[0] + wanted[1])


FORMULAS: Final[dict[Any, Callable[..., int]]] = {
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    aten.mkldnn_rnn_layer: _recurrent,
    aten.mkldnn_rnn_layer_backward: _recurrent_backward,
    aten.convolution_backward: _convolution_backward,
}
