/* zlib streams of PNG's text chunks. */
#include <string.h>
#include <zlib.h>

#include "cimagecodecs.h"

ci_status ci_inflate(const uint8_t *bytes, size_t size, uint8_t *target, size_t capacity, size_t *written) {
    if ((!bytes && size > 0) || !target || !written || size > UINT32_MAX || capacity > UINT32_MAX)
        return CI_INVALID_ARGUMENT;
    *written = 0;
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    if (inflateInit(&stream) != Z_OK) return CI_OUT_OF_MEMORY;
    stream.next_in = (Bytef *)bytes; /* zlib does not write there */
    stream.avail_in = (uInt)size;
    stream.next_out = target;
    stream.avail_out = (uInt)capacity;
    const int code = inflate(&stream, Z_FINISH);
    *written = stream.total_out;
    inflateEnd(&stream);
    if (code == Z_STREAM_END) return CI_OK;
    if (code == Z_BUF_ERROR) return stream.avail_out == 0 ? CI_TOO_LARGE : CI_TRUNCATED;
    return code == Z_MEM_ERROR ? CI_OUT_OF_MEMORY : CI_CORRUPT;
}
