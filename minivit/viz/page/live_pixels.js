// The live page: the model's input pixels, and changes to them.
const PATCH = data.patch;
const [HEIGHT, WIDTH] = [ROWS * PATCH, COLUMNS * PATCH];
const CHANNELS = data.channels;
for (const image of data.images) image.pixels = bytes(image.pixels);

/** What the model sees: the patches in their order, some blurred, some in the mean color of the
 * training images. */
function visible({ pixels, order, blurred, covered }) {
  const arrangedPixels = arranged(pixels, order);
  const seen = Uint8Array.from(arrangedPixels);
  for (const patch of blurred) eachPixel(patch, (row, column, at) => seen.set(meanAround(arrangedPixels, row, column), at));
  const mean = data.mean.map((fraction) => clamp(Math.round(255 * fraction), 256));
  for (const patch of covered) eachPixel(patch, (row, column, at) => seen.set(mean, at));
  return seen;
}

/** Pixels with the patches rearranged: order has the patch for each position; undefined: unchanged. */
function arranged(pixels, order) {
  if (!order) return pixels;
  const moved = new Uint8Array(pixels.length);
  order.forEach((from, to) => {
    for (let row = 0; row < PATCH; row++) {
      const start = startOf(from, row);
      moved.set(pixels.subarray(start, start + PATCH * CHANNELS), startOf(to, row));
    }
  });
  return moved;
}

/** The offset of a patch's row in the pixels. */
function startOf(patch, row) {
  const [top, left] = [Math.floor(patch / COLUMNS) * PATCH, (patch % COLUMNS) * PATCH];
  return ((top + row) * WIDTH + left) * CHANNELS;
}

function eachPixel(patch, visit) {
  const [top, left] = [Math.floor(patch / COLUMNS) * PATCH, (patch % COLUMNS) * PATCH];
  for (let row = top; row < top + PATCH; row++)
    for (let column = left; column < left + PATCH; column++) visit(row, column, (row * WIDTH + column) * CHANNELS);
}

/** The mean over a square of pixels, half a patch to each side. */
function meanAround(pixels, row, column) {
  const reach = Math.ceil(PATCH / 2);
  const sums = Array(CHANNELS).fill(0);
  let count = 0;
  for (let r = Math.max(0, row - reach); r <= Math.min(HEIGHT - 1, row + reach); r++)
    for (let c = Math.max(0, column - reach); c <= Math.min(WIDTH - 1, column + reach); c++, count++)
      for (let k = 0; k < CHANNELS; k++) sums[k] += pixels[(r * WIDTH + c) * CHANNELS + k];
  return sums.map((sum) => Math.round(sum / count));
}

/** A permutation of 0 to count - 1. */
function shuffled(count, random = Math.random) {
  const order = [...Array(count).keys()];
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** A source of numbers from 0 to 1, always the same ones (mulberry32), so that a link or a tour that
 * shuffles patches shows the same order each time. */
function seeded(seed = 1) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A dot of the chosen color; x and y in pixels. */
function paint(pixels, x, y, radius) {
  const rgb = [1, 3, 5].map((at) => parseInt(view.color.slice(at, at + 2), 16));
  const color = CHANNELS === 3 ? rgb : [gray(rgb)];
  for (let row = Math.max(0, Math.floor(y - radius)); row < Math.min(HEIGHT, y + radius); row++)
    for (let column = Math.max(0, Math.floor(x - radius)); column < Math.min(WIDTH, x + radius); column++)
      if ((row + 0.5 - y) ** 2 + (column + 0.5 - x) ** 2 <= radius ** 2) pixels.set(color, (row * WIDTH + column) * CHANNELS);
}

function gray([red, green, blue]) { return Math.round(0.299 * red + 0.587 * green + 0.114 * blue); }
