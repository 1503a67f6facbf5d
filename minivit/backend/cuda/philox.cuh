// Random numbers that are a function of their position: Philox4x32-10 (Salmon et al., 2011).
// Backward recomputes a mask from (seed, step, index) instead of reading it.

struct Philox {
    unsigned words[4];
};

__device__ __forceinline__ Philox philox(unsigned long long seed, unsigned step, unsigned layer,
                                         unsigned long long index) {
    unsigned a = (unsigned)index, b = (unsigned)(index >> 32), c = step, d = layer;
    unsigned key0 = (unsigned)seed, key1 = (unsigned)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned high0 = __umulhi(0xD2511F53u, a), low0 = 0xD2511F53u * a;
        const unsigned high1 = __umulhi(0xCD9E8D57u, c), low1 = 0xCD9E8D57u * c;
        a = high1 ^ b ^ key0;
        b = low1;
        c = high0 ^ d ^ key1;
        d = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return Philox{{a, b, c, d}};
}

// 24 random bits as a number in [0, 1)
__device__ __forceinline__ float uniform(unsigned bits) { return (bits >> 8) * (1.0f / 16777216.0f); }

// Dropout (functional/dropout.py): the factor at this index, 0 with probability `rate`, else 1/(1 -
// rate). key: {seed, low and high half; step; index of the first image in the batch of all ranks},
// in device memory, so that a captured graph can be replayed. site: each use in a model has its
// own random numbers. index: the index in this rank's array, which has `per_image` numbers per
// image. DROP: 0 compiles dropout out.
#ifndef DROP
#define DROP 0
#endif
__device__ __forceinline__ float dropout_factor(
    const unsigned* key, unsigned site, unsigned long long index, long long per_image,
    float rate) {
#if DROP
    if (rate == 0.0f) return 1.0f;
    index += key[3] * (unsigned long long)per_image;
    const Philox four = philox((unsigned long long)key[1] << 32 | key[0], key[2], site, index / 4);
    const unsigned low = index & 1 ? four.words[1] : four.words[0];
    const unsigned high = index & 1 ? four.words[3] : four.words[2];
    return uniform(index & 2 ? high : low) < rate ? 0.0f : 1.0f / (1.0f - rate);
#else
    return 1.0f;
#endif
}
