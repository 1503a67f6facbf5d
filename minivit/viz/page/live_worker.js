// The worker: it runs the model, so that the page never waits. It gets the model first, then
// {number, pixels, change} again and again, and answers each.
let model = null, mean = null, std = null;

onmessage = ({ data }) => {
  if (data.model) {
    model = unpack(data.model);
    [mean, std] = [data.mean, data.std];
    return;
  }
  const start = performance.now();
  const { logits, maps } = forward(model, normalize(data.pixels, mean, std), data.change);
  const probs = softmax(Float32Array.from(logits), logits.length);
  const milliseconds = performance.now() - start;
  const finite = logits.every(Number.isFinite) && maps.every(Number.isFinite);
  postMessage({ number: data.number, logits, probs, maps, finite, milliseconds });
};
