"""What was changed of the classes on a layer, step by step, so that it can be taken back."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

PERSON = "person "  # how cell_type_source begins where a person decided


@dataclass(frozen=True)
class Given:
    """One cell's class before and after."""

    cell_id: int
    old: str
    old_source: str
    new: str
    new_source: str

    def back(self) -> "Given":
        return Given(self.cell_id, self.new, self.new_source, self.old, self.old_source)


Step = tuple[int, tuple[Given, ...]]


@dataclass
class History:
    done: list[Step] = field(default_factory=list)
    undone: list[Step] = field(default_factory=list)

    def after_model(self, said: Mapping[int, tuple[str, str]]) -> None:
        """A model has named all cells anew but those that a person decided, of which ``said`` holds what the
        model says: what a person gave can be taken back still, and then the model's word is the new one."""

        def anew(one: Given) -> Given:
            by_person = one.old_source.startswith(PERSON)
            return (
                one if by_person else replace(one, old=said[one.cell_id][0], old_source=said[one.cell_id][1])
            )

        kept = ((step, tuple(anew(one) for one in each if one.cell_id in said)) for step, each in self.done)
        self.done = [(step, each) for step, each in kept if each]
        self.undone = []
