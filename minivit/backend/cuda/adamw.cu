// AdamW over all of a model's parameters in one launch; optim/adam.py and optim/clip.py are the
// oracles. The gradient is clipped to clip_norm on the way (0: no clipping), and the weights are
// copied to bf16 for the next step's products (copy: null for none).
//
//     m ← β₁ m + (1 - β₁) g,   v ← β₂ v + (1 - β₂) g²
//     θ ← θ - η λ θ - η (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)
//
// What changes from step to step is in device memory, so that a captured graph can be replayed:
// state = {η, 1 - β₁ᵗ, 1 - β₂ᵗ}. partial: from sum_of_squares.

extern "C" __global__ void adamw(
    float* __restrict__ theta, const float* __restrict__ grad, float* __restrict__ m,
    float* __restrict__ v, bf16* __restrict__ copy, const float* __restrict__ state,
    const float* __restrict__ partial, int partials, long long count, long long decayed,
    float beta1, float beta2, float eps, float weight_decay, float clip_norm) {
    float scale = 1.0f;
    if (clip_norm > 0.0f) {  // every warp sums the same few numbers in the same order
        float squares = 0.0f;
        for (int i = threadIdx.x & 31; i < partials; i += 32) squares += partial[i];
        squares = warp_sum(squares);
        scale = fminf(clip_norm / (sqrtf(squares) + 1e-12f), 1.0f);
    }
    const float lr = state[0], rate = lr / state[1], rms_scale = rsqrtf(state[2]);
    const long long stride = (long long)gridDim.x * blockDim.x;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride) {
        const float g = grad[i] * scale;
        const float m_new = beta1 * m[i] + (1.0f - beta1) * g;
        const float v_new = beta2 * v[i] + (1.0f - beta2) * g * g;
        float weight = theta[i];
        if (i < decayed) weight *= 1.0f - lr * weight_decay;
        weight -= rate * m_new / (sqrtf(v_new) * rms_scale + eps);
        m[i] = m_new;
        v[i] = v_new;
        theta[i] = weight;
        if (copy) copy[i] = to_bf16(weight);
    }
}
