"""SWAD (Cha et al., NeurIPS 2021): the mean of the weights along a valley of the validation loss.

The weights of every step go into the mean of their epoch. Where the valley begins and ends is decided on the
epochs' losses alone; the result is the mean over the epochs inside.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from napari_bloodcell.core.config import SadaConfig


class Swad:
    """Averages one module. ``after_step`` each step, ``close`` with a loss at the end of each epoch."""

    def __init__(self, module: nn.Module, config: SadaConfig) -> None:
        self.module = module
        self.converge, self.tolerance = config.swad_converge, config.swad_tolerance
        self.ratio = config.swad_ratio
        self.edge: float | None = None  # of the valley, once it has begun
        self.left = 0  # epochs above the edge, in a row
        self.ended = False
        self.epoch: AveragedModel | None = None
        self.waiting: list[tuple[float, AveragedModel]] = []  # epochs among which the valley may begin
        self.inside: AveragedModel | None = None
        self.beyond: AveragedModel | None = None  # above the edge: taken in should the loss come back

    def after_step(self) -> None:
        if self.ended:
            return
        if self.epoch is None:
            self.epoch = AveragedModel(self.module)
        self.epoch.update_parameters(self.module)

    def close(self, loss: float) -> None:
        """The epoch is over, and this is its validation loss."""
        mean, self.epoch = self.epoch, None
        if self.ended or mean is None:
            return
        if self.edge is None:
            self._look_for_start(loss, mean)
        elif loss <= self.edge:
            self._take_beyond()
            self.inside = _merged(self.inside, mean)
        else:
            self.beyond = _merged(self.beyond, mean)
            self.left += 1
            if self.left >= self.tolerance:
                self.ended, self.beyond = True, None

    def result(self) -> nn.Module | None:
        """The mean over the valley; over the last epoch where none was found; None before the first."""
        if self.inside is None:
            return self.waiting[-1][1].module if self.waiting else None
        found = _merged(None, self.inside, int(self.inside.n_averaged))
        if self.beyond is not None:
            found = _merged(found, self.beyond, int(self.beyond.n_averaged))
        mean: nn.Module = found.module
        return mean

    def _look_for_start(self, loss: float, mean: AveragedModel) -> None:
        """The valley begins at a loss that the next ``converge`` - 1 do not undercut."""
        if self.waiting and loss < self.waiting[0][0]:
            self.waiting = []  # none of those can be the start any more
        self.waiting.append((loss, mean))
        if len(self.waiting) < self.converge:
            return
        losses = [one for one, _ in self.waiting]
        self.edge = (1 + self.ratio) * sum(losses) / len(losses)
        for _, each in self.waiting:
            self.inside = _merged(self.inside, each)
        self.waiting = []

    def _take_beyond(self) -> None:
        if self.beyond is not None:
            self.inside = _merged(self.inside, self.beyond, int(self.beyond.n_averaged))
        self.beyond, self.left = None, 0

    def state(self) -> dict[str, Tensor]:
        """Between two epochs."""
        losses = [one for one, _ in self.waiting]
        edge = float("nan") if self.edge is None else self.edge
        state = {
            "swad.numbers": torch.tensor([edge, self.left, self.ended, *losses], dtype=torch.float64),
        }
        for name, mean in self._means().items():
            state[f"swad.{name}.n"] = mean.n_averaged.detach().cpu()
            state |= {f"swad.{name}.{key}": value for key, value in mean.module.state_dict().items()}
        return state

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        if "swad.numbers" not in state:
            return
        edge, left, ended, *losses = state["swad.numbers"].tolist()
        self.edge, self.left, self.ended = (None if edge != edge else edge), int(left), bool(ended)  # noqa: PLR0124
        self.waiting = []
        for i, loss in enumerate(losses):
            mean = self._read(state, f"waiting{i}")
            if mean is not None:
                self.waiting.append((loss, mean))
        self.inside, self.beyond = self._read(state, "inside"), self._read(state, "beyond")

    def _means(self) -> dict[str, AveragedModel]:
        named = {f"waiting{i}": mean for i, (_, mean) in enumerate(self.waiting)}
        named |= {} if self.inside is None else {"inside": self.inside}
        return named | ({} if self.beyond is None else {"beyond": self.beyond})

    def _read(self, state: Mapping[str, Tensor], name: str) -> AveragedModel | None:
        prefix = f"swad.{name}."
        if f"{prefix}n" not in state:
            return None
        mean = AveragedModel(self.module)
        own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        mean.n_averaged.fill_(int(own.pop("n")))
        mean.module.load_state_dict(own)
        return mean


def _merged(into: AveragedModel | None, mean: AveragedModel, weight: int = 1) -> AveragedModel:
    """Epochs have equally many steps, so each counts as one. ``weight``: epochs that ``mean`` stands for."""
    if into is None:
        taken = AveragedModel(mean.module)
        taken.update_parameters(mean.module)
        taken.n_averaged.fill_(weight)
        return taken
    before = int(into.n_averaged)
    share = weight / (before + weight)
    for old, new in zip(into.module.parameters(), mean.module.parameters(), strict=True):
        old.detach().lerp_(new.detach().to(old), share)
    into.n_averaged.fill_(before + weight)
    return into
