"""Making a model right on a new lab from a few corrected cells, and choosing the cells to correct.

``adapt`` tries several updates, judges each on corrected cells it did not see, and keeps the best one only
where it is better than no update. ``suggest`` says which cells to look at next.
"""

from napari_bloodcell.core.adapt.adapting import Adaptation, adapt
from napari_bloodcell.core.adapt.suggesting import suggest

__all__ = ["Adaptation", "adapt", "suggest"]
