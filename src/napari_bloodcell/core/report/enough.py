"""When to stop counting: what the limits say of the cells counted so far."""

from dataclasses import dataclass

from napari_bloodcell.core.records import UNIDENTIFIED
from napari_bloodcell.core.report.differential import CountRow, Differential, exact_limits

MOST = 1_000_000  # cells; a precision that needs more is out of reach


@dataclass(frozen=True, kw_only=True)
class Enough:
    """``now`` where the target is reached and every class is known closely enough."""

    now: bool
    counted: int
    target: int
    precision: float  # half of the width of the limits, in points of per cent, that is close enough
    widest: str  # the class that is known least closely; empty without cells
    half_width: float  # of its limits
    more: int  # further cells likely needed, were the shares to stay as they are

    def text(self) -> str:
        if not self.counted:
            return f"No cells yet: count {self.target} at least."
        widest = self.widest.replace("_", " ")
        known = f"{widest} is known to ± {self.half_width:.1f} points"
        if self.now:
            return f"Enough cells now: {self.counted} counted, and the least certain share, {known}."
        missing = max(0, self.target - self.counted)
        to_target = f"{missing} more to the target of {self.target}" if missing else ""
        if self.half_width <= self.precision:
            return f"Not enough cells yet: {to_target}; {known}."
        now = f"{widest}, now known to ± {self.half_width:.1f} points,"
        if self.more == missing:
            by_then = f"by which {now} is likely known to ± {self.precision:g}"
            return f"Not enough cells yet: {to_target}, {by_then}."
        until = f"about {self.more} more until {now} is known to ± {self.precision:g}"
        return f"Not enough cells yet: {', '.join(filter(None, [to_target, until]))}."


def enough(differential: Differential, precision: float) -> Enough:
    """``precision``: half-width of the limits to reach for every class, in points of per cent."""
    d = differential
    rows = [row for row in d.rows if row.n or row.class_name != UNIDENTIFIED] if d.counted else []
    widest = max(rows, key=_half, default=None)
    half_width = _half(widest) if widest is not None else 100.0
    missing = max(0, d.target - d.counted)
    more = max(missing, _needed(widest, d, precision) - d.counted) if widest is not None else d.target
    return Enough(
        now=missing == 0 and half_width <= precision and widest is not None,
        counted=d.counted,
        target=d.target,
        precision=precision,
        widest=widest.class_name if widest is not None else "",
        half_width=half_width,
        more=more,
    )


def _half(row: CountRow) -> float:
    return (row.high - row.low) / 2


def _needed(row: CountRow, d: Differential, precision: float) -> int:
    """The least count at which a class of this share is known so closely: limits narrow with cells."""
    share = row.n / d.counted

    def close(total: int) -> bool:
        low, high = exact_limits(share * total, total, d.confidence)
        return 50 * (high - low) <= precision

    if not close(MOST):
        return MOST
    low, high = 0, MOST  # never close at low, always at high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if close(middle) else (middle, high)
    return high
