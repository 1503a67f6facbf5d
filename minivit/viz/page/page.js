"use strict";
// Everything drawn here was put into #data when the page was made; nothing is loaded.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const [ROWS, COLUMNS] = data.grid;
const PATCHES = ROWS * COLUMNS;
const FIRST = data.prefix.length; // the first token that is a patch
const T = PATCHES + FIRST;
const HEADS = data.heads;
const SHOWN = data.layers.length;
const MAPS = [...Array(HEADS).keys(), "mean", "max"].concat(data.whole ? ["rollout"] : []);
const HEAT = bytes(data.palette); // 256 colours, three bytes each

const state = {
  image: 0, layer: SHOWN - 1, map: "mean", query: data.prefix[0] === "the class token" ? 0 : middle(), target: null,
  source: 0, // the picture of the query
  locked: false, show: "to", smooth: false, shared: false, opacity: 75,
};

function middle() { return FIRST + Math.floor(ROWS / 2) * COLUMNS + Math.floor(COLUMNS / 2); }

function bytes(base64) { return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)); }

// ---- The numbers -------------------------------------------------------------------------------

/** Weights of one picture, [layer][head]: T·T numbers, row = the token that asks. A byte b holds
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

/** Rollout to each layer: identity added, rows made to sum to 1, multiplied up. */
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
      const share = a[i * T + k];
      for (let j = 0; j < T; j++) out[i * T + j] += share * b[k * T + j];
    }
  return out;
}

const decoded = new Map();
function maps() {
  if (!decoded.has(state.image)) decoded.set(state.image, decode(data.images[state.image]));
  return decoded.get(state.image);
}

function current() { return maps()[state.layer][state.map]; }

/** Weights between the query and all tokens, those before the patches first, in the direction
 * chosen. */
function weights(map) {
  const place = state.show === "by" ? (token) => token * T + state.query : (token) => state.query * T + token;
  return Float32Array.from({ length: T }, (_, token) => map[place(token)]);
}

/** Features of one picture's tokens, each of length 1: T·C numbers. */
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

/** Cosine similarity of the query, a token of the picture `state.source`, to all tokens of one. */
function likeness(index) {
  const all = features(index);
  const C = all.length / T;
  const asked = features(state.source).subarray(state.query * C, (state.query + 1) * C);
  return Float32Array.from({ length: T }, (_, token) => {
    let sum = 0;
    for (let c = 0; c < C; c++) sum += asked[c] * all[token * C + c];
    return sum;
  });
}

/** What the stage shows: a number for each token. */
function shown() { return state.show === "like" ? likeness(state.image) : weights(current()); }

function queryIsHere() { return state.source === state.image; }

function entropy(map) {
  let bits = 0;
  for (let j = 0; j < T; j++) {
    const p = map[state.query * T + j];
    if (p > 0) bits -= p * Math.log2(p);
  }
  return bits;
}

// ---- Drawing -----------------------------------------------------------------------------------

function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function drawPixels(canvas, image) {
  canvas.width = image.width;
  canvas.height = image.height;
  const rgb = bytes(image.pixels);
  const context = canvas.getContext("2d");
  const out = context.createImageData(image.width, image.height);
  for (let i = 0; i < image.width * image.height; i++) {
    out.data.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
    out.data[4 * i + 3] = 255;
  }
  context.putImageData(out, 0, 0);
}

/** Patches on a canvas of one pixel each; alpha of the value w is alpha(w / top). */
function drawMap(canvas, values, top, alpha) {
  canvas.width = COLUMNS;
  canvas.height = ROWS;
  const context = canvas.getContext("2d");
  const out = context.createImageData(COLUMNS, ROWS);
  for (let i = 0; i < PATCHES; i++) {
    const share = Math.min(1, Math.max(0, values[i + FIRST]) / (top || 1));
    const colour = 3 * Math.round(255 * share);
    out.data.set(HEAT.subarray(colour, colour + 3), 4 * i);
    out.data[4 * i + 3] = Math.round(255 * alpha(share));
  }
  context.putImageData(out, 0, 0);
}

function topOf(values) { return values.subarray(FIRST).reduce((a, b) => Math.max(a, b), 0); }

