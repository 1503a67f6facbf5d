// Sums over the rows of a matrix, always in the same order: first each block over its own rows,
// then one block per 32 columns over the partial sums.

// partial (gridDim.y, columns): the sums over rows blockIdx.y, blockIdx.y + gridDim.y, …
extern "C" __global__ void column_sums(
    const scalar* __restrict__ x, float* __restrict__ partial, int rows, int columns) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= columns) return;
    float sum = 0.0f;
    for (int row = blockIdx.y; row < rows; row += gridDim.y)
        sum += to_float(x[(long long)row * columns + c]);
    partial[(long long)blockIdx.y * columns + c] = sum;
}

// out[c] += Σ partial[r · stride + c]; with blockIdx.y = 1: second, from the columns after those
// of `out`. A block of warps, grid (ceil(columns / 32), 1 or 2): warp w sums rows w, w + warps, …,
// and the first adds up the warps.
extern "C" __global__ void add_column_sums(
    const float* __restrict__ partial, float* __restrict__ out, float* __restrict__ second,
    int rows, int columns, int stride) {
    __shared__ float warp_sums[32][32];
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    const int c = blockIdx.x * 32 + lane;
    float sum = 0.0f;
    if (blockIdx.y) {
        partial += columns;
        out = second;
    }
    if (c < columns) {
#pragma unroll 8
        for (int row = warp; row < rows; row += warps) sum += partial[(long long)row * stride + c];
    }
    warp_sums[warp][lane] = sum;
    __syncthreads();
    if (warp || c >= columns) return;
    for (int w = 1; w < warps; ++w) sum += warp_sums[w][lane];
    out[c] += sum;
}
