// The live page: a state as text, in the page's address after #, and in a tour.
// "image=2&cover=3.4,3.5&off=2.1&positions=off&show=lens": rows, columns, layers and heads from 1.

const TABS = ["attention", "steps", "lens", "heads"];
const NUM_INITIAL = data.images.length; // images that came with the page; an address cannot name others

/** A whole number from 1 to max, as text -> from 0. */
function index(text, max) {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > max) throw new RangeError(text);
  return number - 1;
}

function patchOf(text) {
  const [row, column, more] = text.split(".");
  if (more) throw new RangeError(text);
  return index(row, ROWS) * COLUMNS + index(column, COLUMNS);
}

function headOf(text) {
  const [layer, head] = text.split(".");
  return headName(index(layer, data.depth), index(head, HEADS));
}

/** The patch at each position. "shuffled" gives the same order each time. */
function orderOf(text) {
  if (text === "shuffled") return shuffled(PATCHES, seeded());
  const order = text.split(",").map((number) => index(number, PATCHES));
  if (order.length !== PATCHES) throw new RangeError(text);
  return order;
}

function oneOf(names, text) {
  if (!names.includes(text)) throw new RangeError(text);
  return text;
}

function temperatureOf(text) {
  const number = Number(text);
  if (!(number >= 0.1 && number <= 10)) throw new RangeError(text);
  return number;
}

const listOf = (one) => (text) => text.split(",").map(one);
const fromOne = (numbers) => numbers.map((number) => number + 1).join(",");
const patchName = (patch) => `${Math.floor(patch / COLUMNS) + 1}.${(patch % COLUMNS) + 1}`;
const patchNames = (patches) => patches.map(patchName).join(",");
const layersOf = listOf((text) => index(text, data.depth));
const headNames = (names) => names.map((name) => fromOne(name.split(",").map(Number)).replace(",", ".")).join(",");

/** For each word: its name in the state or in the view; how to write it, how to read it. */
const STATE_WORDS = {
  cover: ["covered", patchNames, listOf(patchOf)],
  blur: ["blurred", patchNames, listOf(patchOf)],
  force: ["forced", patchNames, listOf(patchOf)],
  patches: ["order", fromOne, orderOf],
  off: ["heads", headNames, listOf(headOf)],
  skip: ["skipped", fromOne, layersOf],
  uniform: ["uniform", fromOne, layersOf],
  temperature: ["temperature", (number) => String(Number(number.toFixed(3))), temperatureOf],
  positions: ["positions", (order) => order ? fromOne(order) : "off", (text) => text === "off" ? null : orderOf(text)],
};
const VIEW_WORDS = {
  show: ["tab", String, (text) => oneOf(TABS, text)],
  layer: ["layer", (layer) => String(layer + 1), (text) => index(text, data.depth)],
  head: ["head", (head) => head === "mean" ? head : String(head + 1), (text) => text === "mean" ? text : index(text, HEADS)],
  query: ["query", (token) => token < FIRST ? "class" : patchName(token - FIRST), (text) => text === "class" && FIRST ? 0 : FIRST + patchOf(text)],
  step: ["step", String, String],
};
const START = { ...view };

/** Differences from the initial page. Paint and added images are not part of an address. */
function addressOf() {
  const words = state.image > 0 && state.image < NUM_INITIAL ? [`image=${state.image + 1}`] : [];
  const write = (table, now, defaults) => {
    for (const [word, [name, format]] of Object.entries(table))
      if (now[name] !== defaults[name] && now[name]?.length !== 0) words.push(`${word}=${format(now[name])}`);
  };
  write(STATE_WORDS, state, original(state.image));
  write(VIEW_WORDS, view, START);
  return words.join("&");
}

/** What an address says: {image, changes, viewChanges, find, slide, unknown}. */
function readAddress(text) {
  const found = { image: state.image, changes: {}, viewChanges: {}, find: null, slide: null, unknown: [] };
  const read = (word, value) => {
    if (word === "image") found.image = index(value, NUM_INITIAL);
    else if (word === "find") found.find = oneOf(Object.keys(FINDS), value);
    else if (word === "tour") found.slide = index(value, TOUR.length);
    else if (word in STATE_WORDS) found.changes[STATE_WORDS[word][0]] = STATE_WORDS[word][2](value);
    else if (word in VIEW_WORDS) found.viewChanges[VIEW_WORDS[word][0]] = VIEW_WORDS[word][2](value);
    else throw new RangeError(word);
  };
  for (const [word, value] of new URLSearchParams(text)) {
    try { read(word, value); } catch { found.unknown.push(`${word}=${value}`); }
  }
  return found;
}

let pendingAddress = null; // an address that needs a search, until the model has run

/** Show the state that an address names, or that of its slide if it names nothing else; this is
 * one undo step. */
function goTo(text) {
  pendingAddress = null;
  const { image, changes, viewChanges, find, slide, unknown } = readAddress(text);
  showMessage(unknown.length ? `The address says ${unknown.join(", ")}, which this page does not know.` : "");
  if (slide !== null) [tour.slide, tour.on] = [slide, true];
  if (slide !== null && [...new URLSearchParams(text)].length === 1) return toSlide(slide);
  const { tool, shade, color } = view;
  Object.assign(view, START, { tool, shade, color }, viewChanges);
  if (find && !before.has(image)) pendingAddress = text;
  else if (find) FINDS[find](image, changes);
  const newState = { ...original(image), ...changes };
  if (Object.keys(newState).some((name) => String(newState[name]) !== String(state[name]))) change(newState);
  else run();
}

let writing = null;

/** The address follows the page, so that it can be copied; but not every move of a drag. */
function followAddress() {
  clearTimeout(writing);
  writing = setTimeout(() => {
    const text = [addressOf(), tour.on ? `tour=${tour.slide + 1}` : ""].filter(Boolean).join("&");
    if (pendingAddress || (!text && !location.hash)) return;
    try { history.replaceState(null, "", `#${text}`); } catch { /* a frame in a notebook has no address */ }
  }, 300);
}
