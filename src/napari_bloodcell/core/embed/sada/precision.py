"""Where 16 bits are too few: stains and losses are computed in float32, whatever the network uses."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")


def in_float32(call: Callable[P, R]) -> Callable[P, R]:
    """Mixed precision is off inside; the device is that of the first tensor."""

    @wraps(call)
    def careful(*args: P.args, **named: P.kwargs) -> R:
        first = next(one for one in args if isinstance(one, Tensor))
        with torch.autocast(first.device.type, enabled=False):
            return call(*args, **named)

    return careful
