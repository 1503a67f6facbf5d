// The live page: how a number of a tensor was computed, with the numbers it was computed from.

const weights = {}; // unpacked on first use

function weight(name) { return weights[name] ??= unpack(data.model, name)?.data; }

/** For each ending of a step's name: the equation, and a function that writes it with the numbers of
 * a cell. Its arguments: x, the previous tensor; of(name), another tensor of the same block; cell; y,
 * the number itself. */
const EXPLAINED = [
  [/^image$/, "(pixel / 255 − mean) / std", ({ cell, y }) => {
    const [mean, std] = [data.mean, data.std].map((all) => all[cell.group]);
    return `(${short(255 * (y * std + mean))} / 255 − ${short(mean)}) / ${short(std)}`;
  }],
  [/\.patches$/, "each P×P square as a row of P·P·channels numbers", ({ cell }) => {
    const [pixel, channel] = [Math.floor(cell.column / CHANNELS), cell.column % CHANNELS];
    return `channel ${channel + 1} of the patch's pixel in row ${Math.floor(pixel / PATCH) + 1}, column ${(pixel % PATCH) + 1}`;
  }],
  [/^with_cls_token$/, "[class token; patches]", ({ cell }) => cell.row ? "the patch's number, unchanged" : "from the learned class token"],
  [/^with_positions$/, "x + position", ({ x, at, y }) => `${short(x.data[at])} + ${signed(y - x.data[at])}`],
  [/norm\d?$/, "γ (x − mean) / √(variance + ε) + β", inNorm],
  [/\.attn\.[qkv]$/, "a third of qkv each, cut into heads", ({ name, cell }) =>
    `column ${"qkv".indexOf(name.at(-1)) * SIZES.C + cell.group * SIZES.D + cell.column + 1} of qkv`],
  [/\.relative$/, "q · table[offset] / √D", () => "the query and the learned offset between the two patches"],
  [/\.attn\.scores$/, "(q kᵀ / √D) / temperature", ({ of, cell, y }) => scoreInWords(of, cell, y)],
  [/\.attn\.probs$/, "exp(s) / Σ exp(s)", ({ of, cell, y, layer }) => {
    if (state.uniform.includes(layer)) return `1 / ${T}, as the layer's attention is uniform`;
    if (cell.row < FIRST && state.forced.length) return "as the class token's attention is forced";
    return softmaxInWords(rowOf(of("attn.scores"), cell), cell.column, y);
  }],
  [/\.attn\.heads$/, "probs v", ({ of, cell, layer }) => {
    if (isOff(layer, cell.group)) return "0, as the head is off";
    const [probs, v] = [rowOf(of("attn.probs"), cell), of("attn.v")];
    return sumInWords([...probs].map((p, j) => [p, v.data[(cell.group * T + j) * SIZES.D + cell.column]]));
  }],
  [/\.attn\.merged$/, "the heads of a token side by side", ({ cell }) =>
    `number ${(cell.column % SIZES.D) + 1} of head ${Math.floor(cell.column / SIZES.D) + 1}`],
  [/\.residual$/, "x + attn(norm1(x))", ({ x, at, y }) => `${signed(y - x.data[at])} + ${signed(x.data[at])}`],
  [/^blocks\.\d+$/, "residual + mlp(norm2(residual))", ({ x, at, y }) => `${signed(y - x.data[at])} + ${signed(x.data[at])}`],
  [/gelu$/, "x Φ(x)", ({ x, at, y }) => `${short(x.data[at])} · ${short(x.data[at] ? y / x.data[at] : 0.5)}`],
  [/^sequence_pool\.scores$/, "x w", ({ x, cell }) => sumInWords(pairs(row(x, cell.column), weight("sequence_pool.weight"), 0, 1))],
  [/^sequence_pool\.probs$/, "exp(s) / Σ exp(s)", ({ x, cell, y }) => softmaxInWords(x.data, cell.column, y)],
  [/pooled$/, "mean of the tokens", () => POOLED],
  [/^tanh$/, "tanh(x)", ({ x, at }) => `tanh(${short(x.data[at])})`],
  [/./, "x W + b", inLinear],
];

function explained(step) { return EXPLAINED.find(([end]) => end.test(step.name)); }

function equationOf(step) { return `= ${explained(step)[1]}`; }

function inWords(steps, number, cell) {
  const step = steps[number];
  const { rows, columns } = tilesOf(step);
  const at = (cell.group * rows + cell.row) * columns + cell.column;
  const y = step.data[at];
  const layer = step.name.startsWith("blocks.") ? Number(step.name.split(".")[1]) : null;
  const of = (name) => steps.find((one) => one.name === `blocks.${layer}.${name}`);
  const words = explained(step)[2]({ name: step.name, x: steps[number - 1], of, cell, at, y, layer });
  return `${cellInWords(step, cell)}: ${short(y)} = ${words}`;
}

function cellInWords(step, { group, row, column }) {
  if (step.name === "image") return `Channel ${group + 1} of the pixel in row ${row + 1}, column ${column + 1}`;
  const head = tilesOf(step).groups > 1 ? `Head ${group + 1}, ` : "";
  if (isMap(step)) return `${head}query ${tokenName(row)}; key ${tokenName(column)}`;
  const token = rowToken(step, row);
  if (step.name === "head") return data.classes[column];
  if (token === null) return tilesOf(step).columns === T ? upper(tokenName(column)) : `Number ${column + 1}`;
  return `${head}${upper(tokenName(token))}, number ${column + 1}`;
}

function signed(number) { return number < 0 ? `(${short(number)})` : short(number); }

