// A Vision Transformer of these parts, to be read beside minivit/models/vit.py; and what may be
// changed in it while it runs.

/** What is changed when nothing is.
 *
 * heads: "layer,head" of those whose result is set to zero; their maps stay. skipped: layers that
 * pass their tokens on. uniform: layers in which every token attends to all tokens alike.
 * temperature: what the scores of all heads are divided by. positions: for each patch the one
 * whose position it gets, null: no positions; undefined: its own. All counted from 0. */
const UNCHANGED = { heads: [], skipped: [], uniform: [], temperature: 1, positions: undefined };

/** From what Python packed: config, the shapes of all tensors in order, and their float16 numbers
 * in base64 -> {config, tensors: {name: {shape, data}}}. */
function unpack({ config, shapes, weights }) {
  const letters = atob(weights);
  const tensors = {};
  let at = 0;
  for (const [name, shape] of shapes) {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < data.length; i++, at += 2) data[i] = fromHalf(letters.charCodeAt(at) | (letters.charCodeAt(at + 1) << 8));
    tensors[name] = { shape, data };
  }
  return { config, tensors };
}

/** The number that the 16 bits of a float16 stand for: sign, 5 bits of exponent, 10 of fraction. */
function fromHalf(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
  return bits & 0x8000 ? -size : size;
}

/** image (channels, H, W), normalized -> {logits (K), maps (L, H, T, T)}. */
function forward({ config, tensors }, image, change = UNCHANGED) {
  const [rows, columns] = config.grid;
  const N = rows * columns;
  const [C, H] = [config.dim, config.num_heads];
  const sizes = { N, T: N + config.num_prefix, C, H, D: C / H, first: config.num_prefix };
  const patches = patchify(image, [config.in_channels, rows * config.patch_size, columns * config.patch_size], config.patch_size);
  let x = linear(patches, tensors["patch_embed.proj.weight"], tensors["patch_embed.proj.bias"]);
  x = place(x, config, tensors, sizes, change);
  const maps = new Float32Array(config.depth * H * sizes.T ** 2);
  for (let layer = 0; layer < config.depth; layer++) {
    const own = maps.subarray(layer * H * sizes.T ** 2, (layer + 1) * H * sizes.T ** 2);
    if (!change.skipped.includes(layer)) x = block(x, layer, config, tensors, sizes, change, own);
  }
  return { logits: classify(x, config, tensors, sizes), maps };
}

/** Eq. 1: the class token in front, positions added. (N, C) -> (T, C). */
function place(patches, config, tensors, { N, T, C, first }, { positions }) {
  const x = new Float32Array(T * C);
  if (first) x.set(tensors.cls_token.data);
  x.set(patches, first * C);
  if (config.pos_embed !== "learned" && config.pos_embed !== "sincos2d") return x;
  const learned = config.pos_embed === "learned" ? tensors.pos_embed.data : null;
  for (let c = 0; learned && c < first * C; c++) x[c] += learned[c];
  const table = learned ? learned.subarray(first * C) : sincos2d(config.grid, C);
  for (let patch = 0; patch < N && positions !== null; patch++) {
    const from = positions ? positions[patch] : patch;
    for (let c = 0; c < C; c++) x[(first + patch) * C + c] += table[from * C + c];
  }
  return x;
}

/** Eq. 2 and 3: x' = x + MSA(LN(x)), y = x' + MLP(LN(x')). maps (H, T, T) is filled. */
function block(x, layer, config, tensors, sizes, change, maps) {
  const of = (name) => tensors[`blocks.${layer}.${name}`];
  const norm = (name, tokens) => layernorm(tokens, of(`${name}.weight`), of(`${name}.bias`), config.norm_eps);
  const qkv = linear(norm("norm1", x), of("attn.qkv.weight"), of("attn.qkv.bias"));
  const heads = multiHead(qkv, layer, config, of("attn.relative_table"), sizes, change, maps);
  x = add(x, linear(heads, of("attn.proj.weight"), of("attn.proj.bias")));
  const activate = config.activation === "gelu" ? gelu : geluTanh;
  const hidden = activate(linear(norm("norm2", x), of("mlp.fc1.weight"), of("mlp.fc1.bias")));
  return add(x, linear(hidden, of("mlp.fc2.weight"), of("mlp.fc2.bias")));
}

/** H attentions side by side, each in its own D columns: (T, 3C) -> (T, C). */
function multiHead(qkv, layer, config, table, sizes, change, maps) {
  const { T, C, H, D } = sizes;
  const out = new Float32Array(T * C);
  const bias = table ? relativeBias(table.data, config.grid, sizes, change.positions) : null;
  for (let h = 0; h < H; h++) {
    const probs = maps.subarray(h * T * T, (h + 1) * T * T);
    if (change.uniform.includes(layer)) {
      probs.fill(1 / T);
      takeValues(qkv, 2 * C + h * D, h, sizes, probs, out);
    } else attention(qkv, h, sizes, { bias, temperature: change.temperature }, probs, out);
    if (change.heads.includes(`${layer},${h}`)) for (let t = 0; t < T; t++) out.fill(0, t * C + h * D, t * C + (h + 1) * D);
  }
  return out;
}

/** What relative positions add to a score: q_i · r_{p_i - p_j} / √D; nothing for a class token. */
function relativeBias(table, grid, { D, first }, positions) {
  if (positions === null) return null;
  const at = (token) => positions ? positions[token - first] : token - first;
  return (qkv, asks, i, j) => {
    if (i < first || j < first) return 0;
    const offset = relativeOffset(at(i), at(j), grid) * D;
    let sum = 0;
    for (let d = 0; d < D; d++) sum += qkv[asks + d] * table[offset + d];
    return sum / Math.sqrt(D);
  };
}

/** Eq. 4: the norm, the class token (or what another pooling gives), the head. (T, C) -> (K). */
function classify(x, config, tensors, { C, first }) {
  const tokens = layernorm(x, tensors["norm.weight"], tensors["norm.bias"], config.norm_eps);
  const patches = tokens.subarray(first * C);
  const pools = {
    cls: () => tokens.slice(0, C),
    mean: () => meanPool(patches, C),
    seq: () => sequencePool(patches, tensors["sequence_pool.weight"]),
  };
  let features = pools[config.pool]();
  if (tensors["pre_logits.weight"]) features = linear(features, tensors["pre_logits.weight"], tensors["pre_logits.bias"]).map(Math.tanh);
  return linear(features, tensors["head.weight"], tensors["head.bias"]);
}
