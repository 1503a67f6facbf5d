"use strict";
// The math of a Vision Transformer, forward only, to be read alongside minivit/functional/: the same
// names, the same formulas, one image at a time. Letters in shapes are explained there. A tensor is a
// Float32Array, row by row; a weight is {shape, data}. Sums are float64, like all numbers in JavaScript.

/** Cut an image into squares: (channels, H, W) -> (N, P·P·channels), patches in reading order, the
 * numbers of each in (row, column, channel) order. See patches.py. */
function patchify(image, [channels, H, W], P) {
  const patches = new Float32Array(image.length);
  let at = 0;
  for (let top = 0; top < H; top += P)
    for (let left = 0; left < W; left += P)
      for (let row = top; row < top + P; row++)
        for (let column = left; column < left + P; column++)
          for (let c = 0; c < channels; c++) patches[at++] = image[(c * H + row) * W + column];
  return patches;
}

/** y = x W + b: (T, I) -> (T, O); bias: (O), or undefined. See linear.py.
 *
 * Two tokens and four columns at a time, so that each number that is read is used in several sums; if
 * the number of tokens is odd, the last is computed twice. */
function linear(x, { shape: [I, O], data: W }, bias) {
  const T = x.length / I;
  const y = new Float32Array(T * O);
  const rows = new Float64Array(x); // converted once, as sums are float64
  const panel = new Float64Array(4 * I); // four adjacent columns of W, in the order in which they are read
  const whole = O - (O % 4);
  for (let o = 0; o < whole; o += 4) {
    for (let i = 0; i < I; i++) for (let j = 0; j < 4; j++) panel[4 * i + j] = W[i * O + o + j];
    for (let t = 0; t < T; t += 2) {
      const other = Math.min(t + 1, T - 1);
      let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
      for (let i = 0; i < I; i++) {
        const u = rows[t * I + i], v = rows[other * I + i];
        const k = panel[4 * i], l = panel[4 * i + 1], m = panel[4 * i + 2], n = panel[4 * i + 3];
        a += u * k; b += u * l; c += u * m; d += u * n;
        e += v * k; f += v * l; g += v * m; h += v * n;
      }
      const one = t * O + o, two = other * O + o;
      y[one] = a; y[one + 1] = b; y[one + 2] = c; y[one + 3] = d;
      y[two] = e; y[two + 1] = f; y[two + 2] = g; y[two + 3] = h;
    }
  }
  for (let o = whole; o < O; o++)
    for (let t = 0; t < T; t++)
      for (let i = 0; i < I; i++) y[t * O + o] += x[t * I + i] * W[i * O + o];
  if (bias) for (let at = 0; at < y.length; at++) y[at] += bias.data[at % O];
  return y;
}

/** x̂ = (x - μ) / √(σ² + ε), y = γ x̂ + β, token by token: (T, C) -> (T, C). See layernorm.py. */
function layernorm(x, gamma, beta, eps) {
  const C = gamma.data.length;
  const y = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += C) {
    let mean = 0, variance = 0;
    for (let c = 0; c < C; c++) mean += x[start + c] / C;
    for (let c = 0; c < C; c++) variance += (x[start + c] - mean) ** 2 / C;
    const rstd = 1 / Math.sqrt(variance + eps);
    for (let c = 0; c < C; c++) y[start + c] = gamma.data[c] * (x[start + c] - mean) * rstd + beta.data[c];
  }
  return y;
}

/** Turn each row of T scores into weights that sum to one, in place. See softmax.py. */
function softmax(scores, T) {
  for (let start = 0; start < scores.length; start += T) {
    const row = scores.subarray(start, start + T);
    let max = -Infinity, sum = 0;
    for (let j = 0; j < T; j++) max = Math.max(max, row[j]);
    for (let j = 0; j < T; j++) sum += row[j] = Math.exp(row[j] - max);
    for (let j = 0; j < T; j++) row[j] /= sum;
  }
  return scores;
}

/** erf(x/√2) = tanh(x·(a0 + a1·x² + …)), a0 first: see gelu.py for the coefficients. */
const ERF_OF_SQRT_HALF = [1.12837927, 0.102769056, -1.91831924e-4, -6.1978373e-4, 8.76369694e-5, -5.66841575e-6, 1.4184877e-7]
  .map((a, i) => a * Math.SQRT1_2 ** (2 * i + 1));

