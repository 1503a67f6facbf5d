"""What a live page shows if its scripts do not run: maps drawn in advance."""

import base64
import html
import io

import numpy as np

from minivit.functional import softmax_forward
from minivit.models import ViTConfig
from minivit.viz.attention_figures import heads_figure
from minivit.viz.look import Look


def still_maps(seen: Look, config: ViTConfig, name: str, class_names: list[str]) -> str:
    """HTML: the reason, the prediction, and a figure of every layer and head of the first image."""
    query = 0 if config.num_prefix else _middle(config)
    figure = heads_figure(seen.maps[:, 0], config.grid, query, config.num_prefix)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    png = base64.b64encode(buffer.getvalue()).decode()
    probs, _ = softmax_forward(seen.logits[0].astype(np.float64))
    best = int(probs.argmax())
    prediction = f"{name}: {class_names[best]}, {100 * probs[best]:.1f} %"
    reason = (
        "This page runs the model in a script and a web worker, and one of them is not available. "
        "The page loads nothing. These maps were drawn when the page was made."
    )

    return (
        f"<p>{reason}</p><p><strong>{html.escape(prediction)}</strong></p>"
        f'<img alt="Attention of every layer and head" src="data:image/png;base64,{png}">'
    )


def _middle(config: ViTConfig) -> int:
    rows, columns = config.grid
    return config.num_prefix + rows // 2 * columns + columns // 2
