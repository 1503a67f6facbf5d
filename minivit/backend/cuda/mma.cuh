// A product of small matrices by a warp's tensor core: d (16×8, float) += a (16×16) b (16×8), bf16.
//
// Each of the 32 threads holds a few elements. With group = lane / 4 and pair = 2·(lane mod 4):
//
//     d[0], d[1]: row group,     columns pair, pair + 1     a[0]: row group,     columns pair, pair + 1
//     d[2], d[3]: row group + 8, the same                   a[1]: row group + 8, the same
//     b[0]: rows pair, pair + 1 of column group             a[2]: row group,     columns pair + 8, + 9
//     b[1]: rows pair + 8, + 9                              a[3]: row group + 8, the same
//
// Each element of a or b is a pair of neighbors, the first in the lower half. So the d of two
// products side by side, rounded to bf16, is the a of the next product: softmax's result never
// leaves the registers.

__device__ __forceinline__ void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef __CUDA_ARCH__
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    on_cpu::mma(d, a, b);
#endif
}

__device__ __forceinline__ unsigned pair_of(bf16 low, bf16 high) {
    return low.bits | (unsigned)high.bits << 16;
}

__device__ __forceinline__ unsigned pair_of(float low, float high) {
    return pair_of(to_bf16(low), to_bf16(high));
}

// Four 8×8 matrices from shared memory to the registers that mma reads: lane 8i + r gives the
// address of row r of the i-th (16 bytes, aligned). Of each matrix a thread gets row `group`,
// columns pair, pair + 1; turned: the matrix transposed, so rows pair, pair + 1 of column `group`.
template <bool TRANSPOSED>
__device__ __forceinline__ void load_matrices(unsigned (&four)[4], const bf16* row) {
#ifdef __CUDA_ARCH__
    const unsigned address = (unsigned)__cvta_generic_to_shared(row);
    if constexpr (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(four[0]), "=r"(four[1]), "=r"(four[2]), "=r"(four[3]) : "r"(address) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(four[0]), "=r"(four[1]), "=r"(four[2]), "=r"(four[3]) : "r"(address) : "memory");
#else
    on_cpu::load_matrices(four, row, TRANSPOSED);
#endif
}
