"""Making a model right on a new lab from a few corrected cells, and choosing the cells to correct.

``adapt`` tries several updates, judges each on corrected cells it did not see, and keeps the best one only
where it is better than no update. ``restaining`` makes the one that needs images: the lab's cells in the
stain of a lab the model knows. ``suggest`` says which cells to look at next.
"""

from napari_bloodcell.core.adapt.adapting import Adaptation, adapt
from napari_bloodcell.core.adapt.restaining import Restained, restain_cells, restain_of_image
from napari_bloodcell.core.adapt.suggesting import suggest

__all__ = ["Adaptation", "Restained", "adapt", "restain_cells", "restain_of_image", "suggest"]
