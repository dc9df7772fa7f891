"""What is to be written into an open session: in order, and again where a full disk refused it.

Lines of the audit keep their order and their time: where one is refused none behind it is tried, and none is
written twice. Outlines need more room than a line: where they are refused the lines behind them are written
all the same, and the file says up to which line it holds them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from napari_bloodcell.core.errors import BloodcellError
from napari_bloodcell.core.session.audit import Change, now
from napari_bloodcell.core.session.cells import SessionCells
from napari_bloodcell.core.session.folder import Session

Taken = Callable[[bool], tuple[SessionCells, Sequence[Change]] | None]


@dataclass(kw_only=True, eq=False)
class Lines:
    """Changes for the audit, as of when they were made."""

    changes: Sequence[Change]
    who: str
    when: str = field(default_factory=now)

    @property
    def images(self) -> set[str]:
        return {one.image for one in self.changes if one.image}

    @property
    def count(self) -> int:
        return len(self.changes)

    def write(self, session: Session) -> None:
        session.record(self.changes, who=self.who, when=self.when)


@dataclass(kw_only=True, eq=False)
class Outlines:
    """Outlines and table of an image. ``taken(anew)`` gives them with the lines that say what differs, or
    None where nothing is new; ``told`` is called once those lines are written. Of one ``source`` the newest
    count."""

    key: str
    source: object
    taken: Taken
    told: Callable[[], None]
    anew: bool = False  # they are to be written whether the outlines differ or not
    count: int = 1
    _cells: SessionCells | None = None
    _changes: Sequence[Change] = ()
    _holds: int | None = None  # lines written when they were first refused: later ones are not in them

    @property
    def images(self) -> set[str]:
        return {self.key}

    def write(self, session: Session) -> None:
        if self._cells is None:
            if (found := self.taken(self.anew)) is None:
                return
            self._cells, self._changes = found
        lines = len(session.events)
        try:
            session.record(self._changes)
            self._changes = ()
            self.told()
            session.save_cells(self.key, self._cells, holds=self._holds)
        except (BloodcellError, OSError):
            self._holds = lines if self._holds is None else self._holds
            raise


@dataclass(kw_only=True, eq=False)
class SetAside:
    """Other outlines are coming for an image."""

    key: str
    count: int = 0

    @property
    def images(self) -> set[str]:
        return {self.key}

    def write(self, session: Session) -> None:
        session.set_aside(self.key)


Job = Lines | Outlines | SetAside


class Pending:
    """For one thread at a time; ``count``, ``images`` and ``why`` may be read from others."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._jobs: list[Job] = []
        self.why = ""  # what refused the first of them

    @property
    def count(self) -> int:
        """How many changes are not written yet."""
        return sum(job.count for job in self._jobs)

    @property
    def images(self) -> set[str]:
        return {key for job in self._jobs for key in job.images}

    def add(self, job: Job) -> None:
        jobs = self._jobs
        if isinstance(job, Outlines):
            older = [one for one in jobs if isinstance(one, Outlines) and one.source is job.source]
            job.anew = job.anew or bool(older)
            jobs = [one for one in jobs if one not in older]
        self._jobs = [*jobs, job]

    def write(self) -> None:
        """All that can be written; what is refused stays, and ``why`` says so. A fault of ours is raised."""
        refused: Exception | None = None
        stuck: set[str] = set()
        for job in self._jobs:
            if not isinstance(job, Lines) and job.images & stuck:
                continue  # the outlines before it come first
            try:
                job.write(self._session)
            except (BloodcellError, OSError) as error:
                refused = refused or error
                if isinstance(job, Lines):
                    break
                stuck |= job.images
            except Exception:
                self._done(job)  # it would fail for ever
                raise
            else:
                self._done(job)
        self.why = "" if refused is None else str(refused)

    def _done(self, job: Job) -> None:
        self._jobs = [one for one in self._jobs if one is not job]
