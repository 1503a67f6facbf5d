// Attention forward and backward, directly on packed qkv; functional/attention.py is the oracle.
//
//     S = q kᵀ / √D,   P = softmax(S),   out = P v
//
// No T×T matrix is ever written. Forward goes through the keys 64 at a time and keeps, for each
// query, the largest score so far and the sum of the exponentials (Milakov & Gimelshein, 2018; Dao et
// al., 2022): when a larger score comes, the sum so far is scaled down. Backward recomputes P from
// the logarithm of that sum:
//
//     P = exp(S - lse),   dv = Pᵀ dout,   dS = P ∘ (dout vᵀ - delta) / √D,   delta = rowsum(dout ∘ out)
//     dq = dS k,   dk = dSᵀ q
//
// With dropout on the map, P is multiplied by `keep` before the product with v, and dP = keep ∘
// (dout vᵀ).
//
// Products run on tensor cores (mma.cuh). A block has four warps; each warp has 16 rows of a tile
// of 64. qkv (B, T, 3, H, D) and out (B, T, H, D) are bf16; HEAD is D, a multiple of 16.

constexpr int TILE = 64, WARPS = 4, THREADS = 32 * WARPS;
constexpr int STRIDE = HEAD + 8;   // of a row in shared memory; the 8 avoid bank conflicts
constexpr int STEPS = HEAD / 16;   // products over D
constexpr int COLUMNS = HEAD / 8;  // tiles of 8 columns of D
constexpr int PACKS = HEAD / 8;    // loads of 16 bytes in a row

// Copy rows first … first + 63 of a matrix whose rows are `step` apart; rows past `rows` are zero.
__device__ __forceinline__ void load_tile(bf16* tile, const bf16* from, int first, int rows, int step) {
    for (int i = threadIdx.x; i < TILE * PACKS; i += THREADS) {
        const int row = i / PACKS, c = i % PACKS * 8;
        uint4 eight = {0u, 0u, 0u, 0u};
        if (first + row < rows)
            eight = *reinterpret_cast<const uint4*>(from + (long long)(first + row) * step + c);
        *reinterpret_cast<uint4*>(tile + row * STRIDE + c) = eight;
    }
}

// Which row of 16 bytes this lane passes to load_matrices, of four matrices in a 2 × 2 arrangement.
// The second is below the first (as for an a, or a transposed b), or to its right.
struct Lane {
    int row, column;
};
__device__ __forceinline__ Lane lane_of(bool below_first) {
    const int lane = threadIdx.x & 31, one = lane / 8 % 2 * 8, two = lane / 16 * 8;
    return below_first ? Lane{lane % 8 + one, two} : Lane{lane % 8 + two, one};
}

// d (16 × 64) = (16 rows of `left`) · (64 rows of `right`, of which `count` are needed)ᵀ, over D
__device__ __forceinline__ void product_over_head(
    float (&d)[TILE / 8][4], const bf16* left, int row, const bf16* right, int count) {
    const Lane of_a = lane_of(true), of_b = lane_of(false);
#pragma unroll
    for (int n = 0; n < TILE / 8; ++n) d[n][0] = d[n][1] = d[n][2] = d[n][3] = 0.0f;
#pragma unroll
    for (int k = 0; k < STEPS; ++k) {
        unsigned a[4];
        load_matrices<false>(a, left + (row + of_a.row) * STRIDE + 16 * k + of_a.column);
#pragma unroll
        for (int n = 0; n < TILE / 8; n += 2) {
            if (8 * n >= count) continue;
            unsigned b[4];
            load_matrices<false>(b, right + (8 * n + of_b.row) * STRIDE + 16 * k + of_b.column);
            mma(d[n], a, {b[0], b[1]});
            mma(d[n + 1], a, {b[2], b[3]});
        }
    }
}

// d (16 × D) += a (16 × 16) · (rows 16·k … of a tile, 16 × D)
__device__ __forceinline__ void add_product(
    float (&d)[COLUMNS][4], const unsigned (&a)[4], const bf16* tile, int k) {
    const Lane of_b = lane_of(true);
#pragma unroll
    for (int n = 0; n < COLUMNS; n += 2) {
        unsigned b[4];
        load_matrices<true>(b, tile + (16 * k + of_b.row) * STRIDE + 8 * n + of_b.column);
        mma(d[n], a, {b[0], b[1]});
        mma(d[n + 1], a, {b[2], b[3]});
    }
}

