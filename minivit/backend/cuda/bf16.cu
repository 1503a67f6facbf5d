// float to bf16, element by element.

extern "C" __global__ void to_bf16_kernel(
    const float* __restrict__ x, bf16* __restrict__ y, long long count) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) y[i] = to_bf16(x[i]);
}
