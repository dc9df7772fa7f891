"""From what a data set writes to a class: its own codes first, then the taxonomy."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from napari_bloodcell.core.errors import TaxonomyError
from napari_bloodcell.core.taxonomy import DEFAULT, FINE, Taxonomy, normalise

Codes = Mapping[str, str | None]


@dataclass(frozen=True)
class Named:
    """Either a class, or the reason why there is none."""

    class_name: str | None
    reason: str = ""


@dataclass(frozen=True)
class Namer:
    """Understands the class names of one set. No codes: only the taxonomy and its aliases."""

    taxonomy: Taxonomy = DEFAULT
    codes: Codes = field(default_factory=dict)

    def __call__(self, written: str) -> Named:
        codes = {normalise(code): meant for code, meant in self.codes.items()}
        key = normalise(written)
        if key in codes and codes[key] is None:
            # A lab that lists the class itself wants it, whatever the papers left out.
            if key in self.taxonomy.parents and key not in FINE:
                return Named(key)
            return Named(None, f"class {written!r} is left out of this set on purpose")
        try:
            return Named(self.taxonomy.resolve(codes.get(key) or written))
        except TaxonomyError:
            near = self._nearest(written, codes)
            hint = f"nearest known: {near}" if near else "none is near; classes.csv takes your own"
            return Named(None, f"unknown class {written!r} ({hint})")

    def _nearest(self, written: str, codes: Codes) -> str | None:
        near = self.taxonomy.nearest(written, also=codes)
        meant = codes.get(near) if near else None
        return f"{near} = {meant}" if meant and meant != near else near
