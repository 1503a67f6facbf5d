// Softmax, cross-entropy and its gradient in one pass; functional/cross_entropy.py is the oracle.
//
//     L_b = -Σ_k t_k log p_k,   dz = (p - t) / B,   t = (1 - ε)·(λ·[k = first] + (1 - λ)·[k = second]) + ε/K
//
// One warp per row of CLASSES logits. Labels come as two classes and the weight λ of the first, as
// MixUp and CutMix produce: 12 bytes per image instead of a row of probabilities.

constexpr int STEPS = (CLASSES + 31) / 32;

// rows: this rank's, of a batch of `images`. losses, correct (rows): of each image; correct:
// whether the largest logit is that of the likelier label.
extern "C" __global__ void cross_entropy(
    const scalar* __restrict__ logits, const int* __restrict__ first,
    const int* __restrict__ second, const float* __restrict__ weight, scalar* __restrict__ dlogits,
    float* __restrict__ losses, float* __restrict__ correct, int rows, int images,
    float smoothing) {
    const int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x & 31;
    if (row >= rows) return;
    const scalar* z = logits + (long long)row * CLASSES;
    float values[STEPS], row_max = lowest();
#pragma unroll
    for (int k = 0; k < STEPS; ++k) {
        const int c = k * 32 + lane;
        values[k] = c < CLASSES ? to_float(z[c]) : lowest();
        row_max = fmaxf(row_max, values[k]);
    }
    row_max = warp_max(row_max);
    float total = 0.0f;
#pragma unroll
    for (int k = 0; k < STEPS; ++k)
        total += expf(values[k] - row_max);  // of padding, the lowest float: 0
    total = warp_sum(total);
    const float log_total = logf(total), inv_total = 1.0f / total, inv_images = 1.0f / images;
    const int label = first[row], other = second[row];
    const float lambda = weight[row];
    float loss = 0.0f;
#pragma unroll
    for (int k = 0; k < STEPS; ++k) {
        const int c = k * 32 + lane;
        if (c >= CLASSES) continue;
        float target = (c == label ? lambda : 0.0f) + (c == other ? 1.0f - lambda : 0.0f);
        target = target * (1.0f - smoothing) + smoothing / CLASSES;
        const float shifted = values[k] - row_max;
        loss -= target * (shifted - log_total);
        store(dlogits[(long long)row * CLASSES + c],
              (expf(shifted) * inv_total - target) * inv_images);
    }
    loss = warp_sum(loss);
    if (lane == 0) {
        const int likelier = lambda >= 0.5f ? label : other;
        losses[row] = loss;
        correct[row] = to_float(z[likelier]) >= row_max ? 1.0f : 0.0f;
    }
}
