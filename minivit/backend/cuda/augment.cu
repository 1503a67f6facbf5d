// A training batch from images in device memory, in one pass: crop, flip, erase, normalize, mix,
// cut into patches. data/augment.py is the oracle and draws the random choices: `draws` is
// Plan.packed of data/batches.py, int (fields, B).
//
// CHANNELS, HEIGHT, WIDTH_PX: of an image. PADDING: black pixels added on each side before
// cropping. PATCH: the side of a patch. One thread per number of the result.

enum Field {  // the rows of `draws`; blend and kept are floats, stored as their bits
    ROW, DY, DX, FLIPPED,
    ERASED_TOP, ERASED_BOTTOM, ERASED_LEFT, ERASED_RIGHT,
    PARTNER, PASTED_TOP, PASTED_BOTTOM, PASTED_LEFT, PASTED_RIGHT, BLEND,
    FIRST, SECOND, KEPT,  // the target: for cross_entropy.cu
};

constexpr int NUMBERS = CHANNELS * HEIGHT * WIDTH_PX;  // of an image
constexpr unsigned NOISE = 0xffffffffu;  // in place of a mask's layer: no layer has this number

struct Batch {
    const unsigned char* images;
    const int* draws;
    const unsigned* state;
    int B;

    __device__ __forceinline__ int drawn(int field, int b) const { return draws[field * B + b]; }

    // Is (y, x) in the rectangle whose four fields begin with `top`?
    __device__ __forceinline__ bool inside(int top, int b, int y, int x) const {
        return y >= drawn(top, b) && y < drawn(top + 1, b) && x >= drawn(top + 2, b) &&
               x < drawn(top + 3, b);
    }

    // A function of position, seed and step, so that an image has the same noise as another's partner.
    __device__ __forceinline__ int noise(int b, int c, int y, int x) const {
        const unsigned long long seed = state[0] | (unsigned long long)state[1] << 32;
        const long long index = (long long)b * NUMBERS + (c * HEIGHT + y) * WIDTH_PX + x;
        return philox(seed, state[2], NOISE, index).words[0] >> 24;
    }

    // 0 … 255: image b of the batch, cropped, flipped and erased as drawn for it.
    __device__ __forceinline__ int pixel(int b, int c, int y, int x) const {
        if (inside(ERASED_TOP, b, y, x)) return noise(b, c, y, x);
        if (drawn(FLIPPED, b)) x = WIDTH_PX - 1 - x;
        y += drawn(DY, b) - PADDING;
        x += drawn(DX, b) - PADDING;
        if (y < 0 || y >= HEIGHT || x < 0 || x >= WIDTH_PX) return 0;
        return images[(long long)drawn(ROW, b) * NUMBERS + (c * HEIGHT + y) * WIDTH_PX + x];
    }
};

// images (all of the split, C, H, W); scale, offset (C): x · scale - offset normalizes; state:
// {lower half of the seed, upper half, step, first of the rows}, in device memory so that a captured
// graph can be replayed; patches (rows·N, P·P·C), of this rank's rows of the batch, a patch's numbers
// in (row, column, channel) order.
extern "C" __global__ void augment(
    const unsigned char* __restrict__ images, const int* __restrict__ draws,
    const float* __restrict__ scale, const float* __restrict__ offset,
    const unsigned* __restrict__ state, scalar* __restrict__ patches, int B,
    int rows) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (long long)rows * NUMBERS) return;
    const int b = state[3] + i / NUMBERS, index = i % NUMBERS;
    const int c = index % CHANNELS, in_patch = index / CHANNELS % (PATCH * PATCH);
    const int patch = index / (CHANNELS * PATCH * PATCH);
    const int y = patch / (WIDTH_PX / PATCH) * PATCH + in_patch / PATCH;
    const int x = patch % (WIDTH_PX / PATCH) * PATCH + in_patch % PATCH;

    const Batch batch = {images, draws, state, B};
    const int partner = batch.drawn(PARTNER, b);
    const bool pasted = batch.inside(PASTED_TOP, b, y, x);
    const float blend = __uint_as_float(batch.drawn(BLEND, b));
    float v = batch.pixel(pasted ? partner : b, c, y, x) * scale[c] - offset[c];
    if (blend < 1.0f) {
        const float other = batch.pixel(partner, c, y, x) * scale[c] - offset[c];
        v = other * (1.0f - blend) + blend * v;
    }
    store(patches[i], v);
}
