// The live page: drawing and texts of the image and the controls.

function showMessage(text) { $("message").textContent = text; }

function headWords(head) { return head === "mean" ? "mean of all heads" : `head ${head + 1}`; }

function percent(fraction) { return `${(100 * fraction).toFixed(1)} %`; }

/** A number with about three digits and a proper minus sign. */
function short(number) {
  const size = Math.abs(number);
  const text = size === 0 ? "0" : size >= 100 ? size.toFixed(0) : size >= 1 ? size.toFixed(2) : size >= 1e-3 ? size.toFixed(3) : size.toExponential(1);
  return number < 0 ? `−${text}` : text;
}

function upper(text) { return text[0].toUpperCase() + text.slice(1); }

function isOff(layer, head) {
  if (head !== "mean") return state.heads.includes(headName(layer, head));
  return [...Array(HEADS).keys()].every((one) => isOff(layer, one));
}

const SIGNED = bytes(data.signed); // 256 colors from blue (less) to red (more)

/** The color of a number between -top and `top`. */
function signedTo(top) { return (number) => colorOf(SIGNED, 0.5 + number / (2 * top || 1)); }

// ---- The image ---------------------------------------------------------------------------------

function drawImage(canvas, pixels) {
  [canvas.width, canvas.height] = [WIDTH, HEIGHT];
  const out = new ImageData(WIDTH, HEIGHT);
  for (let i = 0; i < WIDTH * HEIGHT; i++) {
    for (let c = 0; c < 3; c++) out.data[4 * i + c] = pixels[i * CHANNELS + (CHANNELS === 3 ? c : 0)];
    out.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(out, 0, 0);
}

/** The image, darkened where the query attends little; its hues are unchanged. */
function drawShade() {
  const canvas = $("shade");
  canvas.hidden = !view.shade || !["attention", "heads"].includes(view.tab) || view.tool === "paint" || !shown || state.skipped.includes(view.layer);
  if (canvas.hidden) return;
  const values = attentionOf(shown, view.layer, view.head);
  const top = topOf(values) || 1;
  drawPatches(canvas, values, (value) => [0, 0, 0, Math.round(190 * (1 - Math.sqrt(value / top)))]);
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
  const at = (patch) => ({ x: patch % COLUMNS, y: Math.floor(patch / COLUMNS) });
  const square = (patch, name) => shape("rect", name, { ...at(patch), width: 1, height: 1 });
  const framed = (patch, name) => [square(patch, "under"), square(patch, name)];
  const marks = state.covered.map((patch) => shape("path", "covered", { d: `M${at(patch).x + 0.3} ${at(patch).y + 0.3}l.4 .4m0 -.4l-.4 .4` }));
  marks.push(...state.forced.map((patch) => shape("circle", "forced", { cx: at(patch).x + 0.5, cy: at(patch).y + 0.5, r: 0.25 })));
  if (view.query >= FIRST) marks.push(...framed(view.query - FIRST, "query"));
  if (view.held !== null) marks.push(...framed(view.held, "held"));
  if (view.keys) marks.push(...framed(view.cursor, "target"));
  else if (view.tab !== "attention" && view.at >= FIRST) marks.push(...framed(view.at - FIRST, "target"));
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
  if (view.held !== null) return `${upper(tokenName(FIRST + view.held))} is picked up; choose where it goes.`;
  const where = `Layer ${view.layer + 1}, ${headWords(view.head)}.`;
  if (!shown) return where;
  if (state.skipped.includes(view.layer)) return `${where} The layer is skipped and has no attention.`;
  const values = attentionOf(shown, view.layer, view.head);
  const best = strongest(values);
  const prefix = FIRST ? ` ${percent(values[0])} goes to the class token.` : "";
  return `${where} ${upper(tokenName(view.query))} attends most to ${tokenName(best)}: ${digits(values[best])}.${prefix}`;
}

function drawControls() {
  const { layer, head } = view;
  const isHead = head !== "mean";
  $("chosen").textContent = `Layer ${layer + 1}, ${headWords(head)}`;
  $("head-off").disabled = $("head-only").disabled = !isHead;
  $("head-off").setAttribute("aria-pressed", isHead && isOff(layer, head));
  $("skip").setAttribute("aria-pressed", state.skipped.includes(layer));
  $("uniform").setAttribute("aria-pressed", state.uniform.includes(layer));
  $("temperature").value = Math.round(100 * Math.log10(state.temperature));
  $("temperature-value").textContent = state.temperature.toFixed(2);
  const positions = state.positions === undefined ? "own" : state.positions ? "shuffled" : "off";
  for (const radio of document.getElementsByName("positions")) radio.checked = radio.value === positions;
  for (const radio of document.getElementsByName("tool")) radio.checked = radio.value === view.tool;
  $("class-token").setAttribute("aria-pressed", FIRST > 0 && view.query === 0);
  $("stage").dataset.tool = view.tool;
  for (const tab of TABS) {
    $(`tab-${tab}`).setAttribute("aria-selected", tab === view.tab);
    $(`tab-${tab}`).tabIndex = tab === view.tab ? 0 : -1;
    $(`panel-${tab}`).hidden = tab !== view.tab;
  }
}

const PANELS = { attention: drawAttention, steps: drawSteps, lens: drawLens, heads: drawEffects };

function render() {
  const image = data.images[state.image];
  drawImage($("photo"), visible(state));
  $("image-name").textContent = image.name;
  [...$("images").children].forEach((button, i) => button.setAttribute("aria-pressed", i === state.image));
  const ready = shown && shown.state.image === state.image;
  if (ready || !shown) {
    drawShade();
    PANELS[view.tab]();
    $("readout").textContent = describe();
  }
  drawMarks();
  drawControls();
  drawPrediction();
  drawTour();
  nameCovered();
  followAddress();
}