/** y = x Φ(x), element-wise. */
function gelu(x) {
  const y = new Float32Array(x.length);
  for (let at = 0; at < x.length; at++) {
    const square = x[at] * x[at];
    let inner = 0;
    for (let i = ERF_OF_SQRT_HALF.length - 1; i >= 0; i--) inner = inner * square + ERF_OF_SQRT_HALF[i];
    y[at] = x[at] * halfOnePlusTanh(x[at] * inner);
  }
  return y;
}

/** GELU in its tanh form. */
function geluTanh(x) {
  const y = new Float32Array(x.length);
  const scale = Math.sqrt(2 / Math.PI);
  for (let at = 0; at < x.length; at++) y[at] = x[at] * halfOnePlusTanh(scale * (x[at] + 0.044715 * x[at] ** 3));
  return y;
}

/** ½ (1 + tanh u) = 1 / (1 + e^(-2u)), which is faster. */
function halfOnePlusTanh(u) { return 1 / (1 + Math.exp(-2 * u)); }

/** Which of the (2·rows - 1)·(2·columns - 1) offsets patch i, the query, and patch j, the key, have.
 * See relative.py. */
function relativeOffset(i, j, [rows, columns]) {
  const down = Math.floor(i / columns) - Math.floor(j / columns) + rows - 1;
  const right = (i % columns) - (j % columns) + columns - 1;
  return down * (2 * columns - 1) + right;
}

/** Sines and cosines of column and row: (rows·columns, C). See position.py. */
function sincos2d([rows, columns], C) {
  const n = C / 4;
  const table = new Float32Array(rows * columns * C);
  for (let patch = 0; patch < rows * columns; patch++) {
    const [y, x] = [Math.floor(patch / columns), patch % columns];
    for (let i = 0; i < n; i++) {
      const omega = 10_000 ** (-i / Math.max(n - 1, 1));
      const four = [Math.sin(x * omega), Math.cos(x * omega), Math.sin(y * omega), Math.cos(y * omega)];
      four.forEach((value, quarter) => { table[patch * C + quarter * n + i] = value; });
    }
  }
  return table;
}

/** Scores of one head: (q kᵀ / √D + bias) / temperature. See attention.py.
 *
 * qkv: (T, 3C), of which head h has D columns in each third. bias: (T, T) numbers to add, or null.
 * scores: (T, T), is filled. */
function attentionScores(qkv, h, { T, C, D }, bias, temperature, scores) {
  const scale = 1 / Math.sqrt(D);
  const q = h * D, k = C + h * D;
  for (let i = 0; i < T; i++)
    for (let j = 0; j < T; j++) {
      const query = i * 3 * C + q, key = j * 3 * C + k;
      let score = 0;
      for (let d = 0; d < D; d++) score += qkv[query + d] * qkv[key + d];
      score *= scale;
      if (bias) score += bias[i * T + j];
      scores[i * T + j] = score / temperature;
    }
}

/** P v for one head; probs: (T, T). out: (T, C), of which the head's D columns are filled. */
function takeValues(qkv, h, { T, C, D }, probs, out) {
  const v = 2 * C + h * D;
  const sums = new Float64Array(D);
  for (let i = 0; i < T; i++) {
    sums.fill(0);
    for (let j = 0; j < T; j++) {
      const weight = probs[i * T + j];
      const value = j * 3 * C + v;
      for (let d = 0; d < D; d++) sums[d] += weight * qkv[value + d];
    }
    out.set(sums, i * C + h * D);
  }
}

/** The mean of N tokens: (N, C) -> (C). See tokens.py. */
function meanPool(x, C) {
  return weightedMean(x, C, new Float32Array(x.length / C).fill(C / x.length));
}

function weightedMean(x, C, weights) {
  const sums = new Float64Array(C);
  weights.forEach((weight, t) => {
    for (let c = 0; c < C; c++) sums[c] += weight * x[t * C + c];
  });
  return Float32Array.from(sums);
}

function add(x, y) {
  const sum = new Float32Array(x.length);
  for (let at = 0; at < x.length; at++) sum[at] = x[at] + y[at];
  return sum;
}

/** Pixels as the model's input: bytes (H, W, channels) -> (pixel / 255 - mean) / std by channel,
 * (channels, H, W). See data/statistics.py. */
function normalize(pixels, mean, std) {
  const channels = mean.length;
  const size = pixels.length / channels;
  const image = new Float32Array(pixels.length);
  for (let c = 0; c < channels; c++)
    for (let i = 0; i < size; i++) image[c * size + i] = (pixels[i * channels + c] / 255 - mean[c]) / std[c];
  return image;
}
