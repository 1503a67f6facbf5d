"""The math of a Vision Transformer: one idea per file, forward next to backward, no state.

Letters in shape comments:

    B  images in the batch          C  width (`dim`)             K  classes
    T  tokens of an image           H  heads                     P  side of a patch in pixels
    N  patches of an image          D  size of a head, C = H·D   F  hidden width of the MLP

Every operation is a pair::

    out, cache = layernorm_forward(x, gamma, beta)
    dx, dgamma, dbeta = layernorm_backward(dout, cache)

Both are pure: no argument is changed, nothing is stored. Forward returns what backward needs as
`cache`. A gradient is named `d` + the name of its variable: `dx` is ∂loss/∂x, with the shape of
`x`. Arrays are NumPy's or CuPy's; float32 in gives float32 out, float64 gives float64.
"""

from minivit.functional.attention import (
    AttentionCache,
    Extras,
    MultiHeadAttentionCache,
    attention_backward,
    attention_forward,
    merge_heads,
    multi_head_attention_backward,
    multi_head_attention_forward,
    split_heads,
)
from minivit.functional.conv2d import conv2d_backward, conv2d_forward
from minivit.functional.cross_entropy import cross_entropy_backward, cross_entropy_forward
from minivit.functional.drop_path import drop_path_backward, drop_path_forward
from minivit.functional.dropout import dropout_backward, dropout_forward, dropout_mask
from minivit.functional.flash_attention import (
    FlashAttentionCache,
    flash_attention_backward,
    flash_attention_forward,
)
from minivit.functional.gelu import (
    erf,
    gelu_backward,
    gelu_forward,
    gelu_tanh_backward,
    gelu_tanh_forward,
    quick_gelu_backward,
    quick_gelu_forward,
)
from minivit.functional.groupnorm import (
    groupnorm_backward,
    groupnorm_forward,
    standardize_backward,
    standardize_forward,
)
from minivit.functional.interpolate import (
    interpolate_backward,
    interpolate_forward,
    interpolation_matrix,
    resize_positions_backward,
    resize_positions_forward,
)
from minivit.functional.layer_scale import layer_scale_backward, layer_scale_forward
from minivit.functional.layernorm import layernorm_backward, layernorm_forward
from minivit.functional.linear import linear_backward, linear_forward
from minivit.functional.masking import (
    Corruption,
    corrupt_backward,
    corrupt_forward,
    corruption,
    take_tokens_backward,
    take_tokens_forward,
)
from minivit.functional.patches import (
    patchify_backward,
    patchify_forward,
    unpatchify_backward,
    unpatchify_forward,
)
from minivit.functional.pooling import (
    max_pool_backward,
    max_pool_forward,
    sequence_pool_backward,
    sequence_pool_forward,
)
from minivit.functional.position import sincos_2d
from minivit.functional.relative import (
    relative_backward,
    relative_bias_backward,
    relative_bias_forward,
    relative_forward,
    relative_offsets,
)
from minivit.functional.relu import relu_backward, relu_forward
from minivit.functional.rmsnorm import rmsnorm_backward, rmsnorm_forward
from minivit.functional.rotary import (
    rotary_axial,
    rotary_backward,
    rotary_dinov3,
    rotary_forward,
)
from minivit.functional.softmax import softmax_backward, softmax_forward
from minivit.functional.squared_error import squared_error_backward, squared_error_forward
from minivit.functional.swiglu import swiglu_backward, swiglu_forward
from minivit.functional.tanh import tanh_backward, tanh_forward
from minivit.functional.tokens import (
    class_token_backward,
    class_token_forward,
    mean_pool_backward,
    mean_pool_forward,
    position_backward,
    position_forward,
    registers_backward,
    registers_forward,
)

__all__ = [
    "AttentionCache",
    "Corruption",
    "Extras",
    "FlashAttentionCache",
    "MultiHeadAttentionCache",
    "attention_backward",
    "attention_forward",
    "class_token_backward",
    "class_token_forward",
    "conv2d_backward",
    "conv2d_forward",
    "corrupt_backward",
    "corrupt_forward",
    "corruption",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "drop_path_backward",
    "drop_path_forward",
    "dropout_backward",
    "dropout_forward",
    "dropout_mask",
    "erf",
    "flash_attention_backward",
    "flash_attention_forward",
    "gelu_backward",
    "gelu_forward",
    "gelu_tanh_backward",
    "gelu_tanh_forward",
    "groupnorm_backward",
    "groupnorm_forward",
    "interpolate_backward",
    "interpolate_forward",
    "interpolation_matrix",
    "layer_scale_backward",
    "layer_scale_forward",
    "layernorm_backward",
    "layernorm_forward",
    "linear_backward",
    "linear_forward",
    "max_pool_backward",
    "max_pool_forward",
    "mean_pool_backward",
    "mean_pool_forward",
    "merge_heads",
    "multi_head_attention_backward",
    "multi_head_attention_forward",
    "patchify_backward",
    "patchify_forward",
    "position_backward",
    "position_forward",
    "quick_gelu_backward",
    "quick_gelu_forward",
    "registers_backward",
    "registers_forward",
    "relative_backward",
    "relative_bias_backward",
    "relative_bias_forward",
    "relative_forward",
    "relative_offsets",
    "relu_backward",
    "relu_forward",
    "resize_positions_backward",
    "resize_positions_forward",
    "rmsnorm_backward",
    "rmsnorm_forward",
    "rotary_axial",
    "rotary_backward",
    "rotary_dinov3",
    "rotary_forward",
    "sequence_pool_backward",
    "sequence_pool_forward",
    "sincos_2d",
    "softmax_backward",
    "softmax_forward",
    "split_heads",
    "squared_error_backward",
    "squared_error_forward",
    "standardize_backward",
    "standardize_forward",
    "swiglu_backward",
    "swiglu_forward",
    "take_tokens_backward",
    "take_tokens_forward",
    "tanh_backward",
    "tanh_forward",
    "unpatchify_backward",
    "unpatchify_forward",
]
