"""Result folders and sessions -> report: counted by slide and pooled, written in every form."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_bloodcell.core.artifact import atomic_path, check_writable, write_bytes, write_json
from napari_bloodcell.core.cells import by_name
from napari_bloodcell.core.config.report import ReportConfig
from napari_bloodcell.core.progress import Progress, silent
from napari_bloodcell.core.records import PERSON
from napari_bloodcell.core.report.agreement import Agreements, agreements, joined
from napari_bloodcell.core.report.counting import (
    ALL,
    SlideCount,
    count_patients,
    count_runs,
    count_slides,
    each_alone,
)
from napari_bloodcell.core.report.differential import (
    NOT_KNOWN,
    RESEARCH_USE,
    counted_as,
    to_json,
)
from napari_bloodcell.core.report.gallery import Doubtful, Shown, doubtful_rows, pictures
from napari_bloodcell.core.report.patients import Patient, to_json_of, write_patients
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
from napari_bloodcell.core.report.readers import Reader, read_readers
from napari_bloodcell.core.report.sessions import Signature, read_work, readers_of, sessions_in
from napari_bloodcell.core.report.slides import (
    RUN,
    Run,
    answered,
    failed_in,
    read_runs,
    result_folders,
    together,
    with_patients,
)
from napari_bloodcell.core.rows import csv_text, harmless_table
from napari_bloodcell.core.taxonomy import DEFAULT, Taxonomy
from napari_bloodcell.core.words import how_many, one_line, some_of

if TYPE_CHECKING:
    import pandas as pd

UNRECORDED = "What the probabilities are calibrated on was not recorded by the analysis."


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    config: ReportConfig
    slides: tuple[SlideCount, ...]
    patients: tuple[Patient, ...]  # none where it is not known whose the slides are
    pooled: SlideCount
    table: "pd.DataFrame"
    runs: tuple[Run, ...]
    agreement: Agreements | None
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
        agreed = () if self.agreement is None else self.agreement.texts()
        comments = tuple(f"Comment: {text}" for text in self.comments)
        return (self.reviewed_text(), *agreed, *self.sign_off, *comments)


def make_report(  # noqa: PLR0913 (what is given, and how)
    results: Sequence[str | Path],
    out: Path,
    config: ReportConfig = ReportConfig(),
    *,
    asked: Mapping[str, Any] | None = None,
    readers: Sequence[Path] = (),
    patients: Path | None = None,
    taxonomy: Taxonomy = DEFAULT,
    progress: Progress = silent,
) -> Report:
    """Read result folders of ``analyse``, sessions and readers' tables; write the report into ``out``.
    ``patients``: whose the slides are (CSV), where the list of images did not say.
    ``taxonomy``: with the classes that are the readers' own. With ``asked``, these settings and else those of
    the analyses say how to count, not ``config.count``."""
    check_place(Path(out))
    people = read_readers(readers, taxonomy)
    config, told = _settled(config, asked, results)
    works = [read_work(folder, config) for folder in sessions_in(results)]
    runs = with_patients(read_runs(results, [run for work in works for run in work.runs]), patients)
    others, notes = readers_of(works)
    check_writable(Path(out))
    ours = together(runs)
    table, people = answered(ours, people)
    others_said = _counted_otherwise(ours, table, config)
    patients_found, patients_told = count_patients(runs, table, config)
    if config.slide_by == "image":
        runs = each_alone(runs)
        table = table.assign(slide=[run.slide for run in runs for _ in range(len(run.table))])
    origins = {
        (str(run.folder), str(run.image["source"])): Shown(str(run.image["sha256"]), run.page) for run in runs
    }
    doubtful = pictures(table, doubtful_rows(table, config.gallery), origins, progress=progress)
    failed = failed_in(results, runs)
    report = Report(
        config=config,
        slides=tuple(count_slides(runs, table, config)),
        patients=tuple(patients_found),
        pooled=count_runs(ALL, runs, table, config),
        table=table,
        runs=tuple(runs),
        agreement=_agreement(people, others),
        doubtful=tuple(doubtful),
        notes=(*_notes(runs), *notes),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        sign_off=_sign_off(
            [signature for work in works for signature in work.signatures], bool(works), others_said, people
        ),
        comments=tuple(dict.fromkeys(text for work in works for text in work.comments)),
        failed=tuple(failed),
        warnings=(
            *(text for work in works for text in work.lost),
            *_warnings(runs, failed),
            *told,
            *patients_told,
            *_alike(readers),
        ),
    )
    _write(Path(out), report, progress)
    return report


def _counted_otherwise(before: "pd.DataFrame", after: "pd.DataFrame", config: ReportConfig) -> int:
    """How many cells fall into another class of the count."""
    return sum(
        counted_as(was, config.count.level, DEFAULT) != counted_as(now, config.count.level, DEFAULT)
        for was, now in zip(before["cell_type"], after["cell_type"], strict=True)
    )


def _agreement(people: Sequence[Reader], others: Sequence[Reader]) -> Agreements | None:
    """Of the tables, and of the sessions' people. Who has a table and worked in a session is one person."""
    return agreements(joined(people, others), always=people)


