// The worker: it runs the model, so that the page never freezes. It receives the model first, then
// requests {number, pixels, change, include}, and answers each. include: {steps, lens}, whether to include
// every tensor of the pass, and the logit lens.
let model = null, mean = null, std = null;

onmessage = ({ data }) => {
  if (data.model) {
    model = unpackAll(data.model);
    [mean, std] = [data.mean, data.std];
    return;
  }
  const steps = [];
  const record = data.include.steps ? (name, shape, numbers) => steps.push({ name, shape, data: numbers }) : null;
  const start = performance.now();
  const { logits, maps, streams } = forward(model, normalize(data.pixels, mean, std), data.change, record);
  const milliseconds = performance.now() - start;
  const probs = softmax(Float32Array.from(logits), logits.length);
  const finite = logits.every(Number.isFinite) && maps.every(Number.isFinite);
  const lens = data.include.lens ? logitLens(model, streams) : null;
  const response = { number: data.number, logits, probs, maps, finite, milliseconds, lens, steps: data.include.steps ? steps : null };
  postMessage(response, [maps.buffer]);
};
