"""What the loading of sets of cells left out, in sentences."""

from collections import Counter
from collections.abc import Iterable

from napari_bloodcell.core.datasets.layout import DOT_FILE, NOT_AN_IMAGE
from napari_bloodcell.core.datasets.records import Dataset
from napari_bloodcell.core.words import how_many

MOST_REASONS = 6  # told one by one; the rest is counted
NO_PICTURES = (DOT_FILE, NOT_AN_IMAGE)  # nobody misses them


def left_out(sets: Iterable[Dataset]) -> list[str]:
    reasons: Counter[str] = Counter()
    nameless = 0
    for one in sets:
        nameless += len(one.unlabelled)
        for skipped in one.skipped:
            if skipped.reason not in NO_PICTURES:
                reasons[skipped.reason] += skipped.count
    most = reasons.most_common()
    lines = [f"{how_many(count, 'picture')} left out: {reason}." for reason, count in most[:MOST_REASONS]]
    rest = sum(count for _, count in most[MOST_REASONS:])
    if rest:
        lines.append(f"{how_many(rest, 'picture')} left out for other reasons: see `datasets check`.")
    if nameless:
        told = "none is told, or a model's alone, which is no label"
        lines.append(f"{how_many(nameless, 'white cell')} without a class: {told}.")
    return lines
