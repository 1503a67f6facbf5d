// The live page: what the reader does.

function look(changes) {
  Object.assign(view, changes);
  render();
}

function chooseImage(index) {
  if (index === state.image) return;
  say("");
  change({ image: index, pixels: data.images[index].pixels, covered: [] });
}

// ---- The stage ---------------------------------------------------------------------------------

/** Where the pointer is, in pixels of the image. */
function pixelAt(event) {
  const box = $("stage").getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * WIDTH, ((event.clientY - box.top) / box.height) * HEIGHT];
}

function patchAt([x, y]) { return clamp(Math.floor(y / PATCH), ROWS) * COLUMNS + clamp(Math.floor(x / PATCH), COLUMNS); }

let drag = null; // {covers, last}, while the pointer is down
const RADIUS = Math.max(0.8, PATCH / 3); // of a dot of paint, in pixels

/** Dots along the way from one place to another. */
function stroke(from, to) {
  const pixels = Uint8Array.from(state.pixels);
  const steps = 1 + Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / RADIUS);
  for (let i = 1; i <= steps; i++) {
    const at = [0, 1].map((axis) => from[axis] + ((to[axis] - from[axis]) * i) / steps);
    paint(pixels, ...at, RADIUS);
  }
  change({ pixels }, drag);
}

$("stage").addEventListener("pointerdown", (event) => {
  if (event.button) return;
  const at = pixelAt(event);
  const patch = patchAt(at);
  Object.assign(view, { cursor: patch, keys: false });
  $("stage").setPointerCapture(event.pointerId);
  drag = { covers: !state.covered.includes(patch), last: at };
  move(at);
});

function move(at) {
  if (view.tool === "query") look({ query: FIRST + patchAt(at) });
  else if (view.tool === "cover") cover(patchAt(at), drag.covers, drag);
  else stroke(drag.last, at);
  drag.last = at;
}

$("stage").addEventListener("pointermove", (event) => { if (drag) move(pixelAt(event)); });
for (const name of ["pointerup", "pointercancel"]) $("stage").addEventListener(name, () => { drag = null; });
$("stage").addEventListener("keyup", () => look({ keys: true }));
$("stage").addEventListener("blur", () => look({ keys: false }));

/** What the tool does to the patch under the cursor. */
function useTool() {
  const patch = view.cursor;
  if (view.tool === "query") look({ query: FIRST + patch });
  else if (view.tool === "cover") cover(patch, !state.covered.includes(patch));
  else {
    const pixels = Uint8Array.from(state.pixels);
    paint(pixels, (patch % COLUMNS + 0.5) * PATCH, (Math.floor(patch / COLUMNS) + 0.5) * PATCH, PATCH / 2);
    change({ pixels });
  }
}

$("stage").addEventListener("keydown", (event) => {
  const [row, column] = [Math.floor(view.cursor / COLUMNS), view.cursor % COLUMNS];
  const to = (r, c) => look({ cursor: clamp(r, ROWS) * COLUMNS + clamp(c, COLUMNS) });
  act(event, {
    ArrowLeft: () => to(row, column - 1), ArrowRight: () => to(row, column + 1),
    ArrowUp: () => to(row - 1, column), ArrowDown: () => to(row + 1, column),
    Enter: useTool, " ": useTool, c: () => { if (FIRST) look({ query: 0 }); },
  });
});

function act(event, actions) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!actions[key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  actions[key]();
}

// ---- Heads and layers --------------------------------------------------------------------------

const ACTIONS = {
  "head-off": () => { if (view.head !== "mean") toggleHead(view.layer, view.head); },
  "head-only": () => onlyHead(view.layer, view.head),
  skip: () => change({ skipped: toggled(state.skipped, view.layer) }),
  uniform: () => change({ uniform: toggled(state.uniform, view.layer) }),
  "class-token": () => look({ query: 0 }),
  shuffle: shufflePatches,
  "cover-all": () => change({ covered: state.covered.length === PATCHES ? [] : [...Array(PATCHES).keys()] }),
  undo, reset,
};
for (const [name, action] of Object.entries(ACTIONS)) $(name).addEventListener("click", () => { say(""); action(); });

