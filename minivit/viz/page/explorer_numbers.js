// The explorer: its state, and the numbers that it shows.
const SHOWN = data.layers.length;
const MAPS = [...Array(HEADS).keys(), "mean", "max"].concat(data.whole ? ["rollout"] : []);

const state = {
  image: 0, layer: SHOWN - 1, map: "mean", query: data.prefix[0] === "the class token" ? 0 : middle(), target: null,
  source: 0, // the image of the query
  locked: false, show: "to", smooth: false, shared: false, opacity: 75,
};

/** Weights of one image, [layer][head]: T·T numbers, row = the query. A byte b stands for
 * (b / 255)², so that small weights keep their digits. */
function decode(image) {
  const square = Float32Array.from({ length: 256 }, (_, b) => (b / 255) ** 2);
  const packed = bytes(image.maps);
  const layers = [];
  for (let l = 0; l < SHOWN; l++) {
    const heads = {};
    for (let h = 0; h < HEADS; h++) {
      const at = (l * HEADS + h) * T * T;
      heads[h] = Float32Array.from(packed.subarray(at, at + T * T), (b) => square[b]);
    }
    heads.mean = fuse(heads, (a, b) => a + b, 1 / HEADS);
    heads.max = fuse(heads, Math.max, 1);
    layers.push(heads);
  }
  if (data.whole) rollout(layers);
  return layers;
}

function fuse(heads, join, scale) {
  const out = Float32Array.from(heads[0]);
  for (let h = 1; h < HEADS; h++) heads[h].forEach((p, i) => { out[i] = join(out[i], p); });
  return out.map((p) => p * scale);
}

/** Rollout to each layer: add the identity, renormalize rows, multiply the layers. */
function rollout(layers) {
  let before = null;
  for (const heads of layers) {
    const step = Float32Array.from(heads.mean);
    for (let i = 0; i < T; i++) {
      step[i * T + i] += 1;
      let sum = 0;
      for (let j = 0; j < T; j++) sum += step[i * T + j];
      for (let j = 0; j < T; j++) step[i * T + j] /= sum;
    }
    before = before ? product(step, before) : step;
    heads.rollout = before;
  }
}

function product(a, b) {
  const out = new Float32Array(T * T);
  for (let i = 0; i < T; i++)
    for (let k = 0; k < T; k++) {
      const weight = a[i * T + k];
      for (let j = 0; j < T; j++) out[i * T + j] += weight * b[k * T + j];
    }
  return out;
}

const decoded = new Map();
function maps() {
  if (!decoded.has(state.image)) decoded.set(state.image, decode(data.images[state.image]));
  return decoded.get(state.image);
}

function current() { return maps()[state.layer][state.map]; }

/** Weights between the query and all tokens, in the chosen direction; tokens before the patches
 * come first. */
function weights(map) {
  const index = state.show === "by" ? (token) => token * T + state.query : (token) => state.query * T + token;
  return Float32Array.from({ length: T }, (_, token) => map[index(token)]);
}

/** Features of one image's tokens, each of length 1: T·C numbers. */
function unit(image) {
  const packed = new Int8Array(bytes(image.features).buffer);
  const C = packed.length / T;
  const out = Float32Array.from(packed);
  for (let i = 0; i < T; i++) {
    const row = out.subarray(i * C, (i + 1) * C);
    const length = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0)) || 1;
    row.forEach((x, c) => { row[c] = x / length; });
  }
  return out;
}

const units = new Map();
function features(index) {
  if (!units.has(index)) units.set(index, unit(data.images[index]));
  return units.get(index);
}

/** Cosine similarity of the query, a token of the image `state.source`, to all tokens of an image. */
function similarity(index) {
  const all = features(index);
  const C = all.length / T;
  const query = features(state.source).subarray(state.query * C, (state.query + 1) * C);
  return Float32Array.from({ length: T }, (_, token) => {
    let sum = 0;
    for (let c = 0; c < C; c++) sum += query[c] * all[token * C + c];
    return sum;
  });
}

/** What the stage shows: one number per token. */
function shown() { return state.show === "like" ? similarity(state.image) : weights(current()); }

function isQueryImage() { return state.source === state.image; }

function entropy(map) {
  let bits = 0;
  for (let j = 0; j < T; j++) {
    const p = map[state.query * T + j];
    if (p > 0) bits -= p * Math.log2(p);
  }
  return bits;
}
