// The live page: the logit lens, what the head would predict from the tokens between layers.

/** Colors of classes that color-blind readers can tell apart (Okabe & Ito); the last is for all others. */
const CLASS_COLORS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];
const OTHER_COLOR = "#999999";
const POOLED = { cls: "the class token", mean: "the mean of the patches", seq: "the patches' weighted mean" }[data.model.config.pool];
const K = data.classes.length;

function lensWords(layer) { return layer ? `after layer ${layer}` : "before layer 1"; }

/** The classes that get a color: those with the most probability over all layers and patches. */
function coloredClasses({ pooled, tokens }) {
  const sums = new Float64Array(K);
  pooled.forEach((p, i) => { sums[i % K] += p * PATCHES; });
  tokens.forEach((p, i) => { sums[i % K] += p; });
  return [...sums.keys()].sort((a, b) => sums[b] - sums[a]).slice(0, CLASS_COLORS.length);
}

function drawLens() {
  if (!shown?.lens) return;
  const classes = coloredClasses(shown.lens);
  const colorOf = (k) => CLASS_COLORS[classes.indexOf(k)] ?? OTHER_COLOR;
  const layers = [...Array(data.depth + 1).keys()];
  $("lens-pooled").textContent = POOLED;
  const { pooled } = shown.lens;
  $("lens-layers").replaceChildren(...layers.map((layer) => {
    const probs = pooled.subarray(layer * K, (layer + 1) * K);
    return lensRow(layer, POOLED, probs, classes, colorOf, classMap(layer, colorOf));
  }));
  $("lens-classes").replaceChildren(...[...classes, null].slice(0, Math.min(K, classes.length + 1)).map((k) => {
    const swatch = make("span", { className: "swatch" });
    swatch.style.background = k === null ? OTHER_COLOR : colorOf(k);
    return make("li", {}, swatch, k === null ? "others" : data.classes[k]);
  }));
  const token = view.at >= FIRST ? view.at : middle();
  $("lens-who").textContent = `The token of ${tokenName(token)}`;
  $("lens-patch").replaceChildren(...layers.map((layer) => lensRow(layer, tokenName(token), tokenLens(layer, token), classes, colorOf)));
}

function tokenLens(layer, token) { return shown.lens.tokens.subarray((layer * T + token) * K, (layer * T + token + 1) * K); }

/** A layer: a map of classes, if there is one, and a bar divided by the classes' probabilities. */
function lensRow(layer, who, probs, classes, colorOf, ...map) {
  const others = 1 - classes.reduce((sum, k) => sum + probs[k], 0);
  const part = (color, prob, name) => {
    const element = make("span", { title: `${name}: ${percent(prob)}` });
    Object.assign(element.style, { background: color, width: `${100 * prob}%` });
    return element;
  };
  const parts = classes.map((k) => part(colorOf(k), probs[k], data.classes[k]));
  const track = make("div", { className: "stacked" }, ...parts, part(OTHER_COLOR, Math.max(0, others), "others"));
  const top = best(probs);
  const text = `${data.classes[top]}, ${percent(probs[top])}`;
  const item = make("li", {}, make("span", { className: "name", textContent: lensWords(layer) }), ...map, track, make("span", { className: "percent", textContent: text }));
  item.setAttribute("aria-label", `${lensWords(layer)}, ${who}: ${text}`);
  return item;
}

/** Each patch in the color of its token's predicted class, paler if less certain. */
function classMap(layer, colorOf) {
  const canvas = make("canvas", { className: "raw", width: COLUMNS, height: ROWS });
  const context = canvas.getContext("2d");
  for (let patch = 0; patch < PATCHES; patch++) {
    const probs = tokenLens(layer, FIRST + patch);
    const k = best(probs);
    context.globalAlpha = 0.15 + 0.85 * probs[k];
    context.fillStyle = colorOf(k);
    context.fillRect(patch % COLUMNS, Math.floor(patch / COLUMNS), 1, 1);
  }
  canvas.setAttribute("aria-hidden", true);
  return canvas;
}
