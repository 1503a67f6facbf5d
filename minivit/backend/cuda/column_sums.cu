// Sums over the rows of a matrix, always in the same order: first each block over its own rows, then
// one thread a column over the blocks.

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

// out[c] += Σ partial[r · stride + c]
extern "C" __global__ void add_column_sums(
    const float* __restrict__ partial, float* __restrict__ out, int rows, int columns, int stride) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= columns) return;
    float sum = 0.0f;
    for (int row = 0; row < rows; ++row) sum += partial[(long long)row * stride + c];
    out[c] += sum;
}
