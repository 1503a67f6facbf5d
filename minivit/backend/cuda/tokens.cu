// The tokens' way into and out of the encoder; functional/tokens.py is the oracle. One thread per
// number of a token. CLS: 1 if there is a class token before the patches. T tokens, of which T -
// CLS are patches.

// x[b, t] = keep · ((class token or patch) + position); positions (T, C), or null for none.
extern "C" __global__ void embed_forward(
    const scalar* __restrict__ patches, const float* __restrict__ cls_token,
    const float* __restrict__ positions, scalar* __restrict__ x, int B, int T, int C,
    const unsigned* __restrict__ key, unsigned site, float rate) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)B * T * C) return;
    const int c = i % C, t = i / C % T;
    const long long b = i / C / T;
    float v = t < CLS ? cls_token[c] : to_float(patches[(b * (T - CLS) + t - CLS) * C + c]);
    if (positions) v += positions[t * C + c];
    store(x[i], v * dropout_factor(key, site, i, T * C, rate));
}

// dx (B, T, C), float, times keep, in place; and as scalars without the class token: dpatches. The
// gradient of positions and class token is the sum of dx over the batch: column_sums.cu.
extern "C" __global__ void embed_backward(
    float* __restrict__ dx, scalar* __restrict__ dpatches, int B, int T, int C,
    const unsigned* __restrict__ key, unsigned site, float rate) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)B * T * C) return;
    const int c = i % C, t = i / C % T;
    const long long b = i / C / T;
    const float d = dx[i] * dropout_factor(key, site, i, T * C, rate);
#if DROP
    dx[i] = d;
#endif
    if (t >= CLS) store(dpatches[(b * (T - CLS) + t - CLS) * C + c], d);
}

// features (B, C): the class token, or the mean of all tokens.
extern "C" __global__ void pool_forward(
    const scalar* __restrict__ tokens, scalar* __restrict__ features, int B, int T, int C) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= B * C) return;
    const scalar* first = tokens + (long long)(i / C) * T * C + i % C;
    float sum = to_float(first[0]);
#if !CLS
    for (int t = 1; t < T; ++t) sum += to_float(first[(long long)t * C]);
    sum /= T;
#endif
    store(features[i], sum);
}

extern "C" __global__ void pool_backward(
    const scalar* __restrict__ dfeatures, scalar* __restrict__ dtokens, int B, int T, int C) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)B * T * C) return;
    const float d = to_float(dfeatures[i / C / T * C + i % C]);
#if CLS
    store(dtokens[i], i / C % T == 0 ? d : 0.0f);
#else
    store(dtokens[i], d / T);
#endif
}
