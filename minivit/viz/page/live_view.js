// The live page: what is drawn and said.
const MAPS = [...Array(HEADS).keys(), "mean"];
const BARS = 10; // classes shown

function say(text) { $("message").textContent = text; }

function headWords(head) { return head === "mean" ? "mean of all heads" : `head ${head + 1}`; }

function percent(share) { return `${(100 * share).toFixed(1)} %`; }

function isOff(layer, head) {
  if (head !== "mean") return state.heads.includes(headName(layer, head));
  return [...Array(HEADS).keys()].every((one) => isOff(layer, one));
}

// ---- The image ---------------------------------------------------------------------------------

function drawImage(canvas, pixels) {
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext("2d");
  const out = context.createImageData(WIDTH, HEIGHT);
  for (let i = 0; i < WIDTH * HEIGHT; i++) {
    for (let c = 0; c < 3; c++) out.data[4 * i + c] = pixels[i * CHANNELS + (CHANNELS === 3 ? c : 0)];
    out.data[4 * i + 3] = 255;
  }
  context.putImageData(out, 0, 0);
}

/** The image darkened where the query attends little: its colours stay what they are. */
function drawShade() {
  const canvas = $("shade");
  canvas.hidden = !view.shade || view.tool === "paint" || !shown || state.skipped.includes(view.layer);
  if (canvas.hidden) return;
  canvas.width = COLUMNS;
  canvas.height = ROWS;
  const values = attentionOf(shown, view.layer, view.head);
  const top = topOf(values) || 1;
  const context = canvas.getContext("2d");
  const out = context.createImageData(COLUMNS, ROWS);
  for (let i = 0; i < PATCHES; i++) out.data[4 * i + 3] = Math.round(190 * (1 - Math.sqrt(values[FIRST + i] / top)));
  context.putImageData(out, 0, 0);
}

function topOf(values) { return values.subarray(FIRST).reduce((a, b) => Math.max(a, b), 0); }

function drawMarks() {
  const svg = $("marks");
  svg.setAttribute("viewBox", `0 0 ${COLUMNS} ${ROWS}`);
  const shape = (tag, name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries({ class: name, ...attributes })) element.setAttribute(key, value);
    return element;
  };
  const square = (patch, name) => shape("rect", name, { x: patch % COLUMNS, y: Math.floor(patch / COLUMNS), width: 1, height: 1 });
  const marks = state.covered.map((patch) => {
    const [x, y] = [patch % COLUMNS, Math.floor(patch / COLUMNS)];
    return shape("path", "covered", { d: `M${x + 0.3} ${y + 0.3}l.4 .4m0 -.4l-.4 .4` });
  });
  if (view.query >= FIRST) marks.push(square(view.query - FIRST, "under"), square(view.query - FIRST, "query"));
  if (view.keys) marks.push(square(view.cursor, "under"), square(view.cursor, "target"));
  svg.replaceChildren(...marks);
}

function buildImages() {
  $("images").replaceChildren(...data.images.map((image, index) => {
    const canvas = make("canvas");
    drawImage(canvas, image.pixels);
    const button = make("button", { type: "button", title: image.name }, canvas);
    button.setAttribute("aria-label", `Image ${index + 1}: ${image.name}`);
    button.addEventListener("click", () => chooseImage(index));
    return button;
  }));
}

function describe() {
  const where = `Layer ${view.layer + 1}, ${headWords(view.head)}.`;
  if (!shown) return where;
  if (state.skipped.includes(view.layer)) return `${where} The layer is skipped and has no attention.`;
  const values = attentionOf(shown, view.layer, view.head);
  const best = strongest(values);
  const said = named(view.query);
  const prefix = FIRST ? ` ${percent(values[0])} goes to the class token.` : "";
  return `${where} ${said[0].toUpperCase()}${said.slice(1)} attends most to ${named(best)}: ${digits(values[best])}.${prefix}`;
}

// ---- The maps ----------------------------------------------------------------------------------

const thumbnails = []; // {button, canvas, layer, head}
const rowNames = [];

function buildMaps() {
  const box = $("maps");
  const widest = Math.max(3, (28 / data.depth) * (COLUMNS / ROWS)); // rem, so that many layers fit a screen
  box.style.maxWidth = `${4.5 + widest * MAPS.length}rem`;
  box.style.gridTemplateColumns = `max-content repeat(${MAPS.length}, minmax(2.4rem, 1fr))`;
  box.append(make("span", { className: "name row", textContent: "head" }));
  for (const head of MAPS) box.append(make("span", { className: "name", textContent: head === "mean" ? head : head + 1 }));
  for (let layer = 0; layer < data.depth; layer++) {
    rowNames.push(make("span", { className: "name row" }));
    box.append(rowNames[layer]);
    for (const head of MAPS) {
      const canvas = make("canvas", { width: COLUMNS, height: ROWS, className: "raw" });
      const button = make("button", { type: "button" }, canvas);
      button.addEventListener("click", () => look({ layer, head }));
      box.append(button);
      thumbnails.push({ button, canvas, layer, head });
    }
  }
}

