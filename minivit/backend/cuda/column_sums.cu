// out[c] += Σ partial[r][c] over a few rows, in the order of the rows: the second half of a sum that
// many blocks have begun. One thread a column.

extern "C" __global__ void add_column_sums(
    const float* __restrict__ partial, float* __restrict__ out, int rows, int columns) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    if (c >= columns) return;
    float sum = 0.0f;
    for (int row = 0; row < rows; ++row) sum += partial[(long long)row * columns + c];
    out[c] += sum;
}
