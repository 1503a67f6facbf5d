// The live page: searches in an address. They run after the model has seen the unchanged image.

/** Each search changes the view, or adds to the changes of an image. */
const FINDS = {
  attended: (image, changes) => { changes.covered = attended(image); },
  edges: (image) => Object.assign(view, edgeHead(image)),
};

/** The fifth of the patches that gets the most attention in the last layer, from the class token or,
 * if there is none, from all patches. */
function attended(image) {
  const received = new Float32Array(PATCHES);
  for (let query = 0; query < (FIRST || T); query++)
    attentionOf(before.get(image), data.depth - 1, "mean", query).subarray(FIRST).forEach((p, i) => { received[i] += p; });
  const order = [...received.keys()].sort((a, b) => received[b] - received[a]);
  return order.slice(0, Math.ceil(PATCHES / 5)).sort((a, b) => a - b);
}

/** The head that attends most to patches with edges: {layer, head}. */
function edgeHead(image) {
  const edges = edgesOf(data.images[image].pixels);
  let best = { layer: 0, head: 0 }, maxScore = -Infinity;
  for (let layer = 0; layer < data.depth; layer++)
    for (let head = 0; head < HEADS; head++) {
      const score = correlation(attentionOf(before.get(image), layer, head).subarray(FIRST), edges);
      if (score > maxScore) [maxScore, best] = [score, { layer, head }];
    }
  return best;
}

/** The contrast of each patch: the standard deviation of its pixels, over all channels. */
function edgesOf(pixels) {
  return Array.from({ length: PATCHES }, (_, patch) => {
    let sum = 0, squares = 0, n = 0;
    eachPixel(patch, (row, column, at) => {
      for (let c = 0; c < CHANNELS; c++, n++) { sum += pixels[at + c]; squares += pixels[at + c] ** 2; }
    });
    return Math.sqrt(Math.max(0, squares / n - (sum / n) ** 2));
  });
}

/** Pearson's correlation; 0 if one of them is constant. */
function correlation(x, y) {
  const mean = (z) => z.reduce((a, b) => a + b, 0) / z.length;
  const [mx, my] = [mean(x), mean(y)];
  let xy = 0, xx = 0, yy = 0;
  for (let i = 0; i < x.length; i++) {
    xy += (x[i] - mx) * (y[i] - my); xx += (x[i] - mx) ** 2; yy += (y[i] - my) ** 2;
  }
  return xx && yy ? xy / Math.sqrt(xx * yy) : 0;
}
