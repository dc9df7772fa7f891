"""The report of a check as plain text, for the terminal and for a panel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_bloodcell.core.datasets.sources import DATASETS

if TYPE_CHECKING:
    from napari_bloodcell.core.datasets.check import CheckReport, DomainReport

_NOTHING = "-"


def render(report: "CheckReport") -> str:
    title = DATASETS[report.dataset].title if report.dataset in DATASETS else report.dataset
    blocks = [
        [
            f"{report.root}",
            f"{title}: {_number(report.total, 'cell')}, {_number(len(report.domains), 'domain')}",
        ],
        _counts(report),
        _facts(report),
        [f"missing in {d.name}: {', '.join(d.missing)}" for d in report.domains if d.missing],
        _skipped(report),
        [f"note: {note}" for note in report.notes],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under each other: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _counts(report: "CheckReport") -> list[str]:
    domains = report.domains
    several = len(domains) > 1

    def row(name: str, values: list[int]) -> list[str]:
        shown = [str(value) if value else _NOTHING for value in values]
        return [name, *shown, *([str(sum(values))] if several else [])]

    rows = [["class", *(d.name for d in domains), *(["all"] if several else [])]]
    rows += [row(name, [d.counts.get(name, 0) for d in domains]) for name in report.classes]
    rows.append(row("total", [d.total for d in domains]))
    if any(d.unlabelled for d in domains):
        rows.append(row("without a class", [d.unlabelled for d in domains]))
    return table(rows)


def _facts(report: "CheckReport") -> list[str]:
    domains = report.domains
    rows = [
        ["", *(d.name for d in domains)],
        ["with a mask", *(str(d.with_mask or _NOTHING) for d in domains)],
        ["with patient or slide", *(_groups(d) for d in domains)],
        ["with pixel size", *(str(d.with_scale or _NOTHING) for d in domains)],
        ["pixel size, µm", *(_span(d.um_per_px) for d in domains)],
    ]
    if report.deep:
        rows.append(["image size, px", *(_sizes(d) for d in domains)])
        rows.append(["of another size", *(str(d.other_sizes or _NOTHING) for d in domains)])
        rows.append(["image mode", *(_modes(d) for d in domains)])
    return table(rows)


def _groups(domain: "DomainReport") -> str:
    return f"{domain.with_group} ({domain.groups} groups)" if domain.with_group else _NOTHING


def _span(ends: tuple[float, float] | None) -> str:
    if ends is None:
        return _NOTHING
    return f"{ends[0]:g}" if ends[0] == ends[1] else f"{ends[0]:g} to {ends[1]:g}"


def _sizes(domain: "DomainReport") -> str:
    if domain.sizes is None:
        return _NOTHING
    least, greatest = (f"{width}x{height}" for width, height in domain.sizes)
    return least if least == greatest else f"{least} to {greatest}"


def _modes(domain: "DomainReport") -> str:
    modes = sorted((domain.modes or {}).items(), key=lambda pair: -pair[1])
    if len(modes) == 1:
        return modes[0][0]
    return ", ".join(f"{mode} {count}" for mode, count in modes) or _NOTHING


def _skipped(report: "CheckReport") -> list[str]:
    if not report.skipped:
        return ["skipped: nothing"]
    total = sum(group.count for group in report.skipped)
    lines = [f"{group.count:>7}  {group.reason}, e.g. {group.example}" for group in report.skipped]
    return [f"skipped: {total}", *lines]
