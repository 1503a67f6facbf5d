// The live page: what is changed, what was changed before, and what the model says of it.
const PATCH = data.patch;
const [HEIGHT, WIDTH] = [ROWS * PATCH, COLUMNS * PATCH];
const CHANNELS = data.channels;
for (const image of data.images) image.pixels = bytes(image.pixels);

/** An image with nothing changed; see UNCHANGED in model.js. A state is never changed itself: a
 * change makes another. covered: patches, counted from 0. */
function original(image) {
  return {
    image, pixels: data.images[image].pixels, covered: [],
    heads: [], skipped: [], uniform: [], temperature: 1, positions: undefined,
  };
}

let state = original(0);
let past = []; // states, the newest last
let group = null; // changes of one group, such as those of one drag, are undone together

/** What is looked at; undo leaves it alone. head: a number, or "mean". keys: whether the keyboard
 * is used on the image, whose cursor is then drawn. */
const view = {
  query: FIRST ? 0 : middle(), layer: data.depth - 1, head: "mean", tool: "query",
  cursor: middle() - FIRST, keys: false, colour: "#d01c1c", shade: true,
};

function change(changes, inGroup = null) {
  if (inGroup === null || inGroup !== group) past.push(state);
  group = inGroup;
  state = { ...state, ...changes };
  run();
}

function undo() {
  if (!past.length) return;
  state = past.pop();
  group = null;
  run();
}

/** Everything as it was, but for the image that is shown. One step, which undo takes back. */
function reset() { if (isChanged()) change(original(state.image)); }

function isChanged() { return changesInWords().length > 0; }

function changesInWords() {
  const words = [];
  const numbers = (layers) => layers.map((layer) => layer + 1).join(", ");
  if (state.pixels !== data.images[state.image].pixels) words.push("pixels changed");
  if (state.covered.length) words.push(`${state.covered.length} ${state.covered.length === 1 ? "patch" : "patches"} covered`);
  if (state.heads.length > 2) words.push(`${state.heads.length} heads off`);
  else for (const name of state.heads) words.push(`head ${Number(name.split(",")[1]) + 1} of layer ${Number(name.split(",")[0]) + 1} off`);
  if (state.skipped.length) words.push(`layer ${numbers(state.skipped)} skipped`);
  if (state.uniform.length) words.push(`uniform attention in layer ${numbers(state.uniform)}`);
  if (state.temperature !== 1) words.push(`softmax temperature ${state.temperature.toFixed(2)}`);
  if (state.positions !== undefined) words.push(`positions ${state.positions ? "shuffled" : "off"}`);
  return words;
}

// ---- Changes -----------------------------------------------------------------------------------

/** A list with a member more, or less. */
function toggled(list, member, on = !list.includes(member)) {
  const others = list.filter((one) => one !== member);
  return on ? [...others, member].sort((a, b) => (a > b) - (a < b)) : others;
}

function cover(patch, on, inGroup = null) {
  if (state.covered.includes(patch) !== on) change({ covered: toggled(state.covered, patch, on) }, inGroup);
}

function headName(layer, head) { return `${layer},${head}`; }

function toggleHead(layer, head) { change({ heads: toggled(state.heads, headName(layer, head)) }); }

/** All other heads of the layer off. */
function onlyHead(layer, head) {
  const others = [...Array(HEADS).keys()].filter((one) => one !== head).map((one) => headName(layer, one));
  change({ heads: [...state.heads.filter((name) => !name.startsWith(`${layer},`)), ...others] });
}

function shuffled(count) {
  const order = [...Array(count).keys()];
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** The patches of the image in another order. */
function shufflePatches() {
  const pixels = new Uint8Array(state.pixels.length);
  shuffled(PATCHES).forEach((from, to) => {
    for (let row = 0; row < PATCH; row++) {
      const start = startOf(from, row);
      pixels.set(state.pixels.subarray(start, start + PATCH * CHANNELS), startOf(to, row));
    }
  });
  change({ pixels });
}

/** Where a row of a patch begins among the pixels. */
function startOf(patch, row) {
  const [top, left] = [Math.floor(patch / COLUMNS) * PATCH, (patch % COLUMNS) * PATCH];
  return ((top + row) * WIDTH + left) * CHANNELS;
}

/** A dot of the chosen colour; x and y in pixels. */
function paint(pixels, x, y, radius) {
  const rgb = [1, 3, 5].map((at) => parseInt(view.colour.slice(at, at + 2), 16));
  const colour = CHANNELS === 3 ? rgb : [grey(rgb)];
  for (let row = Math.max(0, Math.floor(y - radius)); row < Math.min(HEIGHT, y + radius); row++)
    for (let column = Math.max(0, Math.floor(x - radius)); column < Math.min(WIDTH, x + radius); column++)
      if ((row + 0.5 - y) ** 2 + (column + 0.5 - x) ** 2 <= radius ** 2) pixels.set(colour, (row * WIDTH + column) * CHANNELS);
}

function grey([red, green, blue]) { return Math.round(0.299 * red + 0.587 * green + 0.114 * blue); }

/** What the model sees: covered patches have the mean colour of the training images. */
function visible({ pixels, covered }) {
  const seen = Uint8Array.from(pixels);
  const mean = data.mean.map((share) => clamp(Math.round(255 * share), 256));
  for (const patch of covered)
    for (let row = 0; row < PATCH; row++)
      for (let column = 0; column < PATCH; column++) seen.set(mean, startOf(patch, row) + column * CHANNELS);
  return seen;
}

// ---- The model ---------------------------------------------------------------------------------

const before = new Map(); // what the model says of each image with nothing changed
let shown = null; // {state, logits, probs, maps, milliseconds}, what is on the page
let asked = null; // the state that the worker is at
let worker = null;

function startWorker() {
  worker = new Worker(URL.createObjectURL(new Blob([$("worker").textContent], { type: "text/javascript" })));
  worker.onmessage = ({ data: answer }) => receive(answer);
  worker.onerror = () => say("The model cannot run here: the browser stopped its worker.");
  worker.postMessage({ model: data.model, mean: data.mean, std: data.std });
}

/** Run the newest state; states in between are passed over while the worker is busy. */
function run() {
  render();
  if (asked || !worker || (shown && shown.state === state)) return;
  asked = before.has(state.image) ? state : original(state.image);
  const { heads, skipped, uniform, temperature, positions } = asked;
  worker.postMessage({ number: asked.image, pixels: visible(asked), change: { heads, skipped, uniform, temperature, positions } });
}

function receive(answer) {
  const found = { ...answer, state: asked };
  asked = null;
  if (!found.finite) {
    say("With this change the model gives numbers that are not finite. It is taken back.");
    if (found.state !== state) run();
    else if (past.length) undo();
    return;
  }
  if (!before.has(answer.number)) {
    before.set(answer.number, found);
    if (!isChanged() && state.image === answer.number) found.state = state;
  }
  if (found.state.image === state.image) shown = found;
  run();
}

function isIdle() { return shown !== null && shown.state === state && asked === null; }

/** The attention from the query to all tokens, of a head or the mean of all: (T). */
function attentionOf({ maps }, layer, head, query = view.query) {
  const row = (h) => maps.subarray(((layer * HEADS + h) * T + query) * T, ((layer * HEADS + h) * T + query + 1) * T);
  if (head !== "mean") return row(head);
  const mean = new Float32Array(T);
  for (let h = 0; h < HEADS; h++) row(h).forEach((p, i) => { mean[i] += p / HEADS; });
  return mean;
}