def _sign_off(
    signatures: Sequence[Signature], has_sessions: bool, others_said: int, people: Sequence[Reader]
) -> tuple[str, ...]:
    """``others_said``: how many cells count as ``people``'s tables say, and otherwise in the session."""
    if not signatures:
        return ("Not signed yet.",) if has_sessions else ()
    texts = [signature.text() for signature in signatures]
    if others_said:
        it = "it" if others_said == 1 else "them"
        named = f"as {' and '.join(one.name for one in people)} named {it}"
        texts.append(
            f"Those signatures are under the session's own count. The count of this report is another one: "
            f"{how_many(others_said, 'cell')} of it {'is' if others_said == 1 else 'are'} counted {named}."
        )
    return tuple(texts)


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
        total = how_many(len(failed) + len(runs) + len(twins), "image")
        head = f"{len(failed)} of {total} failed and {'is' if len(failed) == 1 else 'are'} not counted:"
        each = some_of([f"{one_line(by_name(Path(one.image).name, one.reason))}" for one in failed])
        warnings.append("\n- ".join([head, *each]))
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
        harmless_table(table).to_csv(temporary, index=False, float_format="%.6g")
    with atomic_path(out / "cells.parquet") as temporary:
        _of_one_kind(table).to_parquet(temporary, index=False)
    write_bytes(out / "report.csv", _counts_csv(report))
    write_patients(out, report.patients)
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

    return {
        "title": report.config.title,
        "made": report.made,
        "pooled": one(report.pooled),
        "slides": [one(slide) for slide in report.slides],
        "patients": [to_json_of(patient) for patient in report.patients],
        "reviewed": report.reviewed_text(),
        "calibration": list(report.calibration),
        "agreement": None if report.agreement is None else report.agreement.to_json(),
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


def _of_one_kind(table: "pd.DataFrame") -> "pd.DataFrame":
    """A column of numbers in one session may be text in another: then it is text."""
    mixed = [
        name
        for name in table
        if table[name].dtype.kind == "O" and len({type(value) for value in table[name].dropna()}) > 1
    ]
    texts = {str(name): table[name].map(str, na_action="ignore").astype(object) for name in mixed}
    return table.assign(**texts)


def _counts_csv(report: Report) -> bytes:
    rows: list[list[Any]] = [
        ["slide", "class", "n", "percent", "low", "high", "in_denominator", "counted", "reviewed"]
    ]
    for slide in (*report.slides, report.pooled):
        d = slide.differential
        for row in d.rows:
            numbers = [f"{value:.2f}" for value in (row.percent, row.low, row.high)]
            rows.append([slide.name, row.class_name, row.n, *numbers, "yes", d.counted, d.reviewed])
        end = [d.counted, d.reviewed]
        rows += [[slide.name, name, "", "", "", "", NOT_KNOWN, *end] for name in d.unknown]
        rows += [[slide.name, name, n, "", "", "", "no", *end] for name, n in d.outside.items()]
    return csv_text(rows).encode()
