// The live page: the attention of every layer and head, and how it changed.
const MAPS = [...Array(HEADS).keys(), "mean"];
const thumbnails = []; // {button, canvas, layer, head}

function buildMaps() {
  const box = $("maps");
  const widest = Math.max(3, (28 / data.depth) * (COLUMNS / ROWS)); // rem, so that many layers fit a screen
  box.style.maxWidth = `${4.5 + widest * MAPS.length}rem`;
  box.style.gridTemplateColumns = `max-content repeat(${MAPS.length}, minmax(2.4rem, 1fr))`;
  box.append(make("span", { className: "name row", textContent: "head" }));
  for (const head of MAPS) box.append(make("span", { className: "name", textContent: head === "mean" ? head : head + 1 }));
  for (let layer = 0; layer < data.depth; layer++) {
    box.append(make("span", { className: "name row", textContent: `layer ${layer + 1}` }));
    for (const head of MAPS) {
      const canvas = make("canvas", { width: COLUMNS, height: ROWS, className: "raw" });
      const button = make("button", { type: "button" }, canvas);
      button.addEventListener("click", () => look({ layer, head }));
      box.append(button);
      thumbnails.push({ button, canvas, layer, head });
    }
  }
}

let drawnMaps = {}; // {shown, query}, so that the maps are not redrawn when only the selection moves

function drawAttention() {
  const isNew = shown && (drawnMaps.shown !== shown || drawnMaps.query !== view.query);
  for (const { button, canvas, layer, head } of thumbnails) {
    const skipped = state.skipped.includes(layer);
    const chosen = layer === view.layer && head === view.head;
    if (isNew) {
      const values = attentionOf(shown, layer, head);
      drawPatches(canvas, values, heatTo(topOf(values)));
    }
    button.setAttribute("aria-pressed", chosen);
    button.tabIndex = chosen ? 0 : -1;
    button.classList.toggle("off", isOff(layer, head));
    button.classList.toggle("skipped", skipped);
    button.setAttribute("aria-label", `layer ${layer + 1}, ${headWords(head)}${skipped ? ", skipped" : isOff(layer, head) ? ", off" : ""}`);
  }
  $("moved").hidden = !before.has(state.image) || !isChanged();
  if (isNew) drawMoved();
  drawnMaps = { shown, query: view.query };
}

/** Half of all differences: the fraction of attention that moved. */
function movedFraction(old, now) { return old.reduce((sum, p, j) => sum + Math.abs(now[j] - p), 0) / 2; }

function drawMoved() {
  const old = before.get(state.image);
  if ($("moved").hidden) return;
  $("moved-strip").replaceChildren(...Array.from({ length: data.depth }, (_, layer) => {
    const [was, is] = [old, shown].map((one) => attentionOf(one, layer, "mean"));
    const top = Math.max(topOf(was), topOf(is));
    const difference = is.subarray(FIRST).map((p, i) => p - was[FIRST + i]);
    const canvases = [was, is, null].map((values) => {
      const canvas = make("canvas", { className: "raw" });
      if (values) drawPatches(canvas, values, heatTo(top));
      else drawNumbers(canvas, difference, COLUMNS, signedTo(difference.reduce((a, b) => Math.max(a, Math.abs(b)), 0)));
      canvas.setAttribute("aria-hidden", true);
      return canvas;
    });
    const words = state.skipped.includes(layer) ? "skipped" : percent(movedFraction(was, is));
    const item = make("li", {}, make("span", { className: "name", textContent: `layer ${layer + 1}` }), make("div", { className: "three" }, ...canvases), make("span", { className: "name", textContent: words }));
    item.setAttribute("aria-label", `layer ${layer + 1}: ${words === "skipped" ? words : `${words} of the attention has moved`}`);
    return item;
  }));
}
