// Lets g++ build a CUDA kernel for the CPU, to run it where there is no GPU.
//
// A block's threads are fibers (ucontext) on one CPU thread, run in turn; a barrier or a shuffle
// gives the turn away until all have come there. Blocks run one after the other, so that
// __shared__ can be static. What is tested so is the arithmetic, the indices, the barriers; what is
// not is the speed, and PTX: kernels keep that behind __CUDA_ARCH__, with a plain twin.
//
// `order` turns the order of the warps round: where a barrier is missing, the results differ.

#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };

namespace on_cpu {

constexpr int WARP = 32;
constexpr size_t STACK = 64 * 1024;

struct Barrier {  // of a warp or a block: who comes last opens it
    int members = 0, arrived = 0, turn = 0;
    void leave() {
        --members;
        if (members && arrived == members) open();
    }
    void open() { arrived = 0; ++turn; }
};

struct Fiber {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(STACK);
    dim3 thread;
    int lane = 0, warp = 0;
    bool done = false;
};

inline Fiber* current = nullptr;
inline ucontext_t scheduler;
inline dim3 block_index, block_size, grid_size;
inline Barrier block_barrier;
inline std::vector<Barrier> warp_barriers;
inline std::vector<std::vector<uint64_t>> warp_slots;
inline std::vector<unsigned char> dynamic_shared;

inline void give_turn() { swapcontext(&current->context, &scheduler); }

inline void wait_at(Barrier& barrier) {
    int turn = barrier.turn;
    if (++barrier.arrived == barrier.members) barrier.open();
    else while (barrier.turn == turn) give_turn();
}

template <typename T> T exchange(T value, int source) {
    static_assert(sizeof(T) <= 8);
    Fiber* me = current;
    auto& slots = warp_slots[me->warp];
    std::memcpy(&slots[me->lane], &value, sizeof(T));
    wait_at(warp_barriers[me->warp]);
    T found;
    std::memcpy(&found, &slots[source & (WARP - 1)], sizeof(T));
    wait_at(warp_barriers[me->warp]);
    return found;
}

// What mma.sync does (minivit/backend/cuda/mma.cuh): d (16×8) += a (16×16) b (16×8), all lanes' parts.
inline float half_of(unsigned pair, int which) {
    unsigned bits = which ? pair & 0xffff0000u : pair << 16;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

inline void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    struct Parts { unsigned a[4], b[2]; };
    static std::vector<std::vector<Parts>> parts;
    Fiber* me = current;
    if (parts.size() <= (size_t)me->warp) parts.resize(me->warp + 1);
    if (parts[me->warp].empty()) parts[me->warp].resize(WARP);
    Parts& lane_parts = parts[me->warp][me->lane];
    std::memcpy(lane_parts.a, a, sizeof lane_parts.a);
    std::memcpy(lane_parts.b, b, sizeof lane_parts.b);
    wait_at(warp_barriers[me->warp]);
    const auto& all = parts[me->warp];
    for (int i = 0; i < 4; ++i) {
        const int row = me->lane / 4 + i / 2 * 8, column = me->lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; ++k) {
            const Parts& left = all[row % 8 * 4 + k % 8 / 2];
            const Parts& right = all[column * 4 + k % 8 / 2];
            d[i] += half_of(left.a[k / 8 * 2 + row / 8], k % 2) * half_of(right.b[k / 8], k % 2);
        }
    }
    wait_at(warp_barriers[me->warp]);
}

// What ldmatrix.x4 does: lane 8i + r brings the address of row r of the i-th 8×8 matrix.
template <typename Half> void load_matrices(unsigned (&four)[4], const Half* row, bool transposed) {
    if ((uintptr_t)row % 16) std::abort();
    const Fiber* me = current;
    auto& slots = warp_slots[me->warp];
    slots[me->lane] = (uint64_t)row;
    wait_at(warp_barriers[me->warp]);
    const int group = me->lane / 4, pair = me->lane % 4 * 2;
    for (int i = 0; i < 4; ++i) {
        unsigned both = 0;
        for (int k = 0; k < 2; ++k) {
            const int r = transposed ? pair + k : group, c = transposed ? group : pair + k;
            uint16_t bits;
            std::memcpy(&bits, (const char*)slots[8 * i + r] + 2 * c, 2);
            both |= (unsigned)bits << 16 * k;
        }
        four[i] = both;
    }
    wait_at(warp_barriers[me->warp]);
}

