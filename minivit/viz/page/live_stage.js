// The live page: pointer and keyboard on the image.

/** The pointer's position in pixels of the image. */
function pixelAt(event) {
  const box = $("stage").getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * WIDTH, ((event.clientY - box.top) / box.height) * HEIGHT];
}

function patchAt([x, y]) { return clamp(Math.floor(y / PATCH), ROWS) * COLUMNS + clamp(Math.floor(x / PATCH), COLUMNS); }

let drag = null; // {on, last, from}, while the pointer is down
const RADIUS = Math.max(0.8, PATCH / 3); // radius of a dot of paint, in pixels
const LISTS = { cover: "covered", blur: "blurred", force: "forced" }; // tools that mark patches
const MOVES = { move: movePatch, swap: swapPatches };

/** Dots along the line between two points. */
function stroke(from, to) {
  const steps = 1 + Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / RADIUS);
  change(painted((pixels) => {
    for (let i = 1; i <= steps; i++) paint(pixels, ...[0, 1].map((axis) => from[axis] + ((to[axis] - from[axis]) * i) / steps), RADIUS);
  }), drag);
}

/** Move and swap: the first patch clicked is picked up, the second is where it goes. */
function carry(patch) {
  const from = view.held;
  view.held = from === null ? patch : null;
  if (from === null || from === patch) render();
  else MOVES[view.tool](from, patch);
}

$("stage").addEventListener("pointerdown", (event) => {
  if (event.button) return;
  const at = pixelAt(event);
  const patch = patchAt(at);
  Object.assign(view, { cursor: patch, keys: false });
  $("stage").setPointerCapture(event.pointerId);
  drag = { on: view.tool in LISTS && !state[LISTS[view.tool]].includes(patch), last: at, from: patch };
  if (view.tool in MOVES) carry(patch);
  else move(at);
});

function move(at) {
  if (view.tool === "query") look({ query: FIRST + patchAt(at), at: FIRST + patchAt(at) });
  else if (view.tool in LISTS) mark(LISTS[view.tool], patchAt(at), drag.on, drag);
  else if (view.tool === "paint") stroke(drag.last, at);
  drag.last = at;
}

$("stage").addEventListener("pointermove", (event) => {
  const at = pixelAt(event);
  if (drag) move(at);
  else if (view.tab !== "attention" && view.at !== FIRST + patchAt(at)) look({ at: FIRST + patchAt(at) });
});
$("stage").addEventListener("pointerup", () => {
  const patch = drag && patchAt(drag.last);
  if (drag && view.tool in MOVES && view.held !== null && patch !== drag.from) carry(patch);
  drag = null;
});
$("stage").addEventListener("pointercancel", () => { drag = null; });
$("stage").addEventListener("keyup", () => look({ keys: true }));
$("stage").addEventListener("blur", () => look({ keys: false }));

/** What the tool does to the patch under the cursor. */
function useTool() {
  const patch = view.cursor;
  if (view.tool === "query") look({ query: FIRST + patch, at: FIRST + patch });
  else if (view.tool in LISTS) mark(LISTS[view.tool], patch, !state[LISTS[view.tool]].includes(patch));
  else if (view.tool in MOVES) carry(patch);
  else change(painted((pixels) => paint(pixels, (patch % COLUMNS + 0.5) * PATCH, (Math.floor(patch / COLUMNS) + 0.5) * PATCH, PATCH / 2)));
}

$("stage").addEventListener("keydown", (event) => {
  const [row, column] = [Math.floor(view.cursor / COLUMNS), view.cursor % COLUMNS];
  const to = (r, c) => {
    const cursor = clamp(r, ROWS) * COLUMNS + clamp(c, COLUMNS);
    look({ cursor, at: FIRST + cursor });
  };
  act(event, {
    ArrowLeft: () => to(row, column - 1), ArrowRight: () => to(row, column + 1),
    ArrowUp: () => to(row - 1, column), ArrowDown: () => to(row + 1, column),
    Enter: useTool, " ": useTool, Escape: () => look({ held: null }), c: () => { if (FIRST) look({ query: 0, at: 0 }); },
  });
});

/** Run the action of a key, if it has one. */
function act(event, actions) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!actions[key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation();
  actions[key]();
}
