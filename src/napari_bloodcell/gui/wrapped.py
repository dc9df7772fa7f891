"""A label whose lines break wherever they must: names of pictures are long, and may have no space in them."""

import re

from qtpy.QtWidgets import QLabel, QWidget

BREAK = "\u200b"  # shows nothing; a line may end there
LONG = 16  # letters of a word; shorter ones fit into the narrowest panel


class Wrapped(QLabel):
    """Never wider than its panel: a word that cannot be broken would make all of it as wide as itself."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        self.setMinimumWidth(1)
        self.setText(text)

    def setText(self, text: str) -> None:  # noqa: N802 (Qt's name)
        super().setText(breakable(text))

    def text(self) -> str:
        return str(super().text()).replace(BREAK, "")


def breakable(text: str) -> str:
    """Long words may end after a sign, or anywhere where they have none."""
    return re.sub(rf"[^\s<>]{{{LONG},}}", lambda word: _broken(word[0]), text)


def _broken(word: str) -> str:
    parts = re.split(r"(?<=[_\-./\\,:;])", word)
    pieces = [piece[at : at + LONG] for piece in parts for at in range(0, len(piece), LONG)]
    return BREAK.join(piece for piece in pieces if piece)
