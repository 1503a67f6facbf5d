// A Vision Transformer made of the parts in math.js, to be read alongside minivit/models/vit.py, with
// the changes that can be made while it runs.

/** The changes, with the values that change nothing.
 *
 * heads: "layer,head" of those whose output is set to zero; their maps stay. skipped: layers that
 * pass their tokens on unchanged. uniform: layers in which every token attends equally to all tokens.
 * temperature: the scores of all heads are divided by it. forced: if there are any, the class token
 * attends equally to these patches, and to nothing else, in all layers and heads. positions: for each
 * patch, the patch whose position it gets; null: no positions; undefined: unchanged. All counted
 * from 0. */
const UNCHANGED = { heads: [], skipped: [], uniform: [], temperature: 1, forced: [], positions: undefined };

/** image (channels, H, W), normalized -> {logits: (K), maps: (L, H, T, T), streams: the L + 1
 * tensors (T, C) before, between and after the layers}.
 *
 * record: is called with the name, the shape and the numbers of each tensor, in order; the names
 * are those of minivit.trace. */
function forward({ config, tensors }, image, change = UNCHANGED, record = null) {
  const [rows, columns] = config.grid;
  const N = rows * columns;
  const [C, H] = [config.dim, config.num_heads];
  const T = N + config.num_prefix;
  const sizes = { N, T, C, H, D: C / H, first: config.num_prefix };
  const run = { config, tensors, sizes, change, record: record ?? (() => {}), isRecording: record !== null };
  const shape = [config.in_channels, rows * config.patch_size, columns * config.patch_size];
  run.record("image", shape, image);
  const patches = patchify(image, shape, config.patch_size);
  run.record("patch_embed.patches", [N, patches.length / N], patches);
  let x = linear(patches, tensors["patch_embed.proj.weight"], tensors["patch_embed.proj.bias"]);
  run.record("patch_embed.proj", [N, C], x);
  x = embedTokens(x, run);
  const streams = [x];
  const maps = new Float32Array(config.depth * H * T * T);
  for (let layer = 0; layer < config.depth; layer++) {
    const own = maps.subarray(layer * H * T * T, (layer + 1) * H * T * T);
    if (!change.skipped.includes(layer)) x = block(x, layer, run, own);
    streams.push(x);
  }
  return { logits: classify(x, run), maps, streams };
}

/** Eq. 1: the class token prepended, positions added. (N, C) -> (T, C). */
function embedTokens(patches, { config, tensors, sizes: { N, T, C, first }, change: { positions }, record }) {
  let x = patches;
  if (first) {
    x = new Float32Array(T * C);
    x.set(tensors.cls_token.data);
    x.set(patches, first * C);
    record("with_cls_token", [T, C], x);
  }
  if (config.pos_embed !== "learned" && config.pos_embed !== "sincos2d") return x;
  const added = Float32Array.from(x);
  const learned = config.pos_embed === "learned" ? tensors.pos_embed.data : null;
  for (let c = 0; learned && c < first * C; c++) added[c] += learned[c];
  const table = learned ? learned.subarray(first * C) : sincos2d(config.grid, C);
  for (let patch = 0; patch < N && positions !== null; patch++) {
    const from = positions ? positions[patch] : patch;
    for (let c = 0; c < C; c++) added[(first + patch) * C + c] += table[from * C + c];
  }
  record("with_positions", [T, C], added);
  return added;
}

/** Eq. 2 and 3: x' = x + MSA(LN(x)), y = x' + MLP(LN(x')). maps (H, T, T) is filled. */
function block(x, layer, run, maps) {
  const { config, tensors, sizes: { T, C } } = run;
  const record = (name, columns, data) => { run.record(`blocks.${layer}${name}`, [T, columns], data); return data; };
  const of = (name) => tensors[`blocks.${layer}.${name}`];
  const norm = (name, tokens) => record(`.${name}`, C, layernorm(tokens, of(`${name}.weight`), of(`${name}.bias`), config.norm_eps));
  const qkv = record(".attn.qkv", 3 * C, linear(norm("norm1", x), of("attn.qkv.weight"), of("attn.qkv.bias")));
  const merged = record(".attn.merged", C, multiHead(qkv, layer, run, maps));
  x = record(".residual", C, add(x, record(".attn", C, linear(merged, of("attn.proj.weight"), of("attn.proj.bias")))));
  const hidden = record(".mlp.fc1", of("mlp.fc1.weight").shape[1], linear(norm("norm2", x), of("mlp.fc1.weight"), of("mlp.fc1.bias")));
  const activated = record(".mlp.act.gelu", hidden.length / T, config.activation === "gelu" ? gelu(hidden) : geluTanh(hidden));
  return record("", C, add(x, record(".mlp.fc2", C, linear(activated, of("mlp.fc2.weight"), of("mlp.fc2.bias")))));
}

