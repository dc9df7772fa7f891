"""Result folders and sessions -> report: counted by slide and pooled, written in every form."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.artifact import atomic_path, check_writable, write_bytes, write_json
from napari_bloodcell.core.cell_tables import PERSON
from napari_bloodcell.core.config.report import ReportConfig
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.report.differential import (
    NOT_KNOWN,
    RESEARCH_USE,
    Differential,
    count_cells,
    to_json,
)
from napari_bloodcell.core.report.enough import Enough, enough
from napari_bloodcell.core.report.gallery import Doubtful, Shown, doubtful_rows, pictures
from napari_bloodcell.core.report.place import check_place
from napari_bloodcell.core.report.provenance import (
    Failure,
    count_settings,
    differences,
    edited_text,
    gone_text,
    made_of,
    named,
    read_made,
    unfinished_text,
)
from napari_bloodcell.core.report.readers import Agreement, Reader, agreement, read_readers
from napari_bloodcell.core.report.sessions import Signature, read_work, readers_of, sessions_in
from napari_bloodcell.core.report.slides import (
    RUN,
    Run,
    answered,
    failed_in,
    known_classes,
    read_runs,
    result_folders,
    together,
)
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy
from napari_bloodcell.core.words import how_many

if TYPE_CHECKING:
    import pandas as pd

UNRECORDED = "What the probabilities are calibrated on was not recorded by the analysis."


@dataclass(frozen=True, kw_only=True, eq=False)
class SlideCount:
    name: str
    images: tuple[str, ...]
    differential: Differential
    enough: Enough


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    config: ReportConfig
    slides: tuple[SlideCount, ...]
    pooled: SlideCount
    table: "pd.DataFrame"
    runs: tuple[Run, ...]
    agreement: Agreement | None
    doubtful: tuple[Doubtful, ...]
    notes: tuple[str, ...]
    made: str
    sign_off: tuple[str, ...] = ()  # of sessions: who signed, and whether the count is still the signed one
    comments: tuple[str, ...] = ()
    failed: tuple[Failure, ...] = ()
    warnings: tuple[str, ...] = ()  # what a reader must know of the images beside the count

    @property
    def calibration(self) -> tuple[str, ...]:
        """What the probabilities rest on, a sentence for each model."""
        found = (run.bundle.get("calibration") for run in self.runs)
        return tuple(
            dict.fromkeys(
                f"Probabilities are calibrated on {basis}." if basis else UNRECORDED for basis in found
            )
        )

    @property
    def made_text(self) -> str:
        return self.made.replace("T", " ").replace("+00:00", " UTC")

    def made_of(self) -> str:
        made_of = f"{how_many(len(self.slides), 'slide')}, {how_many(len(self.runs), 'image')}"
        return f"{made_of}. Report made {self.made_text}."

    def reviewed_text(self) -> str:
        done, all_cells = self.pooled.differential.reviewed, len(self.table)
        if not all_cells:
            return "There was no cell to review."
        if not done:
            return f"No cell was reviewed by a person: all {all_cells} classes are the model's own."
        changed = int((self.table["reviewed"] & (self.table["cell_type"] != self.table["model_type"])).sum())
        names = f" ({', '.join(self.reviewers)})" if self.reviewers else ""
        return f"{done} of {all_cells} cells were reviewed by a person{names}, who changed {changed} of them."

    @property
    def reviewers(self) -> tuple[str, ...]:
        """Whose word stands on some cell."""
        said = self.table.loc[self.table["reviewed"], "cell_type_source"] if len(self.table) else ()
        return tuple(sorted({str(who).removeprefix(PERSON).strip() for who in said} - {""}))

    def said_by_people(self) -> tuple[str, ...]:
        """What belongs under the count beside the count itself."""
        agreed = () if self.agreement is None else (self.agreement.text(),)
        comments = tuple(f"Comment: {text}" for text in self.comments)
        return (self.reviewed_text(), *agreed, *self.sign_off, *comments)


def make_report(  # noqa: PLR0913 (what is given, and how)
    results: Sequence[str | Path],
    out: Path,
    config: ReportConfig = ReportConfig(),
    *,
    asked: Mapping[str, Any] | None = None,
    readers: Sequence[Path] = (),
    taxonomy: Taxonomy = DEFAULT,
    progress: Progress = silent,
) -> Report:
    """Read result folders of ``analyse``, sessions and readers' tables; write the report into ``out``.
    ``taxonomy``: with the classes that are the readers' own. With ``asked``, these settings and else those of
    the analyses say how to count, not ``config.count``."""
    check_place(Path(out))
    people = read_readers(readers, taxonomy)
    config, told = _settled(config, asked, results)
    works = [read_work(folder, config) for folder in sessions_in(results)]
    runs = read_runs(results, [run for work in works for run in work.runs])
    others, notes = readers_of(works)
    if config.slide_by == "image":
        runs = _each_alone(runs)
    check_writable(Path(out))
    table, people = answered(together(runs), people)
    slides = [_count(name, runs, table[table["slide"] == name], config) for name in _slides(runs)]
    origins = {
        (str(run.folder), str(run.image["source"])): Shown(str(run.image["sha256"]), run.page) for run in runs
    }
    doubtful = pictures(table, doubtful_rows(table, config.gallery), origins, progress=progress)
    failed = failed_in(results, runs)
    report = Report(
        config=config,
        slides=tuple(slides),
        pooled=_count("All slides", runs, table, config),
        table=table,
        runs=tuple(runs),
        agreement=_agreement(people, others),
        doubtful=tuple(doubtful),
        notes=(*_notes(runs), *notes),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        sign_off=_sign_off([signature for work in works for signature in work.signatures], bool(works)),
        comments=tuple(dict.fromkeys(text for work in works for text in work.comments)),
        failed=tuple(failed),
        warnings=(
            *(text for work in works for text in work.lost),
            *_warnings(runs, failed),
            *told,
            *_alike(readers),
        ),
    )
    _write(Path(out), report, progress)
    return report


def _each_alone(runs: Sequence[Run]) -> list[Run]:
    from dataclasses import replace

    return [
        run if run.slide == run.image["name"] else replace(run, slide=f"{run.slide}/{run.image['name']}")
        for run in runs
    ]


def _agreement(people: Sequence[Reader], others: Sequence[Reader]) -> Agreement | None:
    """Of the first two tables; else of the two readers, of sessions too, with the most cells in common."""
    if len(people) > 1:
        return agreement(people[0], people[1])
    readers = [*people, *others]
    pairs = [agreement(a, b) for at, a in enumerate(readers) for b in readers[at + 1 :]]
    best = max(pairs, key=lambda one: one.cells, default=None)
    return best if best is not None and best.cells else None


def _sign_off(signatures: Sequence[Signature], has_sessions: bool) -> tuple[str, ...]:
    if not signatures:
        return ("Not signed yet.",) if has_sessions else ()
    return tuple(signature.text() for signature in signatures)


def _slides(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.slide for run in runs))


def _count(name: str, runs: Sequence[Run], table: "pd.DataFrame", config: ReportConfig) -> SlideCount:
    differential = count_cells(
        table["cell_type"].astype(str),
        table["reviewed"],
        table["touches_border"].astype(bool),
        config.count,
        merge_bands=config.merge_bands,
        known=known_classes([run.record for run in runs if name in (run.slide, "All slides")]),
    )
    slides = set(table["slide"]) if len(table) else {name}
    return SlideCount(
        name=name,
        images=tuple(str(run.image["name"]) for run in runs if run.slide in slides or name == "All slides"),
        differential=differential,
        enough=enough(differential, config.precision),
    )


def _notes(runs: Sequence[Run]) -> tuple[str, ...]:
    return tuple(f"{run.image['name']}: {note}" for run in runs for note in run.notes)


def _alike(readers: Sequence[Path]) -> list[str]:
    """Two people who write the same may be one who copied."""
    seen: dict[bytes, Path] = {}
    firsts = [(path, seen.setdefault(Path(path).read_bytes(), path)) for path in readers]
    return [f"The tables {first} and {path} are the same." for path, first in firsts if first != path]


def _settled(
    config: ReportConfig, asked: Mapping[str, Any] | None, results: Sequence[str | Path]
) -> tuple[ReportConfig, list[str]]:
    """With the settings to count by, and what to tell of them."""
    if asked is None:
        return config, []
    made = [read_made(folder) for folder in result_folders(results)]
    count, told = count_settings([one for one in made if one is not None], asked)
    values = {one.name: getattr(config, one.name) for one in fields(ReportConfig)}
    return ReportConfig(**{**values, "count": count}), told


def _warnings(runs: Sequence[Run], failed: Sequence[Failure]) -> list[str]:
    warnings = []
    twins = [f"{twin} (the same as {run.place})" for run in runs for twin in run.twins]
    if failed:
        warnings.append(
            f"{len(failed)} of {how_many(len(failed) + len(runs) + len(twins), 'image')} failed and "
            f"{'is' if len(failed) == 1 else 'are'} not counted: "
            f"{named([f'{Path(one.image).name} ({one.reason})' for one in failed], '; ')}."
        )
    if twins:
        warnings.append(
            f"{how_many(len(twins), 'result')} left out, as the picture is counted already: {named(twins)}. "
            "`analyse` and `results summary` count both."
        )
    made = [made_of(run.folder, run.record, run.config) for run in runs]
    here = [one for one in made if (one.folder / RUN).is_file()]  # a session keeps its pictures by itself
    outs = dict.fromkeys(one.folder.parent for one in here)
    left = [text for out in outs for text in unfinished_text(out)]
    return [*warnings, *left, *differences(made), *gone_text(here), *edited_text(here)]


def _write(out: Path, report: Report, progress: Progress) -> None:
    from napari_bloodcell.core.report.page import to_html
    from napari_bloodcell.core.report.pdf import write_pdf

    progress("Writing the report", 0, 1)
    table = report.table.drop(columns=["result"], errors="ignore")
    with atomic_path(out / "cells.csv") as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    with atomic_path(out / "cells.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    write_bytes(out / "report.csv", _counts_csv(report))
    write_bytes(out / "report.html", to_html(report).encode())
    write_pdf(out / "report.pdf", report)
    write_json(
        out / "report.json",
        "report",
        _body(report),
        config=report.config.to_json(),
        parents={
            f"{role} {run.image['name']}": str(sha256)
            for run in report.runs
            for role, sha256 in (("image", run.image["sha256"]), ("bundle", run.bundle["sha256"]))
        },
    )
    progress("Writing the report", 1, 1)


def _body(report: Report) -> dict[str, Any]:
    def one(slide: SlideCount) -> dict[str, Any]:
        return {
            "slide": slide.name,
            "images": list(slide.images),
            "differential": to_json(slide.differential),
            "enough": asdict(slide.enough) | {"text": slide.enough.text()},
        }

    agreed = report.agreement
    return {
        "title": report.config.title,
        "made": report.made,
        "pooled": one(report.pooled),
        "slides": [one(slide) for slide in report.slides],
        "reviewed": report.reviewed_text(),
        "calibration": list(report.calibration),
        "agreement": None
        if agreed is None
        else {
            "readers": list(agreed.readers),
            "cells": agreed.cells,
            "agreed": agreed.agreed,
            "kappa": agreed.kappa,
            "low": agreed.low,
            "high": agreed.high,
            "text": agreed.text(),
        },
        "sign_off": list(report.sign_off),
        "comments": list(report.comments),
        "failed": [asdict(one) for one in report.failed],
        "warnings": list(report.warnings),
        "notes": list(report.notes),
        "runs": [_provenance(run) for run in report.runs],
        "software": f"napari-bloodcell {version('napari-bloodcell')}",
        "note": RESEARCH_USE,
    }


def _provenance(run: Run) -> Mapping[str, Any]:
    return {
        "slide": run.slide,
        "image": dict(run.image),
        "bundle": dict(run.bundle),
        "scale": run.record.get("scale"),
        "finished": run.record.get("finished"),
        "versions": run.record.get("versions"),
    }


def _counts_csv(report: Report) -> bytes:
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["slide", "class", "n", "percent", "low", "high", "in_denominator", "counted", "reviewed"]
    )
    for slide in (*report.slides, report.pooled):
        d = slide.differential
        for row in d.rows:
            numbers = [f"{value:.2f}" for value in (row.percent, row.low, row.high)]
            writer.writerow([slide.name, row.class_name, row.n, *numbers, "yes", d.counted, d.reviewed])
        for name in d.unknown:
            writer.writerow([slide.name, name, "", "", "", "", NOT_KNOWN, d.counted, d.reviewed])
        for name, n in d.outside.items():
            writer.writerow([slide.name, name, n, "", "", "", "no", d.counted, d.reviewed])
    return out.getvalue().encode()
