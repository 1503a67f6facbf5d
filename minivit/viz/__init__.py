"""Pictures of a training and of what a model does. Each function returns a matplotlib Figure."""

from minivit.viz.save import save_figure
from minivit.viz.training import confusion_figure, curves_figure

__all__ = ["confusion_figure", "curves_figure", "save_figure"]
