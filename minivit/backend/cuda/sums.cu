// Sums of a whole array, always in the same order: each thread sums with a fixed stride, a block
// sums its threads, and the reader of the result sums the few blocks.

__device__ __forceinline__ float block_sum(float x) {  // in thread 0
    __shared__ float warp_sums[32];
    x = warp_sum(x);
    if ((threadIdx.x & 31) == 0) warp_sums[threadIdx.x / 32] = x;
    __syncthreads();
    x = threadIdx.x < blockDim.x / 32 ? warp_sums[threadIdx.x] : 0.0f;
    return threadIdx.x < 32 ? warp_sum(x) : 0.0f;
}

// partial (grid): Σ x² over each block's part; for the global norm of a gradient.
extern "C" __global__ void sum_of_squares(
    const float* __restrict__ x, float* __restrict__ partial, long long count) {
    const long long stride = (long long)gridDim.x * blockDim.x;
    float sum = 0.0f;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += stride)
        sum += x[i] * x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// out[i] = the sum of row i of x (2, count), in one block; the first is scaled: mean loss, number
// of correct predictions.
extern "C" __global__ void two_sums(
    const float* __restrict__ x, float* __restrict__ out, int count, float scale) {
    for (int row = 0; row < 2; ++row) {
        float sum = 0.0f;
        for (int i = threadIdx.x; i < count; i += blockDim.x) sum += x[(long long)row * count + i];
        sum = block_sum(sum);
        if (threadIdx.x == 0) out[row] = row == 0 ? sum * scale : sum;
        __syncthreads();
    }
}
