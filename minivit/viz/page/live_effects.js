// The live page: the effect of each head. On request each is switched off, one at a time.

/** state: the state that is examined. changes: for each layer and head, the change in the
 * probability of class k; undefined: not yet known. remaining: heads still to switch off. */
let effects = { state: null, k: 0, changes: [], remaining: [] };

function startEffects() {
  if (!isShown()) return;
  const heads = [];
  for (let layer = 0; layer < data.depth; layer++)
    for (let head = 0; head < HEADS; head++) if (!isOff(layer, head) && !state.skipped.includes(layer)) heads.push([layer, head]);
  effects = { state, k: best(shown.probs), p: shown.probs[best(shown.probs)], changes: Array.from({ length: data.depth }, () => Array(HEADS)), remaining: heads };
  run();
}

/** The next head to switch off; none if the state has changed since. */
function nextKnockOut() {
  if (effects.state !== state || !effects.remaining.length) return null;
  const [layer, head] = effects.remaining.shift();
  return { state: { ...state, heads: [...state.heads, headName(layer, head)] }, head: [layer, head] };
}

function knockedOut({ head: [layer, head], probs, finite }) {
  effects.changes[layer][head] = finite ? probs[effects.k] - effects.p : 0;
}

function points(change) { return `${change < 0 ? "−" : "+"}${Math.abs(100 * change).toFixed(1)}`; }

function drawEffects() {
  const isCurrent = effects.state === state;
  const known = effects.changes.flat().filter((change) => change !== undefined);
  const total = known.length + effects.remaining.length + (request?.head ? 1 : 0);
  $("effect-start").disabled = !isShown() || (isCurrent && effects.remaining.length > 0);
  $("effect-progress").hidden = !isCurrent || known.length === total;
  Object.assign($("effect-progress"), { max: total || 1, value: known.length });
  $("effects").hidden = $("effect-legend").hidden = !isCurrent;
  if (!isCurrent) {
    const name = shown ? data.classes[best(shown.probs)] : "";
    $("effect-words").textContent = `How does the probability of ${name} change if each of the ${data.depth * HEADS} heads is switched off, one at a time?`;
    return;
  }
  const top = Math.max(0.01, ...known.map(Math.abs));
  $("effect-words").textContent = effectWords(known.length === total);
  $("effect-least").textContent = `${points(-top)}`;
  $("effect-most").textContent = points(top);
  $("effects").style.gridTemplateColumns = `max-content repeat(${HEADS}, minmax(2.6rem, 6rem))`;
  const focused = [...$("effects").children].indexOf(document.activeElement);
  $("effects").replaceChildren(make("span", { className: "name row", textContent: "head" }),
    ...[...Array(HEADS).keys()].map((head) => make("span", { className: "name", textContent: head + 1 })),
    ...effects.changes.flatMap((row, layer) => [make("span", { className: "name row", textContent: `layer ${layer + 1}` }), ...[...Array(HEADS).keys()].map((head) => effectCell(layer, head, row[head], top))]));
  if (focused >= 0) $("effects").children[focused].focus();
}

function effectCell(layer, head, change, top) {
  const isGone = isOff(layer, head) || state.skipped.includes(layer);
  const text = isGone ? "off" : change === undefined ? "…" : points(change);
  const cell = make("button", { type: "button", textContent: text });
  if (change !== undefined) {
    cell.style.background = `rgb(${signedTo(top)(change).slice(0, 3).join(" ")})`;
    cell.style.color = Math.abs(change) > 0.6 * top ? "#fff" : "#1c1b1a";
  }
  cell.setAttribute("aria-pressed", layer === view.layer && head === view.head);
  cell.setAttribute("aria-label", `layer ${layer + 1}, head ${head + 1}: ${text}${change === undefined ? "" : " percentage points"}`);
  cell.addEventListener("click", () => look({ layer, head }));
  return cell;
}

function effectWords(isDone) {
  const start = `${data.classes[effects.k]}: ${percent(effects.p)} with all heads.`;
  if (!isDone) return start;
  let largest = null;
  effects.changes.forEach((row, layer) => row.forEach((change, head) => {
    if (!largest || change < largest.change) largest = { layer, head, change };
  }));
  if (!largest || largest.change > -0.0005) return `${start} No single head lowers it when switched off.`;
  return `${start} Head ${largest.head + 1} of layer ${largest.layer + 1} matters most: ${percent(effects.p + largest.change)} without it.`;
}
