// The live page: step through the forward pass, from pixels to logits. `live_numbers.js` explains the
// number under the cursor.
const SIZES = { C: data.model.config.dim, D: data.model.config.dim / HEADS };

function stepNow() {
  const at = shown.steps.findIndex((step) => step.name === view.step);
  return Math.max(0, at); // if a skipped layer's steps are missing, the first
}

/** A tensor as tiles of rows and columns: heads, channels, or one. */
function tilesOf({ shape }) {
  const [groups, rows, columns] = [...Array(3 - shape.length).fill(1), ...shape];
  return { groups, rows, columns };
}

/** The token of each row; null if rows are not tokens. */
function rowToken(step, row) {
  const { rows } = tilesOf(step);
  if (step.name === "image" || rows === 1) return null;
  return rows === T ? row : rows === PATCHES ? FIRST + row : null;
}

/** The number under the cursor: {group, row, column} of a tensor. In a map of scores the row is the
 * query's, and the column that of the patch under the cursor. */
function cellOf(step) {
  const { groups, rows, columns } = tilesOf(step);
  const head = view.head === "mean" ? 0 : view.head;
  const group = groups === HEADS && step.name !== "image" ? head : clamp(view.column, groups);
  if (step.name === "image") {
    const [row, column] = patchPosition(Math.max(view.at, FIRST));
    return { group, row: row * PATCH + Math.floor(PATCH / 2), column: column * PATCH + Math.floor(PATCH / 2) };
  }
  if (isMap(step)) return { group, row: view.query, column: view.at };
  if (rows === 1) return { group, row: 0, column: columns === T ? view.at : clamp(view.column, columns) };
  return { group, row: rows === T ? view.at : Math.max(0, view.at - FIRST), column: clamp(view.column, columns) };
}

function isMap(step) { return /\.attn\.(relative|scores|probs)$/.test(step.name); }

/** What a click on a cell selects. */
function chooseCell(step, { group, row, column }) {
  if (step.name === "image") return look({ at: FIRST + Math.floor(row / PATCH) * COLUMNS + Math.floor(column / PATCH), column: group });
  const chosen = {};
  if (tilesOf(step).groups === HEADS) chosen.head = group;
  if (isMap(step)) Object.assign(chosen, { query: row, at: column });
  else if (rowToken(step, row) !== null) Object.assign(chosen, { at: rowToken(step, row), column });
  else Object.assign(chosen, tilesOf(step).columns === T ? { at: column } : { column });
  look(chosen);
}

function statistics({ data: numbers }) {
  let sum = 0, squares = 0, min = Infinity, max = -Infinity;
  for (const x of numbers) { sum += x; min = Math.min(min, x); max = Math.max(max, x); }
  const mean = sum / numbers.length;
  for (const x of numbers) squares += (x - mean) ** 2;
  return { mean, std: Math.sqrt(squares / numbers.length), min, max };
}

let drawn = null; // {step, tiles}, so that a tensor is drawn once, not whenever the cursor moves

function drawSteps() {
  if (!shown?.steps) return;
  const number = stepNow();
  const step = shown.steps[number];
  Object.assign($("step-slider"), { max: shown.steps.length - 1, value: number });
  $("step-slider").setAttribute("aria-valuetext", step.name);
  $("step-back").disabled = number === 0;
  $("step-on").disabled = number === shown.steps.length - 1;
  if (drawn?.step !== step) drawStep(step);
  markCell(step);
  $("step-equation").textContent = equationOf(step);
  $("step-words").textContent = inWords(shown.steps, number, cellOf(step));
  drawByNumber(shown.steps, step);
}

function drawStep(step) {
  if ($("step-list").children.length !== shown.steps.length)
    $("step-list").replaceChildren(...shown.steps.map(({ name }) => make("option", { value: name, textContent: name })));
  $("step-list").value = step.name;
  $("step-name").textContent = step.name;
  $("step-shape").textContent = step.shape.join(" × ");
  const { mean, std, min, max } = statistics(step);
  $("step-numbers").textContent = `mean ${short(mean)}, standard deviation ${short(std)}, minimum ${short(min)}, maximum ${short(max)}`;
  const top = Math.max(-min, max);
  const colorTo = min < 0 ? signedTo : heatTo;
  drawScale($("step-bar"), colorTo(1), min < 0 ? -1 : 0);
  $("step-least").textContent = min < 0 ? short(-top) : "0";
  $("step-largest").textContent = short(top);
  drawn = { step, tiles: buildTiles(step, colorTo(top)) };
  const { groups } = tilesOf(step);
  $("tensor").style.gridTemplateColumns = `repeat(${groups <= 3 ? groups : Math.min(4, Math.ceil(Math.sqrt(groups)))}, minmax(0, 1fr))`;
  $("tensor").replaceChildren(...drawn.tiles.map((tile) => tile.figure));
}

function buildTiles(step, rgba) {
  const { groups, rows, columns } = tilesOf(step);
  return Array.from({ length: groups }, (_, group) => {
    const canvas = make("canvas", { className: "raw" });
    drawNumbers(canvas, step.data.subarray(group * rows * columns, (group + 1) * rows * columns), columns, rgba);
    const [across, down] = [make("div", { className: "across" }), make("div", { className: "down" })];
    const box = make("div", { className: "tile" }, canvas, across, down);
    box.style.aspectRatio = step.name === "image" || isMap(step) ? `${columns} / ${rows}` : rows === 1 ? "24 / 1" : `${Math.max(columns, rows / 2)} / ${rows}`;
    for (const name of ["pointerdown", "pointermove"]) box.addEventListener(name, (event) => {
      const { left, top: up, width, height } = box.getBoundingClientRect();
      chooseCell(step, { group, row: clamp(Math.floor((rows * (event.clientY - up)) / height), rows), column: clamp(Math.floor((columns * (event.clientX - left)) / width), columns) });
    });
    const title = groups === 1 ? "" : step.name === "image" ? `channel ${group + 1}` : `head ${group + 1}`;
    return { figure: make("figure", {}, make("figcaption", { className: "name", textContent: title }), box), across, down };
  });
}

function markCell(step) {
  const { rows, columns } = tilesOf(step);
  const cell = cellOf(step);
  drawn.tiles.forEach(({ across, down }, group) => {
    across.hidden = down.hidden = group !== cell.group;
    Object.assign(across.style, { top: `${(100 * cell.row) / rows}%`, height: `${100 / rows}%` });
    Object.assign(down.style, { left: `${(100 * cell.column) / columns}%`, width: `${100 / columns}%` });
  });
}

function toStep(number) { look({ step: shown.steps[clamp(number, shown.steps.length)].name }); }

$("step-slider").addEventListener("input", (event) => toStep(Number(event.target.value)));
$("step-list").addEventListener("change", (event) => look({ step: event.target.value }));
$("step-back").addEventListener("click", () => toStep(stepNow() - 1));
$("step-on").addEventListener("click", () => toStep(stepNow() + 1));
$("tensor").addEventListener("keydown", (event) => {
  if (!shown?.steps) return;
  const step = shown.steps[stepNow()];
  const { rows, columns } = tilesOf(step);
  const cell = cellOf(step);
  const pixels = step.name === "image" ? PATCH : 1;
  const to = (down, right) => () => chooseCell(step, { ...cell, row: clamp(cell.row + pixels * down, rows), column: clamp(cell.column + pixels * right, columns) });
  act(event, { ArrowLeft: to(0, -1), ArrowRight: to(0, 1), ArrowUp: to(-1, 0), ArrowDown: to(1, 0) });
});
