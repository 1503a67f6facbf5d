// The numbers of the model, as packed by Python.

/** A tensor by its name -> {shape, data}; undefined if the model has no tensor of that name.
 * packed: {precision, tensors: {name: [shape, the numbers in base64]}}. */
function unpack({ precision, tensors }, name) {
  if (!(name in tensors)) return undefined;
  const [shape, text] = tensors[name];
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  if (precision === "float32") return { shape, data: new Float32Array(bytes.buffer) };
  const data = new Float32Array(bytes.length / 2);
  for (let i = 0; i < data.length; i++) data[i] = fromHalf(bytes[2 * i] | (bytes[2 * i + 1] << 8));
  return { shape, data };
}

/** {config, tensors: {name: {shape, data}}}, which `forward` takes. */
function unpackAll(packed) {
  const names = Object.keys(packed.tensors);
  return { config: packed.config, tensors: Object.fromEntries(names.map((name) => [name, unpack(packed, name)])) };
}

/** The number encoded by the 16 bits of a float16: sign, 5 bits of exponent, 10 of fraction. */
function fromHalf(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
  return bits & 0x8000 ? -size : size;
}
