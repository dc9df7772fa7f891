"""What a method brings to the one training loop."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

Batch = Mapping[str, Tensor]  # each tensor has the cells first


class Recipe(ABC):
    """One method. Everything random comes from ``batches``, so that a run resumed goes on as it would have.

    ``module(**batch)`` returns the named terms of the loss, weighted already: their sum is what is trained.
    The parameters that require a gradient are the ones the optimizer gets.
    """

    name: str
    module: nn.Module
    steps_per_epoch: int
    bf16_on_processors = False  # precision "auto" takes bf16 on a processor too, where it computes in it

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides the outcome beside the ``TrainConfig``: configs, hashes of the data. JSON."""

    @abstractmethod
    def batches(self, epoch: int) -> Iterable[Batch]:
        """The ``steps_per_epoch`` batches of an epoch (counted from 0): always the same ones."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Figures on held-out cells. ``score`` must be among them: the higher, the better."""

    def state(self) -> dict[str, Tensor]:
        """The tensors worth keeping: those that are trained, and the buffers that move with them."""
        trained = {name for name, p in self.module.named_parameters() if p.requires_grad}
        frozen = {name for name, p in self.module.named_parameters()} - trained
        return {name: t for name, t in self.module.state_dict().items() if name not in frozen}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.module.load_state_dict(dict(state), strict=False)

    def after_step(self, step: int) -> None:  # noqa: B027 (most methods need none)
        """Called after each step of the optimizer (counted from 0): weight averaging and the like."""

    def extra_state(self) -> dict[str, Tensor]:
        """What ``after_step`` gathers, for the checkpoint."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:  # noqa: B027
        """The counterpart of ``extra_state``."""
