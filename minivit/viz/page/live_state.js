// The live page: the current changes, and their history.

/** An image with nothing changed; see UNCHANGED in model.js. A state is never changed itself: a
 * change makes another. covered, blurred: patches. order: for each position the patch that is
 * there; undefined: unchanged. All counted from 0. */
function original(image) {
  return {
    image, pixels: data.images[image].pixels, order: undefined, covered: [], blurred: [],
    heads: [], skipped: [], uniform: [], temperature: 1, forced: [], positions: undefined,
  };
}

let state = original(0);
let past = []; // states, newest last
let group = null; // changes of one group, such as those of one drag, are undone together

/** What is looked at; undo leaves it alone. query: the query token. at: the token under the
 * cursor. head: a number, or "mean". keys: whether the keyboard is used on the image, whose cursor is
 * then drawn. held: a patch that is about to be moved or swapped. step, column: of the steps. */
const view = {
  tab: "attention", query: FIRST ? 0 : middle(), at: middle(), layer: data.depth - 1, head: "mean", tool: "query",
  cursor: middle() - FIRST, keys: false, held: null, color: "#d01c1c", shade: true, step: "image", column: 0,
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

/** Reset everything except the image, as one undo step. */
function reset() { if (isChanged()) change(original(state.image)); }

function isChanged() { return changesInWords().length > 0; }

function count(number, one, many) { return `${number} ${number === 1 ? one : many}`; }

function changesInWords() {
  const words = [];
  const numbers = (layers) => layers.map((layer) => layer + 1).join(", ");
  if (state.pixels !== data.images[state.image].pixels) words.push("pixels painted");
  if (state.order) words.push("patches moved");
  if (state.covered.length) words.push(`${count(state.covered.length, "patch", "patches")} covered`);
  if (state.blurred.length) words.push(`${count(state.blurred.length, "patch", "patches")} blurred`);
  if (state.heads.length > 2) words.push(`${state.heads.length} heads off`);
  else for (const name of state.heads) words.push(`head ${Number(name.split(",")[1]) + 1} of layer ${Number(name.split(",")[0]) + 1} off`);
  if (state.skipped.length) words.push(`layer ${numbers(state.skipped)} skipped`);
  if (state.uniform.length) words.push(`uniform attention in layer ${numbers(state.uniform)}`);
  if (state.forced.length) words.push(`class token forced to ${count(state.forced.length, "patch", "patches")}`);
  if (state.temperature !== 1) words.push(`softmax temperature ${state.temperature.toFixed(2)}`);
  if (state.positions !== undefined) words.push(`positions ${state.positions ? "shuffled" : "off"}`);
  return words;
}

// ---- Changes -----------------------------------------------------------------------------------

/** A list with a member added or removed. */
function toggled(list, member, on = !list.includes(member)) {
  const others = list.filter((one) => one !== member);
  return on ? [...others, member].sort((a, b) => (a > b) - (a < b)) : others;
}

/** Add a patch to a list of the state (covered, blurred, forced), or remove it. */
function mark(list, patch, on, inGroup = null) {
  if (state[list].includes(patch) !== on) change({ [list]: toggled(state[list], patch, on) }, inGroup);
}

function headName(layer, head) { return `${layer},${head}`; }

function toggleHead(layer, head) { change({ heads: toggled(state.heads, headName(layer, head)) }); }

/** Switch all other heads of the layer off. */
function onlyHead(layer, head) {
  const others = [...Array(HEADS).keys()].filter((one) => one !== head).map((one) => headName(layer, one));
  change({ heads: [...state.heads.filter((name) => !name.startsWith(`${layer},`)), ...others] });
}

function currentOrder() { return state.order ?? [...Array(PATCHES).keys()]; }

function shufflePatches() {
  const order = currentOrder();
  change({ order: shuffled(PATCHES).map((patch) => order[patch]) });
}

function swapPatches(one, other) {
  if (one === other) return;
  const order = [...currentOrder()];
  [order[one], order[other]] = [order[other], order[one]];
  change({ order });
}

/** Move a patch; its old position gets the mean color. */
function movePatch(from, to) {
  if (from === to) return;
  const order = [...currentOrder()];
  order[to] = order[from];
  change({ order, covered: toggled(toggled(state.covered, to, state.covered.includes(from)), from, true) });
}

/** Paint is applied to the displayed image: moved patches stay where they are. */
function painted(draw) {
  const pixels = Uint8Array.from(arranged(state.pixels, state.order));
  draw(pixels);
  return { pixels, order: undefined };
}
