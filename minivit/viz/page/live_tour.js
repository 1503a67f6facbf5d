// The live page: presets, a tour of them or a custom one, and presentation mode.

const QUERY_NAME = FIRST ? "the class token" : "a patch in the middle";
const half = Array.from({ length: Math.floor(data.depth / 2) }, (_, i) => data.depth - i).reverse().join(",");

/** {title, text, state}: a button, a sentence, an address. */
const PRESETS = [
  { title: "Unchanged", state: "", text: `What the model attends to from ${QUERY_NAME}: a map for each layer and head.` },
  { title: "Cover what it attends to", state: "find=attended", text: "The fifth of the patches that gets the most attention in the last layer is covered. What can the model still use?" },
  data.positions && { title: "What if there were no positions?", state: "positions=off", text: "The patches no longer say where they come from: the model sees a bag of patches." },
  { title: "What if the patches were shuffled?", state: "patches=shuffled", text: "All patches are still there, in a different order." },
  { title: "Which head finds edges?", state: "find=edges", text: "Of all heads, this one attends most to patches with high contrast." },
  { title: "What if all attention were uniform?", state: `uniform=${Array.from({ length: data.depth }, (_, i) => i + 1).join(",")}`, text: "Every token attends equally to all tokens: attention no longer selects anything." },
  data.depth > 1 && { title: "What if it had half the layers?", state: `skip=${half}`, text: "The last layers pass their tokens on unchanged." },
  { title: "When does it know?", state: "show=lens", text: "The logit lens: the head is applied between the layers, where it was not trained." },
  { title: "Which heads matter?", state: "show=heads", text: "Switch each head off, one at a time, and see how the prediction changes." },
  { title: "One head, number by number", state: "show=steps&step=blocks.0.attn.scores&head=1", text: "Queries and keys give the scores, softmax turns them into attention weights, and these weight the values." },
].filter(Boolean);

const TOUR = data.tour ?? PRESETS;
const tour = { on: false, slide: 0 };

function drawTour() {
  $("tour").hidden = !tour.on;
  $("tour-open").setAttribute("aria-pressed", tour.on);
  document.body.classList.toggle("touring", tour.on);
  if (!tour.on) return;
  const text = TOUR[tour.slide].text;
  if ($("tour-text").textContent !== text) $("tour-text").textContent = text;
  $("tour-place").textContent = `${tour.slide + 1} of ${TOUR.length}`;
  $("tour-back").disabled = tour.slide === 0;
  $("tour-on").disabled = tour.slide === TOUR.length - 1;
}

function toSlide(slide) {
  Object.assign(tour, { on: true, slide: clamp(slide, TOUR.length) });
  goTo(TOUR[tour.slide].state);
}

function closeTour() {
  tour.on = false;
  render();
}

/** Large type, in full screen if the browser allows it. */
function present(on = !document.documentElement.classList.contains("teach")) {
  document.documentElement.classList.toggle("teach", on);
  $("present").setAttribute("aria-pressed", on);
  if (on) document.documentElement.requestFullscreen?.().catch(() => {}); // not allowed in a frame
  else if (document.fullscreenElement) document.exitFullscreen();
  if (on && !tour.on && !isChanged()) toSlide(tour.slide);
}

$("tour-open").addEventListener("click", () => { if (tour.on) closeTour(); else toSlide(tour.slide); });
$("tour-close").addEventListener("click", () => { closeTour(); present(false); });
$("tour-back").addEventListener("click", () => toSlide(tour.slide - 1));
$("tour-on").addEventListener("click", () => toSlide(tour.slide + 1));
$("present").addEventListener("click", () => present());
document.addEventListener("fullscreenchange", () => { if (!document.fullscreenElement) present(false); });
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, [role=application], [role=tab], #maps button")) return;
  act(event, {
    f: () => present(),
    ...(tour.on && { ArrowRight: () => toSlide(tour.slide + 1), ArrowLeft: () => toSlide(tour.slide - 1), PageDown: () => toSlide(tour.slide + 1), PageUp: () => toSlide(tour.slide - 1) }),
    ...(document.documentElement.classList.contains("teach") && { Escape: () => present(false) }),
  });
});

/** The preset that covers patches names the object in the image, if known. */
function nameCovered() {
  const { label } = data.images[state.image];
  $("try").querySelector("button").textContent = label === null ? PRESETS[1].title : `Cover the ${data.classes[label]}`;
}

$("try").replaceChildren(...PRESETS.slice(1).map(({ title, state: address }) => {
  const button = make("button", { type: "button", textContent: title });
  button.addEventListener("click", () => goTo(address));
  return make("li", {}, button);
}));