function row({ data: numbers, shape }, at) { return numbers.subarray(at * shape.at(-1), (at + 1) * shape.at(-1)); }

/** The row of a cell in another tensor with heads. */
function rowOf(step, { group, row: query }) { return row(step, group * T + query); }

/** Each number of x with its weight in a column of W. */
function pairs(x, W, column, columns) { return [...x].map((value, i) => [value, W[i * columns + column]]); }

/** "0.42 · 1.31 + (−0.20) · 0.87 + 93 smaller products (0.02) + 0.15", with the largest three products in full. */
function sumInWords(products, bias) {
  const sorted = [...products].sort((a, b) => Math.abs(b[0] * b[1]) - Math.abs(a[0] * a[1]));
  const rest = sorted.slice(3).reduce((sum, [a, b]) => sum + a * b, 0);
  const words = sorted.slice(0, 3).map(([a, b]) => `${signed(a)} · ${signed(b)}`);
  if (sorted.length > 3) words.push(`${sorted.length - 3} smaller products (${short(rest)})`);
  if (bias !== undefined) words.push(signed(bias));
  return words.join(" + ");
}

function softmaxInWords(scores, j, y) {
  const max = Math.max(...scores);
  return `exp(${short(scores[j] - max)}) / ${short(Math.exp(scores[j] - max) / (y || 1))}, after subtracting the largest score (${short(max)})`;
}

function scoreInWords(of, { group, row: i, column: j }, y) {
  const [q, k] = [rowOf(of("attn.q"), { group, row: i }), rowOf(of("attn.k"), { group, row: j })];
  const product = q.reduce((sum, value, d) => sum + value * k[d], 0);
  const relative = of("attn.relative");
  const bias = relative ? ` + ${signed(rowOf(relative, { group, row: i })[j])}` : "";
  const score = `${signed(product)} / √${SIZES.D}${bias}`;
  return state.temperature === 1 ? score : `(${score}) / ${state.temperature.toFixed(2)}`;
}

function inNorm({ name, x, cell, y }) {
  const tokens = row(x, cell.row);
  const mean = tokens.reduce((sum, value) => sum + value, 0) / tokens.length;
  const variance = tokens.reduce((sum, value) => sum + (value - mean) ** 2, 0) / tokens.length;
  const [gamma, beta] = ["weight", "bias"].map((part) => weight(`${name}.${part}`)[cell.column]);
  return `${signed(gamma)} · (${short(tokens[cell.column])} − ${signed(mean)}) / ${short(Math.sqrt(variance + data.model.config.norm_eps))} + ${signed(beta)}`;
}

function inLinear({ name, x, cell, at }) {
  const part = name.endsWith(".attn") ? `${name}.proj` : name;
  const bias = weight(`${part}.bias`);
  const columns = bias ? bias.length : weight(`${part}.weight`).length / x.shape.at(-1);
  const token = x.shape.length === 1 ? x.data : row(x, cell.row);
  return sumInWords(pairs(token, weight(`${part}.weight`), cell.column, columns), bias?.[cell.column]);
}

// ---- Number by number --------------------------------------------------------------------------

/** One head for two tokens: the query, and the token under the cursor. */
function drawByNumber(steps, step) {
  const [, layer] = step.name.match(/^blocks\.(\d+)\.attn\.[a-z]+$/) ?? [];
  const box = $("by-number");
  box.hidden = layer === undefined || /merged|qkv/.test(step.name);
  if (box.hidden) return;
  const of = (name) => steps.find((one) => one.name === `blocks.${layer}.attn.${name}`);
  const [group, i, j] = [view.head === "mean" ? 0 : view.head, view.query, view.at];
  const [q, scores, probs, out] = ["q", "scores", "probs", "heads"].map((name) => rowOf(of(name), { group, row: i }));
  const [k, v] = ["k", "v"].map((name) => rowOf(of(name), { group, row: j }));
  const products = q.map((value, d) => value * k[d]);
  const sum = products.reduce((a, b) => a + b, 0);
  const line = (label, numbers, words) => make("li", {}, make("span", { className: "name", textContent: label }), strip(numbers), make("span", { className: "numbers", textContent: words }));
  box.replaceChildren(
    make("h3", { textContent: `Number by number: layer ${Number(layer) + 1}, head ${group + 1}` }),
    make("p", { className: "numbers", textContent: `i is ${tokenName(i)}, the query; j is ${tokenName(j)}, under the cursor.` }),
    make("ol", { className: "strips" },
      line("qᵢ", q, `${SIZES.D} numbers`), line("kⱼ", k, ""), line("qᵢ ∘ kⱼ", products, `their sum: qᵢ · kⱼ = ${short(sum)}`),
      line("scores of i", scores, `sᵢⱼ = ${scoreInWords((name) => of(name.slice(5)), { group, row: i, column: j })} = ${short(scores[j])}`),
      line("softmax", probs, `pᵢⱼ = ${short(probs[j])}`),
      line("vⱼ", v, `times ${short(probs[j])}`),
      line("Σ pᵢⱼ vⱼ", out, "the head's result")),
    make("p", { className: "numbers", textContent: `Most of it comes from ${largest(probs)}.` }));
}

function largest(probs) {
  return [...probs.keys()].sort((a, b) => probs[b] - probs[a]).slice(0, 3).map((token) => `${tokenName(token)} (${short(probs[token])})`).join("; ");
}

function strip(numbers) {
  const canvas = make("canvas", { className: "raw" });
  const top = numbers.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  drawNumbers(canvas, numbers, numbers.length, (numbers.some((x) => x < 0) ? signedTo : heatTo)(top));
  canvas.setAttribute("aria-hidden", true);
  return canvas;
}
