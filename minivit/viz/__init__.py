"""Visualization of a model: its training, its attention, its weights.

maps.py, weights.py: the math. look.py: one pass of a model, with all of its outputs. methods.py:
attribution methods, by name. scores.py: scores of maps. lens.py, knock_out.py: the prediction
after each layer, and without each attention head. Functions named …_figure return a matplotlib
Figure; `explore` and `live_page` return a page.
"""

from minivit.viz.attention_figures import (
    distance_figure,
    filters_figure,
    heads_figure,
    overlay_figure,
    position_figure,
    rollout_figure,
    similarity_figure,
)
from minivit.viz.explorer import explore
from minivit.viz.gallery import Judged, gallery_figure, judged_figure
from minivit.viz.knock_out import knock_out, knock_out_figure
from minivit.viz.lens import Lens, lens_figure, logit_lens
from minivit.viz.live import live_page, require_known
from minivit.viz.look import Look, look
from minivit.viz.maps import (
    attention_distance,
    entropy,
    fuse_heads,
    gradient_rollout,
    patch_map,
    relevance,
    rollout,
    token_similarity,
)
from minivit.viz.methods import METHODS
from minivit.viz.pages import Page
from minivit.viz.restored import patches_figure, restore
from minivit.viz.save import save_figure
from minivit.viz.scores import score_methods
from minivit.viz.tour import read_tour
from minivit.viz.training_figures import confusion_figure, curves_figure
from minivit.viz.weights import patch_filters, position_similarity

__all__ = [
    "METHODS",
    "Judged",
    "Lens",
    "Look",
    "Page",
    "attention_distance",
    "confusion_figure",
    "curves_figure",
    "distance_figure",
    "entropy",
    "explore",
    "filters_figure",
    "fuse_heads",
    "gallery_figure",
    "gradient_rollout",
    "heads_figure",
    "judged_figure",
    "knock_out",
    "knock_out_figure",
    "lens_figure",
    "live_page",
    "logit_lens",
    "look",
    "overlay_figure",
    "patch_filters",
    "patch_map",
    "patches_figure",
    "position_figure",
    "position_similarity",
    "read_tour",
    "relevance",
    "require_known",
    "restore",
    "rollout",
    "rollout_figure",
    "save_figure",
    "score_methods",
    "similarity_figure",
    "token_similarity",
]
