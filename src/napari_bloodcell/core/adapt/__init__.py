"""Making a model right on a new lab from a few corrected cells, and choosing the cells to correct.

``adapt`` tries what updates there are, judges each on corrected cells it did not see, and keeps one or none.
``adapt_to_fields`` does so for images at hand. ``restaining`` makes the update that needs images: the lab's
cells in the stain of a lab the model knows. ``suggest`` says which cells to look at next.
"""

from napari_bloodcell.core.adapt.adapting import Adaptation, adapt
from napari_bloodcell.core.adapt.of_fields import Field, adapt_to_fields
from napari_bloodcell.core.adapt.restaining import Restained, restain_cells
from napari_bloodcell.core.adapt.suggesting import suggest

__all__ = ["Adaptation", "Field", "Restained", "adapt", "adapt_to_fields", "restain_cells", "suggest"]