function sharedTop() {
  let top = 0;
  for (const heads of maps()) for (const name of MAPS) top = Math.max(top, topOf(weights(heads[name])));
  return top;
}

const overlayAlpha = (share) => (state.opacity / 100) * (0.2 + 0.8 * share);

/** The picture loses its colours as the map gains weight: what is bright is then the map. */
const photoFilter = () => `saturate(${1 - state.opacity / 110}) brightness(${1 - state.opacity / 400})`;

function drawStage(values, top) {
  drawMap($("heat"), values, top, overlayAlpha);
  $("heat").classList.toggle("raw", !state.smooth);
  $("photo").style.filter = photoFilter();
  for (const mark of $("marks").querySelectorAll("rect")) mark.remove();
  if (queryIsHere()) mark(state.query, "query");
  if (state.locked && state.target !== null && !(queryIsHere() && state.target === state.query)) mark(state.target, "target");
  $("bar-top").textContent = digits(top);
}

function mark(token, kind) {
  if (token < FIRST) return; // it has no place in the picture
  const [row, column] = place(token);
  for (const name of ["under", kind]) {
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const box = { x: column, y: row, width: 1, height: 1, class: name };
    for (const key in box) rect.setAttribute(key, box[key]);
    $("marks").append(rect);
  }
}