template <typename Body> struct Entry {  // where a fiber begins
    static inline const Body* body;
    static void run() {
        (*body)();
        current->done = true;
        block_barrier.leave();
        warp_barriers[current->warp].leave();
        give_turn();
    }
};

template <typename Body> void run_block(const Body& body, int order) {
    const int count = block_size.x * block_size.y * block_size.z;
    const int warps = (count + WARP - 1) / WARP;
    std::vector<Fiber> fibers(count);
    block_barrier = Barrier{count};
    warp_barriers.assign(warps, Barrier{});
    warp_slots.assign(warps, std::vector<uint64_t>(WARP));
    Entry<Body>::body = &body;
    for (int i = 0; i < count; ++i) {
        Fiber& fiber = fibers[i];
        fiber.thread = dim3(i % block_size.x, i / block_size.x % block_size.y,
                            i / (block_size.x * block_size.y));
        fiber.lane = i % WARP;
        fiber.warp = i / WARP;
        ++warp_barriers[fiber.warp].members;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, Entry<Body>::run, 0);
    }
    // Each warp runs as far as it can without the others, the first one first or the last one: so
    // a warp that does not wait where it should finds the others' work undone, or overwrites it.
    for (int left = count, idle = 0; left;) {
        const int before = left, turns = block_barrier.turn;
        for (int w = 0; w < warps; ++w) {
            const int warp = order ? warps - 1 - w : w;
            for (bool moved = true; moved;) {
                const int turn = warp_barriers[warp].turn, still = left;
                for (int lane = 0; lane < WARP && warp * WARP + lane < count; ++lane) {
                    Fiber& fiber = fibers[warp * WARP + lane];
                    if (fiber.done) continue;
                    current = &fiber;
                    swapcontext(&scheduler, &fiber.context);
                    left -= fiber.done;
                }
                moved = turn != warp_barriers[warp].turn || still != left;
            }
        }
        idle = before == left && turns == block_barrier.turn ? idle + 1 : 0;
        if (idle > 2) {  // all wait, at barriers that not all will come to
            std::fprintf(stderr, "deadlock: not all threads of a block come to the same barrier\n");
            std::abort();
        }
    }
}

template <typename Body>
void launch(dim3 grid, dim3 block, size_t shared, int order, const Body& body) {
    grid_size = grid;
    block_size = block;
    dynamic_shared.assign(shared + 16, 0xFF);  // not zero: nobody promised that
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                block_index = dim3(x, y, z);
                run_block(body, order);
            }
}

}  // namespace on_cpu

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __constant__ static
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define threadIdx (on_cpu::current->thread)
#define blockIdx (on_cpu::block_index)
#define blockDim (on_cpu::block_size)
#define gridDim (on_cpu::grid_size)
#define DYNAMIC_SHARED(type, name) \
    type* name = (type*)(((uintptr_t)on_cpu::dynamic_shared.data() + 15) & ~(uintptr_t)15)

inline void __syncthreads() { on_cpu::wait_at(on_cpu::block_barrier); }
inline void __syncwarp(unsigned = ~0u) {
    on_cpu::wait_at(on_cpu::warp_barriers[on_cpu::current->warp]);
}
template <typename T> T __shfl_xor_sync(unsigned, T value, int mask) {
    return on_cpu::exchange(value, on_cpu::current->lane ^ mask);
}
template <typename T> T __shfl_sync(unsigned, T value, int lane) {
    return on_cpu::exchange(value, lane);
}
template <typename T> T __shfl_down_sync(unsigned, T value, int by) {
    int lane = on_cpu::current->lane;
    return on_cpu::exchange(value, lane + by < on_cpu::WARP ? lane + by : lane);
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (uint64_t)a * b >> 32; }
inline unsigned __float_as_uint(float x) { unsigned bits; std::memcpy(&bits, &x, 4); return bits; }
inline float __uint_as_float(unsigned bits) { float x; std::memcpy(&x, &bits, 4); return x; }
inline float atomicAdd(float* address, float value) { float old = *address; *address += value; return old; }
inline int atomicAdd(int* address, int value) { int old = *address; *address += value; return old; }
template <typename T> T __ldg(const T* address) { return *address; }
using std::max;
using std::min;
