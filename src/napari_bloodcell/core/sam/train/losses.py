"""What a training makes small. Maps are B x C x h x w; the wanted shares of each channel sum to one."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

SMOOTH = 1.0  # pixels: an absent nucleus that is not found is no loss
CLOSENESS = 1e-5


def soft_cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    """Against shares of a pixel: a pixel on the edge belongs to both sides."""
    return -(shares * F.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()


def dice_per_image(logits: Tensor, shares: Tensor) -> Tensor:
    """1 - Dice of the cell (all but the ground) and, where there are three channels, of its nucleus; each
    image counts the same, however small its cell."""
    found = logits.float().softmax(dim=1)
    cell = _dice(1 - found[:, 0], 1 - shares[:, 0])
    if found.shape[1] == 2:
        return 1 - cell.mean()
    return 1 - (0.5 * cell + 0.5 * _dice(found[:, 2], shares[:, 2])).mean()


def _dice(found: Tensor, wanted: Tensor) -> Tensor:
    both = (found * wanted).sum(dim=(1, 2))
    return (2 * both + SMOOTH) / ((found**2).sum(dim=(1, 2)) + (wanted**2).sum(dim=(1, 2)) + SMOOTH)


def dice_of_batch(logits: Tensor, shares: Tensor) -> Tensor:
    """As published: each channel over the whole batch, squared denominators, the mean over channels."""
    found = logits.float().softmax(dim=1)
    both = (found * shares).sum(dim=(0, 2, 3))
    sums = (found**2).sum(dim=(0, 2, 3)) + (shares**2).sum(dim=(0, 2, 3))
    return (1 - (2 * both + CLOSENESS) / (sums + CLOSENESS)).mean()


def quality_error(guess: Tensor, logits: Tensor, shares: Tensor) -> Tensor:
    """The model's own guess of how well each of its channels fits, against how well it does."""
    found = logits.detach().float().softmax(dim=1)
    both = (found * shares).sum(dim=(2, 3))
    either = (found + shares).sum(dim=(2, 3)) - both
    return F.mse_loss(guess.float(), (both + SMOOTH) / (either + SMOOTH))