/** H attention heads, each in its own D columns: (T, 3C) -> (T, C). maps is filled. */
function multiHead(qkv, layer, run, maps) {
  const { config, tensors, change, sizes } = run;
  const { T, C, H, D } = sizes;
  const record = (name, columns, data) => run.record(`blocks.${layer}.attn.${name}`, [H, T, columns], data);
  const mapOf = (h) => maps.subarray(h * T * T, (h + 1) * T * T);
  if (run.isRecording) ["q", "k", "v"].forEach((name, third) => record(name, D, byHead(qkv, third * C, 3 * C, sizes)));
  const table = tensors[`blocks.${layer}.attn.relative_table`];
  const bias = table && relativeBias(qkv, table.data, config.grid, sizes, change.positions);
  if (bias) record("relative", T, bias);
  for (let h = 0; h < H; h++) {
    const own = bias ? bias.subarray(h * T * T, (h + 1) * T * T) : null;
    attentionScores(qkv, h, sizes, own, change.temperature, mapOf(h));
  }
  if (run.isRecording) record("scores", T, maps.slice());
  softmax(maps, T);
  if (change.uniform.includes(layer)) maps.fill(1 / T);
  if (change.forced.length) forceClassToken(maps, change.forced, sizes);
  record("probs", T, maps);
  const merged = new Float32Array(T * C);
  for (let h = 0; h < H; h++)
    if (!change.heads.includes(`${layer},${h}`)) takeValues(qkv, h, sizes, mapOf(h), merged);
  if (run.isRecording) record("heads", D, byHead(merged, 0, C, sizes));
  return merged;
}

/** Columns of tokens, grouped by head: (T, width) -> (H, T, D). */
function byHead(x, column, width, { T, H, D }) {
  const sorted = new Float32Array(H * T * D);
  for (let h = 0; h < H; h++)
    for (let t = 0; t < T; t++) sorted.set(x.subarray(t * width + column + h * D, t * width + column + (h + 1) * D), (h * T + t) * D);
  return sorted;
}

function forceClassToken(maps, patches, { T, first }) {
  for (let row = 0; row < maps.length; row += T * T) {
    maps.fill(0, row, row + T);
    for (const patch of patches) maps[row + first + patch] = 1 / patches.length;
  }
}

/** What relative positions add to the scores: q_i · r_{p_i - p_j} / √D; zero for a class token.
 * (H, T, T). See relative.py. */
function relativeBias(qkv, table, grid, { T, C, H, D, first }, positions) {
  const bias = new Float32Array(H * T * T);
  const at = (token) => positions ? positions[token - first] : token - first;
  for (let i = first; i < T && positions !== null; i++)
    for (let j = first; j < T; j++) {
      const offset = relativeOffset(at(i), at(j), grid) * D;
      for (let h = 0; h < H; h++) {
        const q = i * 3 * C + h * D;
        let sum = 0;
        for (let d = 0; d < D; d++) sum += qkv[q + d] * table[offset + d];
        bias[(h * T + i) * T + j] = sum / Math.sqrt(D);
      }
    }
  return bias;
}

/** Eq. 4: the norm, the class token (or the result of another pooling), the head. (T, C) -> (K). */
function classify(x, run) {
  const { config, tensors, sizes: { T, C, first }, record } = run;
  const tokens = layernorm(x, tensors["norm.weight"], tensors["norm.bias"], config.norm_eps);
  record("norm", [T, C], tokens);
  const pools = { cls: () => tokens.subarray(0, C), mean: () => meanPool(tokens.subarray(first * C), C), seq: () => sequencePool(tokens, run) };
  const features = pools[config.pool]();
  if (config.pool === "mean") record("pooled", [C], features);
  return toLogits(features, run);
}

/** A weighted mean of the tokens: softmax(x w)ᵀ x. See pooling.py. */
function sequencePool(x, { tensors, sizes: { T, C }, record }) {
  const scores = linear(x, tensors["sequence_pool.weight"]);
  record("sequence_pool.scores", [T], scores);
  const probs = softmax(Float32Array.from(scores), T);
  record("sequence_pool.probs", [T], probs);
  const pooled = weightedMean(x, C, probs);
  record("sequence_pool.pooled", [C], pooled);
  return pooled;
}

/** The head's logits for features: (n, C) -> (n, K). */
function toLogits(features, { tensors, record }) {
  const n = features.length / (tensors["pre_logits.weight"] ?? tensors["head.weight"]).shape[0];
  const shape = (data) => n === 1 ? [data.length] : [n, data.length / n];
  if (tensors["pre_logits.weight"]) {
    features = linear(features, tensors["pre_logits.weight"], tensors["pre_logits.bias"]);
    record("pre_logits", shape(features), features);
    features = features.map(Math.tanh);
    record("tanh", shape(features), features);
  }
  const logits = linear(features, tensors["head.weight"], tensors["head.bias"]);
  record("head", shape(logits), logits);
  return logits;
}