$("maps").addEventListener("keydown", (event) => {
  const to = (down, right) => () => {
    const layer = clamp(view.layer + down, data.depth);
    const head = MAPS[clamp(MAPS.indexOf(view.head) + right, MAPS.length)];
    look({ layer, head });
    thumbnails.find((one) => one.layer === layer && one.head === head).button.focus();
  };
  act(event, {
    ArrowLeft: to(0, -1), ArrowRight: to(0, 1), ArrowUp: to(-1, 0), ArrowDown: to(1, 0),
    o: ACTIONS["head-off"], s: ACTIONS.skip, u: ACTIONS.uniform,
  });
});

$("temperature").addEventListener("input", (event) => change({ temperature: 10 ** (Number(event.target.value) / 100) }, event.target));
$("temperature").addEventListener("change", () => { group = null; });
const POSITIONS = { own: () => undefined, off: () => null, shuffled: () => shuffled(PATCHES) };
for (const radio of document.getElementsByName("positions")) radio.addEventListener("change", () => change({ positions: POSITIONS[radio.value]() }));
for (const radio of document.getElementsByName("tool")) radio.addEventListener("change", () => look({ tool: radio.value }));
$("colour").addEventListener("input", (event) => look({ colour: event.target.value, tool: "paint" }));
$("on-image").addEventListener("change", (event) => look({ shade: event.target.checked }));
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey) return;
  event.preventDefault();
  undo();
});

// ---- Images of one's own -----------------------------------------------------------------------

const MOST_BYTES = 100_000_000;

async function openImage(file) {
  if (file.size > MOST_BYTES) return say(`${file.name} has more than 100 MB.`);
  let bitmap;
  try { bitmap = await createImageBitmap(file); } catch { return say(`${file.name} is not an image that this browser can read.`); }
  data.images.push({ name: file.name, label: null, pixels: fitted(bitmap) });
  bitmap.close();
  buildImages();
  chooseImage(data.images.length - 1);
}

/** An image file in the size that the model takes: cut, padded or stretched as its training's. */
function fitted(bitmap) {
  const canvas = make("canvas", { width: WIDTH, height: HEIGHT });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.fillStyle = data.resize === "pad" ? "#000" : "#fff"; // white is what shows through
  context.fillRect(0, 0, WIDTH, HEIGHT);
  let { width, height } = bitmap;
  let [x, y, toWidth, toHeight] = [0, 0, WIDTH, HEIGHT];
  if (data.resize === "crop") {
    const scale = data.cropShare * Math.min(width / WIDTH, height / HEIGHT);
    [x, y] = [(width - scale * WIDTH) / 2, (height - scale * HEIGHT) / 2];
    [width, height] = [scale * WIDTH, scale * HEIGHT];
  } else if (data.resize === "pad") {
    const scale = Math.min(WIDTH / width, HEIGHT / height);
    [toWidth, toHeight] = [Math.round(width * scale), Math.round(height * scale)];
  }
  const [left, top] = [Math.round((WIDTH - toWidth) / 2), Math.round((HEIGHT - toHeight) / 2)];
  context.fillStyle = "#fff";
  context.fillRect(left, top, toWidth, toHeight);
  context.drawImage(bitmap, x, y, width, height, left, top, toWidth, toHeight);
  const rgba = context.getImageData(0, 0, WIDTH, HEIGHT).data;
  const pixels = new Uint8Array(WIDTH * HEIGHT * CHANNELS);
  for (let i = 0; i < WIDTH * HEIGHT; i++) {
    const rgb = rgba.subarray(4 * i, 4 * i + 3);
    pixels.set(CHANNELS === 3 ? rgb : [grey(rgb)], i * CHANNELS);
  }
  return pixels;
}

$("file").addEventListener("change", (event) => {
  if (event.target.files.length) openImage(event.target.files[0]);
  event.target.value = "";
});
for (const name of ["dragenter", "dragover", "dragleave", "drop"])
  window.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", name === "dragenter" || name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) openImage(event.dataTransfer.files[0]);
  });

// ---- Start -------------------------------------------------------------------------------------

$("title").textContent = data.title;
$("stage").style.aspectRatio = `${COLUMNS} / ${ROWS}`;
$("colour").value = view.colour;
$("class-token").hidden = $("class-key").hidden = !FIRST;
$("positions").hidden = !data.positions;
buildImages();
buildMaps();
drawBar();
try { startWorker(); } catch { say("The model cannot run here: this browser has no workers."); }
run();