// Two d side by side (16 × 16) as an a
__device__ __forceinline__ void as_rows(unsigned (&a)[4], const float (&left)[4], const float (&right)[4]) {
    a[0] = pair_of(left[0], left[1]);
    a[1] = pair_of(left[2], left[3]);
    a[2] = pair_of(right[0], right[1]);
    a[3] = pair_of(right[2], right[3]);
}

// Over the four threads that share a row of d
__device__ __forceinline__ float row_sum(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

__device__ __forceinline__ float row_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

// Rows row, row + 8 of (16 × D), scaled, to a matrix whose rows are `step` apart.
__device__ __forceinline__ void save_rows(
    bf16* to, const float (&d)[COLUMNS][4], int row, int rows, int step, float scale, float scale8) {
    const int pair = threadIdx.x % 4 * 2;
#pragma unroll
    for (int n = 0; n < COLUMNS; ++n) {
        bf16* target = to + (long long)row * step + 8 * n + pair;
        if (row < rows)
            *reinterpret_cast<unsigned*>(target) = pair_of(d[n][0] * scale, d[n][1] * scale);
        if (row + 8 < rows)
            *reinterpret_cast<unsigned*>(target + 8LL * step) =
                pair_of(d[n][2] * scale8, d[n][3] * scale8);
    }
}

// Dropout of the attention weight (image, head, query, key).
__device__ __forceinline__ float map_dropout(
    const unsigned* key, unsigned site, float rate, int T, int H, int query, int of) {
    const long long map = (long long)blockIdx.z * H + blockIdx.y;
    return dropout_factor(key, site, (map * T + query) * T + of, (long long)H * T * T, rate);
}

// grid (ceil(T / 64), H, B). lse (B, H, T): log Σ exp(S), for backward.
// Shared memory: three tiles.
extern "C" __global__ void __launch_bounds__(THREADS) attention_forward(
    const bf16* __restrict__ qkv, bf16* __restrict__ out, float* __restrict__ lse, int T, int H,
    const unsigned* __restrict__ key, unsigned site, float rate) {
    const int first = blockIdx.x * TILE, head = blockIdx.y, image = blockIdx.z;
    const int step = 3 * H * HEAD, width = H * HEAD;
    const bf16* q = qkv + (long long)image * T * step + head * HEAD;
    DYNAMIC_SHARED(bf16, shared);
    bf16 *queries = shared, *keys = queries + TILE * STRIDE, *values = keys + TILE * STRIDE;
    load_tile(queries, q, first, T, step);
    const int warp_row = threadIdx.x / 32 * 16, group = (threadIdx.x & 31) / 4;
    const int pair = threadIdx.x % 4 * 2;
    const float scale = rsqrtf((float)HEAD);
    float sums[COLUMNS][4] = {}, maximum[2] = {lowest(), lowest()}, total[2] = {0.0f, 0.0f};
    for (int j = 0; j < T; j += TILE) {
        __syncthreads();  // no thread still reads the previous tiles
        load_tile(keys, q + width, j, T, step);
        load_tile(values, q + 2 * width, j, T, step);
        __syncthreads();
        if (first + warp_row >= T) continue;  // all of this warp's queries are padding
        float p[TILE / 8][4];
        product_over_head(p, queries, warp_row, keys, T - j);
        float new_maximum[2] = {maximum[0], maximum[1]};
#pragma unroll
        for (int n = 0; n < TILE / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                p[n][i] = j + 8 * n + pair + i % 2 < T ? p[n][i] * scale : lowest();
                new_maximum[i / 2] = fmaxf(new_maximum[i / 2], p[n][i]);
            }
        float rescale[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            new_maximum[r] = row_max(new_maximum[r]);
            rescale[r] = __expf(maximum[r] - new_maximum[r]);
            maximum[r] = new_maximum[r];
            total[r] *= rescale[r];
        }
#pragma unroll
        for (int n = 0; n < COLUMNS; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[n][i] *= rescale[i / 2];
#pragma unroll
        for (int n = 0; n < TILE / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                p[n][i] = __expf(p[n][i] - maximum[i / 2]);
                total[i / 2] += p[n][i];  // softmax sums over all weights, dropped or not
                p[n][i] *= map_dropout(key, site, rate, T, H, first + warp_row + group + i / 2 * 8,
                                       j + 8 * n + pair + i % 2);
            }
#pragma unroll
        for (int k = 0; k < TILE / 16; ++k) {
            if (j + 16 * k >= T) continue;
            unsigned a[4];
            as_rows(a, p[2 * k], p[2 * k + 1]);
            add_product(sums, a, values, k);
        }
    }
    const float sum = row_sum(total[0]), sum8 = row_sum(total[1]);
    const int row = first + warp_row + group;
    save_rows(out + (long long)image * T * width + head * HEAD, sums, row, T, width, 1.0f / sum,
              1.0f / sum8);
    float* row_lse = lse + ((long long)image * H + head) * T;
    if (pair == 0 && row < T) row_lse[row] = maximum[0] + logf(sum);
    if (pair == 0 && row + 8 < T) row_lse[row + 8] = maximum[1] + logf(sum8);
}

// grid (1, H, B): one block per head, so that sums have a fixed order. dqkv: laid out as qkv.
// Shared memory: five tiles (the fifth 64 × 72), and per token D + 2 floats, tokens rounded up to 64.
extern "C" __global__ void __launch_bounds__(THREADS) attention_backward(
    const bf16* __restrict__ qkv, const bf16* __restrict__ out, const bf16* __restrict__ dout,
    const float* __restrict__ lse, bf16* __restrict__ dqkv, int T, int H,
    const unsigned* __restrict__ key, unsigned site, float rate) {
    const int head = blockIdx.y, image = blockIdx.z, step = 3 * H * HEAD, width = H * HEAD;
    const int padded = (T + TILE - 1) / TILE * TILE;
    constexpr int ACROSS = TILE + 8;
    DYNAMIC_SHARED(bf16, shared);
    bf16 *queries = shared, *douts = queries + TILE * STRIDE, *keys = douts + TILE * STRIDE;
    bf16 *values = keys + TILE * STRIDE, *dscores = values + TILE * STRIDE;  // (key, query)
    float* dq = reinterpret_cast<float*>(dscores + TILE * ACROSS);           // (padded, D)
    float *delta = dq + padded * HEAD, *logs = delta + padded;
    const bf16* q = qkv + (long long)image * T * step + head * HEAD;
    const bf16* o = out + (long long)image * T * width + head * HEAD;
    const bf16* d_o = dout + (long long)image * T * width + head * HEAD;
    bf16* dq_out = dqkv + (long long)image * T * step + head * HEAD;
    for (int t = threadIdx.x; t < padded; t += THREADS) {
        float sum = 0.0f;
        for (int c = 0; t < T && c < HEAD; c += 8) {
            float left[8], right[8];
            load(o + (long long)t * width + c, left);
            load(d_o + (long long)t * width + c, right);
#pragma unroll
            for (int k = 0; k < 8; ++k) sum += left[k] * right[k];
        }
        delta[t] = sum;
        logs[t] = t < T ? lse[((long long)image * H + head) * T + t] : -lowest();  // its P is 0
    }
    for (int i = threadIdx.x; i < padded * HEAD; i += THREADS) dq[i] = 0.0f;
    const int warp_row = threadIdx.x / 32 * 16, group = (threadIdx.x & 31) / 4;
    const int pair = threadIdx.x % 4 * 2;
    const float scale = rsqrtf((float)HEAD);
    for (int j = 0; j < T; j += TILE) {
        __syncthreads();
        load_tile(keys, q + width, j, T, step);
        load_tile(values, q + 2 * width, j, T, step);
        float dk[COLUMNS][4] = {}, dv[COLUMNS][4] = {};
        for (int i = 0; i < T; i += TILE) {
            __syncthreads();
            load_tile(queries, q, i, T, step);
            load_tile(douts, d_o, i, T, width);
            __syncthreads();
            if (j + warp_row < T) {  // 16 keys per warp against 64 queries: all transposed
                float p[TILE / 8][4], ds[TILE / 8][4];
                product_over_head(p, keys, warp_row, queries, T - i);
                product_over_head(ds, values, warp_row, douts, T - i);
#pragma unroll
                for (int n = 0; n < TILE / 8; ++n)
#pragma unroll
                    for (int e = 0; e < 4; ++e) {
                        const int query = i + 8 * n + pair + e % 2;
                        const float keep = map_dropout(key, site, rate, T, H, query,
                                                       j + warp_row + group + e / 2 * 8);
                        p[n][e] = __expf(p[n][e] * scale - logs[query]);
                        ds[n][e] = p[n][e] * (keep * ds[n][e] - delta[query]) * scale;
                        p[n][e] *= keep;
                    }
#pragma unroll
                for (int k = 0; k < TILE / 16; ++k) {
                    if (i + 16 * k >= T) continue;
                    unsigned a[4];
                    as_rows(a, p[2 * k], p[2 * k + 1]);
                    add_product(dv, a, douts, k);
                    as_rows(a, ds[2 * k], ds[2 * k + 1]);
                    add_product(dk, a, queries, k);
                }
#pragma unroll
                for (int n = 0; n < TILE / 8; ++n) {
                    bf16* target = dscores + (warp_row + group) * ACROSS + 8 * n + pair;
                    *reinterpret_cast<unsigned*>(target) = pair_of(ds[n][0], ds[n][1]);
                    *reinterpret_cast<unsigned*>(target + 8 * ACROSS) = pair_of(ds[n][2], ds[n][3]);
                }
            }
            // dq sums over keys, which are distributed over the warps: through shared memory
            __syncthreads();
            if (i + warp_row >= T) continue;
            const Lane of_a = lane_of(false);
            float dq_part[COLUMNS][4] = {};
#pragma unroll
            for (int k = 0; k < TILE / 16; ++k) {
                if (j + 16 * k >= T) continue;
                unsigned a[4];
                load_matrices<true>(
                    a, dscores + (16 * k + of_a.row) * ACROSS + warp_row + of_a.column);
                add_product(dq_part, a, keys, k);
            }
            float* rows = dq + (i + warp_row + group) * HEAD + pair;
#pragma unroll
            for (int n = 0; n < COLUMNS; ++n) {
                rows[8 * n] += dq_part[n][0];
                rows[8 * n + 1] += dq_part[n][1];
                rows[8 * n + 8 * HEAD] += dq_part[n][2];
                rows[8 * n + 8 * HEAD + 1] += dq_part[n][3];
            }
        }
        const int row = j + warp_row + group;
        save_rows(dq_out + width, dk, row, T, step, 1.0f, 1.0f);
        save_rows(dq_out + 2 * width, dv, row, T, step, 1.0f, 1.0f);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < T * (HEAD / 2); i += THREADS) {
        const int row = i / (HEAD / 2), c = i % (HEAD / 2) * 2;
        *reinterpret_cast<unsigned*>(dq_out + (long long)row * step + c) =
            pair_of(dq[row * HEAD + c], dq[row * HEAD + c + 1]);
    }
}

// The attention map itself, for figures: probs (B, H, T, T). Grid and shared memory as in forward.
extern "C" __global__ void __launch_bounds__(THREADS) attention_map(
    const bf16* __restrict__ qkv, const float* __restrict__ lse, float* __restrict__ probs, int T,
    int H) {
    const int first = blockIdx.x * TILE, step = 3 * H * HEAD;
    const bf16* q = qkv + (long long)blockIdx.z * T * step + blockIdx.y * HEAD;
    const long long map = (long long)blockIdx.z * H + blockIdx.y;
    DYNAMIC_SHARED(bf16, shared);
    bf16 *queries = shared, *keys = queries + TILE * STRIDE;
    load_tile(queries, q, first, T, step);
    const int warp_row = threadIdx.x / 32 * 16, group = (threadIdx.x & 31) / 4;
    const int pair = threadIdx.x % 4 * 2;
    const float scale = rsqrtf((float)HEAD);
    for (int j = 0; j < T; j += TILE) {
        __syncthreads();
        load_tile(keys, q + H * HEAD, j, T, step);
        __syncthreads();
        float p[TILE / 8][4];
        product_over_head(p, queries, warp_row, keys, T - j);
#pragma unroll
        for (int n = 0; n < TILE / 8; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int row = first + warp_row + group + i / 2 * 8, of = j + 8 * n + pair + i % 2;
                if (row < T && of < T)
                    probs[(map * T + row) * T + of] = __expf(p[n][i] * scale - lse[map * T + row]);
            }
    }
}
