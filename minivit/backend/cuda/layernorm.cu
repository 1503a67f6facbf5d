// Residual addition and LayerNorm in one pass over memory; functional/layernorm.py is the oracle.
//
//     sum = x + keep·branch,   y = γ·x̂ + β,   x̂ = (sum - mean) · rstd
//
// keep: dropout of the branch, per number, times its drop path, per image (of T rows). One warp per
// row of WIDTH numbers, which stay in its registers: read once, written once. Backward recomputes
// x̂ from `sum` instead of keeping it.

constexpr int PACK = pack_of<scalar>(WIDTH);
constexpr int STEPS = (WIDTH + 32 * PACK - 1) / (32 * PACK);
constexpr float INVERSE_WIDTH = 1.0f / WIDTH;

// Where this thread's k-th pack of a row begins; WIDTH or more if it has none.
__device__ __forceinline__ int column(int k) { return (k * 32 + (threadIdx.x & 31)) * PACK; }

__device__ __forceinline__ int first_row() {
    return (blockIdx.x * blockDim.x + threadIdx.x) / 32;
}

// branch: null for none; then sum is not written. statistics (rows): mean and rstd, for backward.
extern "C" __global__ void residual_layernorm_forward(
    const scalar* __restrict__ x, const scalar* __restrict__ branch,
    const float* __restrict__ gamma, const float* __restrict__ beta, scalar* __restrict__ sum,
    scalar* __restrict__ y, float2* __restrict__ statistics, int rows, float eps,
    const unsigned* __restrict__ key, unsigned site, unsigned path_site, float rate,
    float path_rate, int T) {
    const int warps = gridDim.x * blockDim.x / 32;
    for (int row = first_row(); row < rows; row += warps) {
        const long long offset = (long long)row * WIDTH;
        const float path = dropout_factor(key, path_site, row / T, 1, path_rate);
        float v[STEPS][PACK], total = 0.0f;
#pragma unroll
        for (int k = 0; k < STEPS; ++k) {
            const int c = column(k);
            if (c >= WIDTH) continue;
            load(x + offset + c, v[k]);
            if (branch) {
                float b[PACK];
                load(branch + offset + c, b);
#pragma unroll
                for (int i = 0; i < PACK; ++i)
                    v[k][i] +=
                        path * dropout_factor(key, site, offset + c + i, T * WIDTH, rate) * b[i];
                save(sum + offset + c, v[k]);
            }
#pragma unroll
            for (int i = 0; i < PACK; ++i) total += v[k][i];
        }
        const float mean = warp_sum(total) * INVERSE_WIDTH;
        float squares = 0.0f;
#pragma unroll
        for (int k = 0; k < STEPS; ++k) {
            if (column(k) >= WIDTH) continue;
#pragma unroll
            for (int i = 0; i < PACK; ++i) squares += (v[k][i] - mean) * (v[k][i] - mean);
        }
        const float rstd = rsqrtf(warp_sum(squares) * INVERSE_WIDTH + eps);
#pragma unroll
        for (int k = 0; k < STEPS; ++k) {
            const int c = column(k);
            if (c >= WIDTH) continue;
            float g[PACK], b[PACK];
            load(gamma + c, g);
            load(beta + c, b);
#pragma unroll
            for (int i = 0; i < PACK; ++i) v[k][i] = (v[k][i] - mean) * rstd * g[i] + b[i];
            save(y + offset + c, v[k]);
        }
        if ((threadIdx.x & 31) == 0) statistics[row] = float2{mean, rstd};
    }
}

// dresidual (rows, WIDTH), float: dx is added to it, the sum of both paths. dbranch: the same times
// keep, as scalars, for the branch's products. partial (grid, 2, WIDTH): this block's part of
// dgamma and dbeta, which `add_column_sums` adds up; always in the same order, so that the same
// step gives the same bits.
extern "C" __global__ void layernorm_backward(
    const scalar* __restrict__ dy, const scalar* __restrict__ sum,
    const float2* __restrict__ statistics, const float* __restrict__ gamma,
    float* __restrict__ dresidual, scalar* __restrict__ dbranch, float* __restrict__ partial,
    int rows, const unsigned* __restrict__ key, unsigned site, unsigned path_site, float rate,
    float path_rate, int T) {
    const int warps = gridDim.x * blockDim.x / 32;
    float dgamma[STEPS][PACK] = {}, dbeta[STEPS][PACK] = {};
    for (int row = first_row(); row < rows; row += warps) {
        const long long offset = (long long)row * WIDTH;
        const float mean = statistics[row].x, rstd = statistics[row].y;
        float xhat[STEPS][PACK], dxhat[STEPS][PACK], sum_dxhat = 0.0f, sum_product = 0.0f;
#pragma unroll
        for (int k = 0; k < STEPS; ++k) {
            const int c = column(k);
            if (c >= WIDTH) continue;
            float g[PACK];
            load(gamma + c, g);
            load(sum + offset + c, xhat[k]);
            load(dy + offset + c, dxhat[k]);
#pragma unroll
            for (int i = 0; i < PACK; ++i) {
                xhat[k][i] = (xhat[k][i] - mean) * rstd;
                dgamma[k][i] += dxhat[k][i] * xhat[k][i];
                dbeta[k][i] += dxhat[k][i];
                dxhat[k][i] *= g[i];
                sum_dxhat += dxhat[k][i];
                sum_product += dxhat[k][i] * xhat[k][i];
            }
        }
        const float path = dropout_factor(key, path_site, row / T, 1, path_rate);
        const float mean_dxhat = warp_sum(sum_dxhat) * INVERSE_WIDTH;
        const float mean_product = warp_sum(sum_product) * INVERSE_WIDTH;
#pragma unroll
        for (int k = 0; k < STEPS; ++k) {
            const int c = column(k);
            if (c >= WIDTH) continue;
            float dx[PACK];
            load(dresidual + offset + c, dx);
#pragma unroll
            for (int i = 0; i < PACK; ++i)
                dx[i] += (dxhat[k][i] - mean_dxhat - xhat[k][i] * mean_product) * rstd;
            save(dresidual + offset + c, dx);
#pragma unroll
            for (int i = 0; i < PACK; ++i)
                dx[i] *= path * dropout_factor(key, site, offset + c + i, T * WIDTH, rate);
            save(dbranch + offset + c, dx);
        }
    }
    // the block's warps add their sums in turn
    DYNAMIC_SHARED(float, sums);  // (2, WIDTH)
    for (int c = threadIdx.x; c < 2 * WIDTH; c += blockDim.x) sums[c] = 0.0f;
    for (int warp = 0; warp < (int)blockDim.x / 32; ++warp) {
        __syncthreads();
        if ((int)threadIdx.x / 32 != warp) continue;
#pragma unroll
        for (int k = 0; k < STEPS; ++k) {
            const int c = column(k);
            if (c >= WIDTH) continue;
#pragma unroll
            for (int i = 0; i < PACK; ++i) {
                sums[c + i] += dgamma[k][i];
                sums[WIDTH + c + i] += dbeta[k][i];
            }
        }
    }
    __syncthreads();
    float* block_partial = partial + (long long)blockIdx.x * 2 * WIDTH;
    for (int c = threadIdx.x; c < 2 * WIDTH; c += blockDim.x) block_partial[c] = sums[c];
}