function drawMaps() {
  for (const { button, canvas, layer, head } of thumbnails) {
    const skipped = state.skipped.includes(layer);
    const chosen = layer === view.layer && head === view.head;
    if (shown) {
      const values = attentionOf(shown, layer, head);
      drawMap(canvas, values, topOf(values), () => 1);
    }
    button.setAttribute("aria-pressed", chosen);
    button.tabIndex = chosen ? 0 : -1;
    button.classList.toggle("off", isOff(layer, head));
    button.classList.toggle("skipped", skipped);
    button.setAttribute("aria-label", `layer ${layer + 1}, ${headWords(head)}${skipped ? ", skipped" : isOff(layer, head) ? ", off" : ""}`);
  }
  rowNames.forEach((name, layer) => { name.textContent = `layer ${layer + 1}`; });
}

function drawControls() {
  const { layer, head } = view;
  const one = head !== "mean";
  $("chosen").textContent = `Layer ${layer + 1}, ${headWords(head)}`;
  $("head-off").disabled = $("head-only").disabled = !one;
  $("head-off").setAttribute("aria-pressed", one && isOff(layer, head));
  $("skip").setAttribute("aria-pressed", state.skipped.includes(layer));
  $("uniform").setAttribute("aria-pressed", state.uniform.includes(layer));
  $("temperature").value = Math.round(100 * Math.log10(state.temperature));
  $("temperature-value").textContent = state.temperature.toFixed(2);
  const positions = state.positions === undefined ? "own" : state.positions ? "shuffled" : "off";
  for (const radio of document.getElementsByName("positions")) radio.checked = radio.value === positions;
  for (const radio of document.getElementsByName("tool")) radio.checked = radio.value === view.tool;
  $("class-token").setAttribute("aria-pressed", FIRST > 0 && view.query === 0);
  $("stage").dataset.tool = view.tool;
}

// ---- The prediction ----------------------------------------------------------------------------

function best(probs) { return probs.indexOf(Math.max(...probs)); }

/** The classes with the largest probability before or after, in the order before. */
function classesShown(old, now) {
  const largest = (k) => Math.max(old[k], now[k]);
  const top = [...old.keys()].sort((a, b) => largest(b) - largest(a)).slice(0, BARS);
  return top.sort((a, b) => old[b] - old[a]);
}

function drawPrediction() {
  const words = changesInWords();
  $("changes").textContent = words.length ? `Changed: ${words.join("; ")}.` : "Nothing is changed.";
  $("undo").disabled = !past.length;
  $("reset").disabled = !words.length;
  if (!shown || shown.state.image !== state.image) return;
  const [old, now] = [before.get(state.image).probs, shown.probs];
  const label = data.images[state.image].label;
  const [was, is] = [best(old), best(now)];
  $("answer").textContent = `${data.classes[is]}, ${percent(now[is])}`;
  $("was").textContent = words.length ? `Before: ${data.classes[was]}, ${percent(old[was])}` : "";
  $("truth").textContent = label === null ? "" : `True class: ${data.classes[label]}${is === label ? "" : " – wrong"}`;
  $("truth").classList.toggle("wrong", label !== null && is !== label);
  $("bars").replaceChildren(...classesShown(old, now).map((k) => bar(k, old[k], now[k], k === label)));
  $("time").textContent = `One forward pass: ${shown.milliseconds.toFixed(0)} ms`;
}

function bar(k, old, now, isLabel) {
  const fill = (name, share) => {
    const element = make("div", { className: name });
    element.style.width = `${100 * share}%`;
    return element;
  };
  const item = make("li", { className: isLabel ? "true" : "" },
    make("span", { className: "who", textContent: data.classes[k], title: data.classes[k] }),
    make("div", { className: "track" }, fill("before", old), fill("after", now)),
    make("span", { className: "share", textContent: percent(now) }));
  item.setAttribute("aria-label", `${data.classes[k]}${isLabel ? " (true class)" : ""}: ${percent(now)}, before ${percent(old)}`);
  return item;
}

function render() {
  const image = data.images[state.image];
  drawImage($("photo"), visible(state));
  $("image-name").textContent = image.name;
  [...$("images").children].forEach((button, i) => button.setAttribute("aria-pressed", i === state.image));
  const ready = shown && shown.state.image === state.image;
  if (ready || !shown) {
    drawShade();
    drawMaps();
    $("readout").textContent = describe();
  }
  drawMarks();
  drawControls();
  drawPrediction();
}
