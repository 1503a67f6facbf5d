// The explorer: from state to page, and user input.

let drawnImage = null;

/** In the strip of images: the patches of each that are similar to the query. */
function drawSimilarity() {
  const alike = state.show === "like";
  $("images").classList.toggle("alike", alike);
  if (!alike) return;
  [...$("images").children].forEach((button, index) => {
    drawPatches(button.querySelector(".heat"), similarity(index), veilTo(1));
  });
}

function render() {
  if (state.show !== "like") state.source = state.image;
  const image = data.images[state.image];
  if (drawnImage !== state.image) {
    drawPixels($("photo"), image);
    $("image-heading").textContent = image.name;
    [...$("images").children].forEach((button, i) => button.setAttribute("aria-pressed", i === state.image));
    showPredictions();
    drawnImage = state.image;
  }
  const shared = state.shared ? sharedTop() : null;
  for (const { button, canvas, layer, map } of thumbnails) {
    const values = weights(maps()[layer][map]);
    drawPatches(canvas, values, heatTo(shared ?? topOf(values)));
    canvas.classList.toggle("raw", !state.smooth);
    const chosen = layer === state.layer && map === state.map;
    button.setAttribute("aria-pressed", chosen);
    button.tabIndex = chosen ? 0 : -1;
  }
  const values = shown();
  drawStage(values, state.show === "like" ? 1 : shared ?? topOf(values));
  drawSimilarity();
  fadeStrip();
  $("maps-top").textContent = shared ? digits(shared) : "largest of each map";
  $("readout").textContent = describe();
  $("lock").setAttribute("aria-pressed", state.locked);
  $("lock").textContent = state.locked ? "Unlock" : "Lock";
  prefixButtons.forEach((button, token) => button.setAttribute("aria-pressed", state.query === token));
  $("smooth").checked = state.smooth;
  $("shared").checked = state.shared;
  $("opacity").value = state.opacity;
  for (const radio of document.getElementsByName("direction")) radio.checked = radio.value === state.show;
  $("link").href = address();
  window.clearTimeout(render.timer);
  render.timer = window.setTimeout(remember, 250); // browsers refuse many changes per second
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

// ---- User input -----------------------------------------------------------------------

function tokenAt(event) {
  const box = $("stage").getBoundingClientRect();
  const column = clamp(Math.floor(((event.clientX - box.left) / box.width) * COLUMNS), COLUMNS);
  const row = clamp(Math.floor(((event.clientY - box.top) / box.height) * ROWS), ROWS);
  return FIRST + row * COLUMNS + column;
}

function point(token) {
  if (state.locked) { if (token !== (state.target ?? (isQueryImage() ? state.query : null))) set({ target: token }); }
  else if (token !== state.query || !isQueryImage()) set({ query: token, source: state.image });
}

function lock(token) {
  const again = state.locked && token === state.query && isQueryImage();
  set(again ? { locked: false, target: null } : { query: token, source: state.image, target: null, locked: true });
}

$("stage").addEventListener("pointermove", (event) => point(tokenAt(event)));
$("stage").addEventListener("click", (event) => lock(tokenAt(event)));
$("stage").addEventListener("keydown", (event) => {
  const from = state.locked && state.target !== null ? state.target : state.query;
  const [row, column] = from < FIRST ? patchPosition(middle()) : patchPosition(from);
  const to = (r, c) => point(FIRST + clamp(r, ROWS) * COLUMNS + clamp(c, COLUMNS));
  const actions = { // Enter locks the patch under the cursor; pressed again there, it unlocks
    ArrowLeft: () => to(row, column - 1), ArrowRight: () => to(row, column + 1),
    ArrowUp: () => to(row - 1, column), ArrowDown: () => to(row + 1, column),
    Home: () => to(row, 0), End: () => to(row, COLUMNS - 1),
    Enter: () => lock(from), " ": () => lock(from),
    Escape: () => set({ locked: false, target: null }),
    c: selectPrefixToken, C: selectPrefixToken,
  };
  if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  actions[event.key]();
});

function selectQuery(token) { set({ query: token, source: state.image, target: null, locked: true }); }

/** Select the first token before the patches; if one of them is locked, the next. */
function selectPrefixToken() { if (FIRST) selectQuery(state.locked && state.query < FIRST ? (state.query + 1) % FIRST : 0); }

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

/** The image with its map and its caption, as a PNG file. */
$("export").addEventListener("click", () => {
  const scale = Math.max(1, Math.floor(512 / COLUMNS));
  const [width, height] = [COLUMNS * scale, ROWS * scale];
  const canvas = make("canvas", { width, height: height + 80 });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height + 80);
  context.imageSmoothingEnabled = false;
  context.drawImage($("photo"), 0, 0, width, height);
  context.imageSmoothingEnabled = state.smooth;
  context.drawImage($("heat"), 0, 0, width, height);
  if (state.query >= FIRST && isQueryImage()) {
    const [row, column] = patchPosition(state.query);
    for (const [color, line] of [["#000", 5], ["#fff", 2.5]]) {
      context.strokeStyle = color;
      context.lineWidth = line;
      context.strokeRect(column * scale, row * scale, scale, scale);
    }
  }
  context.fillStyle = "#000";
  context.font = "13px system-ui, sans-serif";
  const sentences = describe().split(/(?<=\.) (?=[A-Z])/);
  [sentences.slice(0, 2).join(" "), sentences[2], sentences.slice(3).join(" "), predictionText()].forEach((line, i) => context.fillText(line ?? "", 6, height + 17 + 18 * i, width - 12));
  canvas.toBlob((blob) => {
    const link = make("a", { href: URL.createObjectURL(blob), download: `${viewName()}.png` });
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
});

$("title").textContent = data.title;
drawGrid();
drawScale($("bar"), heatTo(1));
buildImages();
buildPrefix();
buildMaps();
readAddress();
render();