function drawGrid() {
  const svg = $("marks");
  svg.setAttribute("viewBox", `0 0 ${COLUMNS} ${ROWS}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const lines = [];
  for (let x = 1; x < COLUMNS; x++) lines.push(`M${x} 0V${ROWS}`);
  for (let y = 1; y < ROWS; y++) lines.push(`M0 ${y}H${COLUMNS}`);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", lines.join(""));
  path.setAttribute("class", "grid");
  svg.append(path);
  $("stage").style.aspectRatio = `${COLUMNS} / ${ROWS}`;
}

function drawBar() {
  const context = $("bar").getContext("2d");
  const out = context.createImageData(128, 1);
  for (let i = 0; i < 128; i++) {
    out.data.set(HEAT.subarray(6 * i, 6 * i + 3), 4 * i);
    out.data[4 * i + 3] = 255;
  }
  context.putImageData(out, 0, 0);
}

// ---- Words -------------------------------------------------------------------------------------

function place(token) { return [Math.floor((token - FIRST) / COLUMNS), (token - FIRST) % COLUMNS]; }

function named(token) {
  if (token < FIRST) return data.prefix[token];
  const [row, column] = place(token);
  return `row ${row + 1}, column ${column + 1}`;
}

function digits(number) { return number >= 0.01 ? number.toFixed(3) : number.toPrecision(2); }

function mapName(map) { return typeof map === "number" ? `head ${map + 1}` : map; }

function asker() {
  const said = named(state.query);
  return `${said[0].toUpperCase()}${said.slice(1)}${queryIsHere() ? "" : ` of ${data.images[state.source].name}`}${state.locked ? " (locked)" : ""}.`;
}

function describe() { return state.show === "like" ? describeLikeness() : describeAttention(); }

function describeLikeness() {
  const all = data.images.map((_, index) => likeness(index));
  const nearest = all.map((values, index) => strongest(values, index === state.source ? state.query : null));
  const cosine = (index, token) => `cosine similarity ${all[index][token].toFixed(2)}`;
  const target = state.locked && state.target !== null ? state.target : nearest[state.image];
  const lines = [asker(), `Like it here: ${named(target)}, ${cosine(state.image, target)}.`];
  const others = [...all.keys()].filter((index) => index !== state.image);
  if (others.length) {
    const best = others.reduce((a, b) => all[b][nearest[b]] > all[a][nearest[a]] ? b : a);
    lines.push(`Most like it elsewhere: ${named(nearest[best])} of ${data.images[best].name}, ${cosine(best, nearest[best])}.`);
  }
  return lines.join(" ");
}

function describeAttention() {
  const map = current();
  const all = weights(map);
  const target = state.locked && state.target !== null ? state.target : strongest(all);
  const rank = 1 + all.filter((p) => p > all[target]).length;
  const lines = [
    `Layer ${data.layers[state.layer] + 1}, ${mapName(state.map)}. ${asker()}`,
    `${state.show === "by" ? "Attended by" : "Attends to"} ${named(target)}${target === state.query ? " (itself)" : ""}: weight ${digits(all[target])}, rank ${rank} of ${T}.`,
    `Entropy ${entropy(map).toFixed(2)} of ${Math.log2(T).toFixed(2)} bits.`,
  ];
  if (FIRST) lines.push(`${beforePatches(map).join(", ")}.`);
  return lines.join(" ");
}

/** What goes to the tokens before the patches; registers are told together. */
function beforePatches(map) {
  const shares = {};
  data.prefix.forEach((name, token) => {
    const who = name.replace(/ \d+$/, "s");
    shares[who] = (shares[who] ?? 0) + map[state.query * T + token];
  });
  return Object.entries(shares).map(([who, share]) => `${(100 * share).toFixed(1)} % goes to ${who}`);
}

/** The patch with the largest value, but for one. */
function strongest(all, except = null) {
  let best = null;
  for (let i = FIRST; i < T; i++) if (i !== except && (best === null || all[i] > all[best])) best = i;
  return best ?? except;
}

// ---- The page's parts --------------------------------------------------------------------------

const thumbnails = []; // {button, canvas, layer, map}

function buildMaps() {
  const box = $("maps");
  box.style.gridTemplateColumns = `max-content repeat(${MAPS.length}, minmax(2.1rem, 1fr))`;
  box.append(make("span"));
  for (const map of MAPS) box.append(make("span", { className: "name", textContent: typeof map === "number" ? map + 1 : map }));
  for (let layer = 0; layer < SHOWN; layer++) {
    box.append(make("span", { className: "name row", textContent: `layer ${data.layers[layer] + 1}` }));
    for (const map of MAPS) {
      const canvas = make("canvas", { width: COLUMNS, height: ROWS });
      const button = make("button", { type: "button" }, canvas);
      button.setAttribute("aria-label", `layer ${data.layers[layer] + 1}, ${mapName(map)}`);
      button.addEventListener("click", () => choose(layer, map));
      box.append(button);
      thumbnails.push({ button, canvas, layer, map });
    }
  }
  box.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    const layer = clamp(state.layer + step[0], SHOWN);
    const map = MAPS[clamp(MAPS.indexOf(state.map) + step[1], MAPS.length)];
    choose(layer, map);
    thumbnails.find((one) => one.layer === layer && one.map === map).button.focus();
  });
}

function choose(layer, map) { set({ layer, map, show: state.show === "like" ? "to" : state.show }); }

function clamp(value, count) { return Math.max(0, Math.min(count - 1, value)); }

function buildPictures() {
  if (data.images.length === 1) $("pictures").hidden = true;
  data.images.forEach((image, index) => {
    const canvas = make("canvas");
    drawPixels(canvas, image);
    const button = make("button", { type: "button", title: image.name }, canvas, make("canvas", { className: "heat" }));
    button.setAttribute("aria-label", `Picture ${index + 1}: ${image.name}`);
    button.addEventListener("click", () => set({ image: index }));
    $("pictures").append(button);
  });
}

const asks = []; // a button for each token before the patches

function buildPrefix() {
  data.prefix.forEach((name, token) => {
    const button = make("button", { type: "button", id: name.replace("the ", "").replace(" ", "-"), textContent: `Ask ${name}` });
    button.addEventListener("click", () => ask(token));
    $("lock").before(button);
    asks.push(button);
  });
}

function showAnswers() {
  const image = data.images[state.image];
  $("says").hidden = !image.answers.length; // a model without a head says nothing
  if ($("says").hidden) return;
  const known = image.label !== null;
  const right = known && image.answers[0][0] === image.label;
  $("truth").textContent = known ? `True label: ${data.classes[image.label]}${right ? " – the model agrees." : " – the model is wrong."}` : "";
  $("truth").classList.toggle("wrong", known && !right);
  $("answers").replaceChildren(...image.answers.map(([k, share]) => {
    const fill = make("div", { className: "fill" });
    fill.style.width = `${100 * share}%`;
    return make("li", { className: k === image.label ? "true" : "" },
      make("span", { className: "who", textContent: data.classes[k] }),
      make("div", { className: "track" }, fill),
      make("span", { className: "share", textContent: `${(100 * share).toFixed(1)} %` }));
  }));
}

// ---- From state to page ------------------------------------------------------------------------

let drawnImage = null;

/** In the pictures' strip: what is like the query in each. */
function drawAlike() {
  const alike = state.show === "like";
  $("pictures").classList.toggle("alike", alike);
  if (!alike) return;
  [...$("pictures").children].forEach((button, index) => {
    drawMap(button.querySelector(".heat"), likeness(index), 1, overlayAlpha);
  });
}

function render() {
  if (state.show !== "like") state.source = state.image;
  const image = data.images[state.image];
  if (drawnImage !== state.image) {
    drawPixels($("photo"), image);
    $("picture-heading").textContent = image.name;
    [...$("pictures").children].forEach((button, i) => button.setAttribute("aria-pressed", i === state.image));
    showAnswers();
    drawnImage = state.image;
  }
  const shared = state.shared ? sharedTop() : null;
  for (const { button, canvas, layer, map } of thumbnails) {
    const values = weights(maps()[layer][map]);
    drawMap(canvas, values, shared ?? topOf(values), () => 1);
    canvas.classList.toggle("raw", !state.smooth);
    const chosen = layer === state.layer && map === state.map;
    button.setAttribute("aria-pressed", chosen);
    button.tabIndex = chosen ? 0 : -1;
  }
  const values = shown();
  drawStage(values, state.show === "like" ? 1 : shared ?? topOf(values));
  drawAlike();
  $("readout").textContent = describe();
  $("lock").setAttribute("aria-pressed", state.locked);
  $("lock").textContent = state.locked ? "Unlock" : "Lock";
  asks.forEach((button, token) => button.setAttribute("aria-pressed", state.query === token));
  $("smooth").checked = state.smooth;
  $("shared").checked = state.shared;
  $("opacity").value = state.opacity;
  for (const radio of document.getElementsByName("direction")) radio.checked = radio.value === state.show;
  $("link").href = address();
  window.clearTimeout(render.timer);
  render.timer = window.setTimeout(remember, 250); // browsers refuse many changes a second
}

function set(changes) {
  Object.assign(state, changes);
  render();
}

function address() {
  const fields = { image: state.image, layer: state.layer, map: state.map, query: state.query };
  if (state.locked) fields.locked = 1;
  if (state.target !== null) fields.target = state.target;
  if (state.show !== "to") fields.show = state.show;
  if (state.show === "like") fields.source = state.source;
  for (const name of ["smooth", "shared"]) if (state[name]) fields[name] = 1;
  if (state.opacity !== 75) fields.opacity = state.opacity;
  return `#${new URLSearchParams(fields)}`;
}

function remember() {
  try { history.replaceState(null, "", address()); } catch { /* a frame without an address */ }
}

function readAddress() {
  const fields = new URLSearchParams(location.hash.slice(1));
  const whole = (name, count, fallback) => {
    const number = Number(fields.get(name) ?? NaN);
    return Number.isInteger(number) && number >= 0 && number < count ? number : fallback;
  };
  const map = fields.get("map");
  Object.assign(state, {
    image: whole("image", data.images.length, state.image),
    layer: whole("layer", SHOWN, state.layer),
    map: MAPS.find((name) => String(name) === map) ?? state.map,
    query: whole("query", T, state.query),
    target: whole("target", T, null),
    source: whole("source", data.images.length, state.source),
    show: ["by", "like"].find((name) => name === fields.get("show")) ?? "to",
    locked: fields.has("locked"), smooth: fields.has("smooth"), shared: fields.has("shared"),
    opacity: whole("opacity", 101, state.opacity),
  });
}

// ---- What the reader does ----------------------------------------------------------------------

function tokenAt(event) {
  const box = $("stage").getBoundingClientRect();
  const column = clamp(Math.floor(((event.clientX - box.left) / box.width) * COLUMNS), COLUMNS);
  const row = clamp(Math.floor(((event.clientY - box.top) / box.height) * ROWS), ROWS);
  return FIRST + row * COLUMNS + column;
}

function point(token) {
  if (state.locked) { if (token !== (state.target ?? (queryIsHere() ? state.query : null))) set({ target: token }); }
  else if (token !== state.query || !queryIsHere()) set({ query: token, source: state.image });
}

function lock(token) {
  const again = state.locked && token === state.query && queryIsHere();
  set(again ? { locked: false, target: null } : { query: token, source: state.image, target: null, locked: true });
}

$("stage").addEventListener("pointermove", (event) => point(tokenAt(event)));
$("stage").addEventListener("click", (event) => lock(tokenAt(event)));
$("stage").addEventListener("keydown", (event) => {
  const from = state.locked && state.target !== null ? state.target : state.query;
  const [row, column] = from < FIRST ? place(middle()) : place(from);
  const to = (r, c) => point(FIRST + clamp(r, ROWS) * COLUMNS + clamp(c, COLUMNS));
  const actions = { // Enter locks the patch under the cursor; there again, it unlocks
    ArrowLeft: () => to(row, column - 1), ArrowRight: () => to(row, column + 1),
    ArrowUp: () => to(row - 1, column), ArrowDown: () => to(row + 1, column),
    Home: () => to(row, 0), End: () => to(row, COLUMNS - 1),
    Enter: () => lock(from), " ": () => lock(from),
    Escape: () => set({ locked: false, target: null }),
    c: askPrefix, C: askPrefix,
  };
  if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  actions[event.key]();
});

function ask(token) { set({ query: token, source: state.image, target: null, locked: true }); }

/** The first token before the patches; then, while one of them is locked, the next. */
function askPrefix() { if (FIRST) ask(state.locked && state.query < FIRST ? (state.query + 1) % FIRST : 0); }

$("lock").addEventListener("click", () => set({ locked: !state.locked, target: null }));
$("smooth").addEventListener("change", (event) => set({ smooth: event.target.checked }));
$("shared").addEventListener("change", (event) => set({ shared: event.target.checked }));
$("opacity").addEventListener("input", (event) => set({ opacity: Number(event.target.value) }));
for (const radio of document.getElementsByName("direction")) radio.addEventListener("change", () => set({ show: radio.value }));
window.addEventListener("hashchange", () => { readAddress(); render(); });

function viewName() {
  if (state.show === "like") return `likeness-${state.image + 1}`;
  return `attention-${state.image + 1}-layer-${data.layers[state.layer] + 1}-${mapName(state.map).replace(" ", "-")}`;
}

/** The picture with its map and what is said of it, as a PNG file. */
$("export").addEventListener("click", () => {
  const scale = Math.max(1, Math.floor(512 / COLUMNS));
  const [width, height] = [COLUMNS * scale, ROWS * scale];
  const canvas = make("canvas", { width, height: height + 60 });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height + 60);
  context.imageSmoothingEnabled = false;
  context.filter = photoFilter();
  context.drawImage($("photo"), 0, 0, width, height);
  context.filter = "none";
  context.imageSmoothingEnabled = state.smooth;
  context.drawImage($("heat"), 0, 0, width, height);
  if (state.query >= FIRST && queryIsHere()) {
    const [row, column] = place(state.query);
    for (const [colour, line] of [["#000", 5], ["#fff", 2.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = line;
      context.strokeRect(column * scale, row * scale, scale, scale);
    }
  }
  context.fillStyle = "#000";
  context.font = "13px system-ui, sans-serif";
  const sentences = describe().split(/(?<=\.) (?=[A-Z])/);
  [sentences.slice(0, 2).join(" "), sentences[2], sentences.slice(3).join(" ")].forEach((line, i) => context.fillText(line ?? "", 6, height + 17 + 18 * i, width - 12));
  canvas.toBlob((blob) => {
    const link = make("a", { href: URL.createObjectURL(blob), download: `${viewName()}.png` });
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
});

$("title").textContent = data.title;
drawGrid();
drawBar();
buildPictures();
buildPrefix();
buildMaps();
readAddress();
render();
