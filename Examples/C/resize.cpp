// A picture's first steps in C++17: resize bytes as Pillow does, make floats of them, max-pool them.
//
//     c++ -std=c++17 resize.cpp $(pkg-config --cflags --libs ckernels) && ./a.out
#include <ckernels.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

void must(ck_status status, const std::string &what) {
    if (status != CK_OK) throw std::runtime_error(what + ": " + ck_status_string(status));
}

// Aligned memory from the core, given back when it goes out of scope.
struct Blocks {
    std::size_t bytes;
    float *floats;
    explicit Blocks(std::size_t count) : bytes(count * sizeof(float)), floats(static_cast<float *>(ck_alloc(bytes))) {
        if (!floats) throw std::bad_alloc();
    }
    ~Blocks() { ck_free(floats, bytes); }
    Blocks(const Blocks &) = delete;
    Blocks &operator=(const Blocks &) = delete;
};

void run() {
    constexpr int32_t height = 375, width = 500, size = 224, channels = 3;
    std::vector<uint8_t> picture(std::size_t{height} * width * channels), small(std::size_t{size} * size * channels);
    for (std::size_t i = 0; i < picture.size(); i++)
        picture[i] = static_cast<uint8_t>(i / channels % width * 255 / width);
    must(ck_resize_u8(picture.data(), height, width, channels, width * channels, 0, 0, width, height, small.data(),
                      size, size, CK_BILINEAR, 0),
         "ck_resize_u8");

    const float scale[channels] = {1 / 255.f, 1 / 255.f, 1 / 255.f}, shift[channels] = {0, 0, 0};
    Blocks x(ck_blocked_count(1, channels, size, size));
    must(ck_nhwc8_to_blocked(small.data(), 1, channels, size, size, scale, shift, x.floats, 0), "ck_nhwc8_to_blocked");

    ck_pool_desc desc{};
    desc.batch = 1;
    desc.channels = channels;
    desc.in_height = desc.in_width = size;
    desc.kernel_height = desc.kernel_width = 3;
    desc.stride_height = desc.stride_width = 2;
    desc.pad_height = desc.pad_width = 1;
    int32_t rows = 0, columns = 0;
    must(ck_pool_output_size(&desc, &rows, &columns), "ck_pool_output_size");
    Blocks y(ck_blocked_count(1, channels, rows, columns));
    must(ck_max_pool(&desc, x.floats, y.floats, nullptr), "ck_max_pool");

    std::vector<float> planes(std::size_t{3} * rows * columns);
    must(ck_blocked_to_nchw(y.floats, 1, channels, rows, columns, planes.data(), 0), "ck_blocked_to_nchw");
    std::printf("%dx%d -> %dx%d -> %dx%d on %s; top row from %.3f to %.3f\n", width, height, size, size, columns, rows,
                ck_isa_name(ck_isa_active()), planes.front(), planes[columns - 1]);
    // The picture is a ramp from black to white, and stays one.
    for (int32_t i = 1; i < columns; i++)
        if (planes[i] < planes[i - 1]) throw std::runtime_error("the ramp is no ramp any more");
    if (planes.front() > 0.02f || planes[columns - 1] < 0.98f) throw std::runtime_error("the ramp lost its ends");
}

} // namespace

int main() {
    try {
        run();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
