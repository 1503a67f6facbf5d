// The explorer: drawings and texts.

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

function topOf(values) { return values.subarray(FIRST).reduce((a, b) => Math.max(a, b), 0); }

function sharedTop() {
  let top = 0;
  for (const heads of maps()) for (const name of MAPS) top = Math.max(top, topOf(weights(heads[name])));
  return top;
}

const PAPER = [250, 249, 247];

/** How opaque the veil over a patch is: less for a larger weight. So the image keeps its hues, and
 * no color of a map is mixed with them. */
function veil(fraction) { return (state.opacity / 100) * (1 - fraction); }

function veilTo(top) { return (value) => [...PAPER, Math.round(255 * veil(clampFraction(value / (top || 1))))]; }

/** The veil over the image, from no weight to the largest weight. */
function drawVeilScale() {
  const rgb = bytes(data.images[state.image].pixels);
  const mean = [0, 1, 2].map((c) => rgb.reduce((sum, value, i) => i % 3 === c ? sum + value : sum, 0) / (rgb.length / 3));
  drawScale($("veil-bar"), (fraction) => {
    const alpha = veil(fraction);
    return [...mean.map((value, c) => Math.round(alpha * PAPER[c] + (1 - alpha) * value)), 255];
  });
}

function drawStage(values, top) {
  drawPatches($("heat"), values, veilTo(top));
  drawVeilScale();
  $("heat").classList.toggle("raw", !state.smooth);
  for (const mark of $("marks").querySelectorAll("rect")) mark.remove();
  if (isQueryImage()) mark(state.query, "query");
  if (state.locked && state.target !== null && !(isQueryImage() && state.target === state.query)) mark(state.target, "target");
  $("bar-top").textContent = digits(top);
}

function mark(token, kind) {
  if (token < FIRST) return; // it has no position in the image
  const [row, column] = patchPosition(token);
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

// ---- Words --------------------------------------------------------------------------------------

function percent(fraction) { return `${(100 * fraction).toFixed(1)} %`; }

function mapName(map) { return typeof map === "number" ? `head ${map + 1}` : map; }

function queryText() {
  const text = tokenName(state.query);
  return `${text[0].toUpperCase()}${text.slice(1)}${isQueryImage() ? "" : ` of ${data.images[state.source].name}`}${state.locked ? " (locked)" : ""}.`;
}

function describe() { return state.show === "like" ? describeSimilarity() : describeAttention(); }

function describeSimilarity() {
  const all = data.images.map((_, index) => similarity(index));
  const nearest = all.map((values, index) => strongest(values, index === state.source ? state.query : null));
  const cosine = (index, token) => `cosine similarity ${all[index][token].toFixed(2)}`;
  const target = state.locked && state.target !== null ? state.target : nearest[state.image];
  const lines = [queryText(), `Most similar here: ${tokenName(target)}, ${cosine(state.image, target)}.`];
  const others = [...all.keys()].filter((index) => index !== state.image);
  if (others.length) {
    const best = others.reduce((a, b) => all[b][nearest[b]] > all[a][nearest[a]] ? b : a);
    lines.push(`Most similar in another image: ${tokenName(nearest[best])} of ${data.images[best].name}, ${cosine(best, nearest[best])}.`);
  }
  return lines.join(" ");
}

function describeAttention() {
  const map = current();
  const all = weights(map);
  const target = state.locked && state.target !== null ? state.target : strongest(all);
  const rank = 1 + all.filter((p) => p > all[target]).length;
  const lines = [
    `Layer ${data.layers[state.layer] + 1}, ${mapName(state.map)}. ${queryText()}`,
    `${state.show === "by" ? "Attended by" : "Attends to"} ${tokenName(target)}${target === state.query ? " (itself)" : ""}: weight ${digits(all[target])}, rank ${rank} of ${T}.`,
    `Entropy ${entropy(map).toFixed(2)} of ${Math.log2(T).toFixed(2)} bits.`,
  ];
  if (FIRST) lines.push(`${beforePatches(map).join(", ")}.`);
  return lines.join(" ");
}

/** Attention to the tokens before the patches; registers are summed. */
function beforePatches(map) {
  const sums = {};
  data.prefix.forEach((name, token) => {
    const who = name.replace(/ \d+$/, "s");
    sums[who] = (sums[who] ?? 0) + map[state.query * T + token];
  });
  return Object.entries(sums).map(([who, sum]) => `${percent(sum)} goes to ${who}`);
}

// ---- The page's parts ---------------------------------------------------------------------------

const thumbnails = []; // {button, canvas, layer, map}

function buildMaps() {
  const box = $("maps");
  box.style.gridTemplateColumns = `max-content repeat(${MAPS.length}, minmax(3.4rem, 1fr))`;
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

function buildImages() {
  if (data.images.length === 1) $("images").hidden = true;
  data.images.forEach((image, index) => {
    const canvas = make("canvas");
    drawPixels(canvas, image);
    const button = make("button", { type: "button", title: image.name }, canvas, make("canvas", { className: "heat" }));
    button.setAttribute("aria-label", `Image ${index + 1}: ${image.name}${isWrong(image) ? ", misclassified" : ""}`);
    button.classList.toggle("wrong", isWrong(image));
    button.addEventListener("click", () => set({ image: index }));
    $("images").append(button);
  });
  for (const event of ["scroll", "resize"]) (event === "scroll" ? $("images") : window).addEventListener(event, fadeStrip);
}

/** The strip fades out where it continues. */
function fadeStrip() {
  const strip = $("images");
  strip.classList.toggle("more", strip.scrollLeft + strip.clientWidth < strip.scrollWidth - 2);
}

function isWrong({ label, answers }) { return label !== null && answers.length > 0 && answers[0][0] !== label; }

const prefixButtons = []; // a button for each token before the patches

function buildPrefix() {
  data.prefix.forEach((name, token) => {
    const button = make("button", { type: "button", id: name.replace("the ", "").replace(" ", "-"), textContent: `Query: ${name}` });
    button.addEventListener("click", () => selectQuery(token));
    $("lock").before(button);
    prefixButtons.push(button);
  });
}

/** "star 97.1 %", with a cross and the true class if it is wrong; "" without a head. */
function predictionText() {
  const image = data.images[state.image];
  if (!image.answers.length) return "";
  const [[k, prob]] = image.answers;
  const text = `${data.classes[k]} ${percent(prob)}`;
  return isWrong(image) ? `✗ ${text}; true: ${data.classes[image.label]}` : text;
}

function showPredictions() {
  const image = data.images[state.image];
  $("predictions").hidden = !image.answers.length; // a model without a head predicts nothing
  if ($("predictions").hidden) return;
  const known = image.label !== null;
  const wrong = isWrong(image);
  $("truth").textContent = known ? `${wrong ? "✗ " : ""}True class: ${data.classes[image.label]}${wrong ? " – the model is wrong." : " – the model agrees."}` : "";
  $("truth").classList.toggle("wrong", wrong);
  $("answers").replaceChildren(...image.answers.map(([k, prob], rank) => {
    const kinds = [k === image.label && "true", rank === 0 && "predicted", rank === 0 && wrong && "wrong"];
    const fill = make("div", { className: "fill" });
    fill.style.width = `${100 * prob}%`;
    return make("li", { className: kinds.filter(Boolean).join(" ") },
      make("span", { className: "who", textContent: data.classes[k] }),
      make("div", { className: "track" }, fill),
      make("span", { className: "percent", textContent: percent(prob) }));
  }));
}
