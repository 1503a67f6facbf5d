// GELU element by element, and the dropout after it; functional/gelu.py is the oracle. TANH: 1 for the
// tanh form, else exact. per_image: the number of elements per image.
// Each thread handles one pack of 16 bytes, then a tail of single numbers.

constexpr int PACK = 16 / (int)sizeof(scalar);

__device__ __forceinline__ float cdf_of(float x) {
#if TANH
    return 0.5f * (1.0f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)));
#else
    return 0.5f * (1.0f + erff(x * 0.7071067812f));
#endif
}

__device__ __forceinline__ float derivative_of(float x) {
    const float cdf = cdf_of(x);
#if TANH
    return cdf * (1.0f + 2.0f * x * (1.0f - cdf) * 0.7978845608f * (1.0f + 0.134145f * x * x));
#else
    return cdf + x * 0.3989422804f * expf(-0.5f * x * x);
#endif
}

extern "C" __global__ void gelu_forward(
    const scalar* __restrict__ x, scalar* __restrict__ y, long long count,
    const unsigned* __restrict__ key, unsigned site, long long per_image, float rate) {
    const long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * PACK;
    if (i + PACK <= count) {
        float v[PACK];
        load(x + i, v);
#pragma unroll
        for (int k = 0; k < PACK; ++k)
            v[k] *= cdf_of(v[k]) * dropout_factor(key, site, i + k, per_image, rate);
        save(y + i, v);
        return;
    }
    for (long long k = i; k < count; ++k) {
        const float v = to_float(x[k]);
        store(y[k], v * cdf_of(v) * dropout_factor(key, site, k, per_image, rate));
    }
}

// dx overwrites dy.
extern "C" __global__ void gelu_backward(
    const scalar* __restrict__ x, scalar* __restrict__ dy, long long count,
    const unsigned* __restrict__ key, unsigned site, long long per_image, float rate) {
    const long long i = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * PACK;
    if (i + PACK <= count) {
        float v[PACK], d[PACK];
        load(x + i, v);
        load(dy + i, d);
#pragma unroll
        for (int k = 0; k < PACK; ++k)
            d[k] *= derivative_of(v[k]) * dropout_factor(key, site, i + k, per_image, rate);
        save(dy + i, d);
        return;
    }
    for (long long k = i; k < count; ++k)
        store(dy[k],
              to_float(dy[k]) * derivative_of(to_float(x[k])) *
                  dropout_factor(key, site, k, per_image, rate));
}
