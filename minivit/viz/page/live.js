// The live page: button handlers, and startup.

function look(changes) {
  const { tab } = view;
  if (changes.tool && changes.tool !== view.tool) view.held = null;
  Object.assign(view, changes);
  if (view.tab !== tab) run();
  else render();
}

function chooseImage(index) {
  if (index === state.image) return;
  showMessage("");
  change({ image: index, pixels: data.images[index].pixels, order: undefined, covered: [], blurred: [], forced: [] });
}

const ACTIONS = {
  "head-off": () => { if (view.head !== "mean") toggleHead(view.layer, view.head); },
  "head-only": () => onlyHead(view.layer, view.head),
  skip: () => change({ skipped: toggled(state.skipped, view.layer) }),
  uniform: () => change({ uniform: toggled(state.uniform, view.layer) }),
  "class-token": () => look({ query: 0, at: 0 }),
  shuffle: shufflePatches,
  "cover-all": () => change({ covered: state.covered.length === PATCHES ? [] : [...Array(PATCHES).keys()] }),
  "effect-start": startEffects,
  undo, reset,
};
for (const [name, action] of Object.entries(ACTIONS)) $(name).addEventListener("click", () => { showMessage(""); action(); });

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

for (const tab of TABS) {
  $(`tab-${tab}`).addEventListener("click", () => look({ tab }));
  $(`tab-${tab}`).addEventListener("keydown", (event) => {
    const to = (right) => () => {
      const name = TABS[(TABS.indexOf(tab) + right + TABS.length) % TABS.length];
      look({ tab: name });
      $(`tab-${name}`).focus();
    };
    act(event, { ArrowLeft: to(-1), ArrowRight: to(1) });
  });
}

$("temperature").addEventListener("input", (event) => change({ temperature: 10 ** (Number(event.target.value) / 100) }, event.target));
$("temperature").addEventListener("change", () => { group = null; });
const POSITIONS = { own: () => undefined, off: () => null, shuffled: () => shuffled(PATCHES) };
for (const radio of document.getElementsByName("positions")) radio.addEventListener("change", () => change({ positions: POSITIONS[radio.value]() }));
for (const radio of document.getElementsByName("tool")) radio.addEventListener("change", () => look({ tool: radio.value }));
$("color").addEventListener("input", (event) => look({ color: event.target.value, tool: "paint" }));
$("on-image").addEventListener("change", (event) => look({ shade: event.target.checked }));
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey) return;
  event.preventDefault();
  undo();
});

/** If the model cannot run, show the maps that were drawn when the page was made. */
function showStill(reason) {
  showMessage(reason);
  // if scripts run, browsers treat the contents of noscript as text
  const page = new DOMParser().parseFromString($("still").textContent, "text/html");
  document.querySelector("main").before(make("section", { className: "still" }, make("p", { className: "wrong", textContent: reason }), ...page.body.childNodes));
}

$("title").textContent = data.title;
$("stage").style.aspectRatio = `${COLUMNS} / ${ROWS}`;
$("color").value = view.color;
$("class-token").hidden = $("class-key").hidden = $("force").hidden = !FIRST;
$("positions").hidden = !data.positions;
buildImages();
buildMaps();
drawScale($("bar"), heatTo(1));
drawScale($("effect-bar"), signedTo(1), -1);
try {
  startWorker();
  document.querySelector("main").hidden = $("header-controls").hidden = false;
} catch { showStill("The model cannot run here: this browser has no workers."); }
const opened = location.hash.slice(1);
if (opened) goTo(opened);
else if (data.tour) toSlide(0);
else run();
past = []; // the initial state is not an undo step
window.addEventListener("hashchange", () => goTo(location.hash.slice(1)));
