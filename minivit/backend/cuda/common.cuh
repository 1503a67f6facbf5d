// What all kernels share: numbers, loads of 16 bytes, sums over a warp.
//
// A kernel is compiled for one shape: sizes that affect registers are macros (-DWIDTH=192), so that
// loops over them unroll. SCALAR is the type that activations are stored in: float or bf16.
// Arithmetic is always float.
//
// Everything here also compiles for a CPU (tests/cuda/cuda_on_cpu.h), where __CUDA_ARCH__ is not
// defined.

typedef unsigned short ushort16;

struct bf16 {  // the upper half of a float
    ushort16 bits;
};

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

// Rounded to nearest, ties to even.
__device__ __forceinline__ bf16 to_bf16(float x) {
    bf16 y;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
    unsigned u = __float_as_uint(x);
    bool is_nan = (u & 0x7fffffffu) > 0x7f800000u;
    y.bits = is_nan ? 0x7fff : (ushort16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
#endif
    return y;
}

__device__ __forceinline__ float lowest() { return -3.402823466e38f; }

#ifndef SCALAR
#define SCALAR float
#endif
typedef SCALAR scalar;

__device__ __forceinline__ void store(float& to, float x) { to = x; }
__device__ __forceinline__ void store(bf16& to, float x) { to = to_bf16(x); }

// The count of numbers in 16 bytes if rows of `width` stay aligned; otherwise 1.
template <typename T> __host__ __device__ constexpr int pack_of(int width) {
    return width % (16 / (int)sizeof(T)) == 0 ? 16 / (int)sizeof(T) : 1;
}

template <int PACK> __device__ __forceinline__ void load(const float* from, float (&x)[PACK]) {
    if constexpr (PACK % 4 == 0) {
#pragma unroll
        for (int i = 0; i < PACK; i += 4) {
            float4 four = *reinterpret_cast<const float4*>(from + i);
            x[i] = four.x; x[i + 1] = four.y; x[i + 2] = four.z; x[i + 3] = four.w;
        }
    } else {
#pragma unroll
        for (int i = 0; i < PACK; ++i) x[i] = from[i];
    }
}

template <int PACK> __device__ __forceinline__ void load(const bf16* from, float (&x)[PACK]) {
    if constexpr (PACK == 8) {
        uint4 four = *reinterpret_cast<const uint4*>(from);
        const unsigned words[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            x[2 * i] = __uint_as_float(words[i] << 16);
            x[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
        }
    } else {
#pragma unroll
        for (int i = 0; i < PACK; ++i) x[i] = to_float(from[i]);
    }
}

template <int PACK> __device__ __forceinline__ void save(float* to, const float (&x)[PACK]) {
    if constexpr (PACK % 4 == 0) {
#pragma unroll
        for (int i = 0; i < PACK; i += 4)
            *reinterpret_cast<float4*>(to + i) = float4{x[i], x[i + 1], x[i + 2], x[i + 3]};
    } else {
#pragma unroll
        for (int i = 0; i < PACK; ++i) to[i] = x[i];
    }
}

template <int PACK> __device__ __forceinline__ void save(bf16* to, const float (&x)[PACK]) {
    if constexpr (PACK == 8) {
        unsigned words[4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
            words[i] = to_bf16(x[2 * i]).bits | (unsigned)to_bf16(x[2 * i + 1]).bits << 16;
        *reinterpret_cast<uint4*>(to) = uint4{words[0], words[1], words[2], words[3]};
    } else {
#pragma unroll
        for (int i = 0; i < PACK; ++i) to[i] = to_bf16(x[i]);
    }
}

// The sum over a warp's 32 threads, returned to all of them; always in the same order.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int by = 16; by; by /= 2) x += __shfl_xor_sync(0xffffffffu, x, by);
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int by = 16; by; by /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, by));
    return x;
}

#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(type, name)                        \
    extern __shared__ __align__(16) unsigned char name##_bytes[]; \
    type* name = reinterpret_cast<type*>(name##_bytes)
#endif
