// The logit lens: what the head would predict between the layers. The final norm and the head, which
// were trained for the last layer's tokens, are applied early.

/** streams: the L + 1 tensors (T, C) of `forward` -> {pooled: (L + 1, K), tokens: (L + 1, T, K)},
 * probabilities: from what the model classifies by, and from each token alone. */
function logitLens({ config, tensors }, streams) {
  const [rows, columns] = config.grid;
  const T = rows * columns + config.num_prefix;
  const run = { config, tensors, sizes: { T, C: config.dim, first: config.num_prefix }, record: () => {} };
  const K = tensors["head.weight"].shape[1];
  const pooled = new Float32Array(streams.length * K), tokens = new Float32Array(streams.length * T * K);
  streams.forEach((x, layer) => {
    pooled.set(softmax(classify(x, run), K), layer * K);
    const normed = layernorm(x, tensors["norm.weight"], tensors["norm.bias"], config.norm_eps);
    tokens.set(softmax(toLogits(normed, run), K), layer * T * K);
  });
  return { pooled, tokens };
}
