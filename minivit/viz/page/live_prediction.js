// The live page: the prediction, before and now.
const BARS = 10; // classes shown

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
  if (!shown || shown.state.image !== state.image || !before.has(state.image)) return;
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
  const fill = (name, prob) => {
    const element = make("div", { className: name });
    element.style.width = `${100 * prob}%`;
    return element;
  };
  const item = make("li", { className: isLabel ? "true" : "" },
    make("span", { className: "who", textContent: data.classes[k], title: data.classes[k] }),
    make("div", { className: "track" }, fill("before", old), fill("after", now)),
    make("span", { className: "percent", textContent: percent(now) }));
  item.setAttribute("aria-label", `${data.classes[k]}${isLabel ? " (true class)" : ""}: ${percent(now)}, before ${percent(old)}`);
  return item;
}
