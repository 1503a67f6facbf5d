// The live page: requests to the worker, and its responses.

/** For each image without changes: {probs, maps}. Only for recent images: maps may be large. */
const before = new Map();
const MAX_BEFORE = 8;
let shown = null; // {state, logits, probs, maps, lens, steps, milliseconds}, what is on the page
let request = null; // {state, head}, the current request
let worker = null;

function startWorker() {
  worker = new Worker(URL.createObjectURL(new Blob([$("worker").textContent], { type: "text/javascript" })));
  worker.onmessage = ({ data: response }) => receive(response);
  worker.onerror = () => showMessage("The model cannot run here: the browser stopped its worker.");
  worker.postMessage({ model: data.model, mean: data.mean, std: data.std });
}

/** Show what is known, and request what is not. While the worker is busy, states in between are
 * skipped. */
function run() {
  render();
  if (request || !worker) return;
  request = next();
  if (!request) return;
  const { heads, skipped, uniform, temperature, forced, positions } = request.state;
  const isOther = request.head !== undefined;
  worker.postMessage({
    number: request.state.image,
    pixels: visible(request.state),
    change: { heads, skipped, uniform, temperature, forced, positions },
    include: { steps: !isOther && view.tab === "steps", lens: !isOther && view.tab === "lens" },
  });
}

/** The unchanged image, the newest state, then the heads whose effect is requested. */
function next() {
  if (!before.has(state.image)) return { state: original(state.image) };
  if (!isShown()) return { state };
  return nextKnockOut();
}

function isShown() {
  return shown !== null && shown.state === state && !(view.tab === "steps" && !shown.steps) && !(view.tab === "lens" && !shown.lens);
}

function receive(response) {
  const found = { ...response, ...request };
  request = null;
  if (found.head !== undefined) knockedOut(found);
  else if (!found.finite) refuse(found);
  else accept(found);
  run();
}

function accept(found) {
  if (!before.has(found.number)) {
    before.set(found.number, { probs: found.probs, maps: found.maps });
    if (before.size > MAX_BEFORE) before.delete(before.keys().next().value);
    if (!isChanged() && state.image === found.number) found.state = state;
  }
  if (found.state.image === state.image) shown = found;
  if (pendingAddress) goTo(pendingAddress);
}

function refuse(found) {
  showMessage("With this change, the model's outputs are not finite, so the change was undone.");
  if (found.state === state && past.length) [state, group] = [past.pop(), null];
}

function isIdle() { return isShown() && request === null; }

/** The attention from the query to all tokens, for a head or as the mean of all heads: (T). */
function attentionOf({ maps }, layer, head, query = view.query) {
  const row = (h) => maps.subarray(((layer * HEADS + h) * T + query) * T, ((layer * HEADS + h) * T + query + 1) * T);
  if (head !== "mean") return row(head);
  const mean = new Float32Array(T);
  for (let h = 0; h < HEADS; h++) row(h).forEach((p, i) => { mean[i] += p / HEADS; });
  return mean;
}
