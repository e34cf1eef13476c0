/* GIF through giflib: the first frame on its screen, as Pillow shows it.
 *
 * The frame may cover a part of the screen only. The rest has the transparent color's entry of the palette if there is
 * one, else entry 0. A picture without a palette is gray.
 */
#include <gif_lib.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "decoder.h"
#include "library.h"

#define FUNCTIONS(X)                                                                                                   \
    X(DGifOpen)                                                                                                        \
    X(DGifCloseFile)                                                                                                   \
    X(DGifGetRecordType)                                                                                               \
    X(DGifGetImageDesc)                                                                                                \
    X(DGifGetLine)                                                                                                     \
    X(DGifGetExtension)                                                                                                \
    X(DGifGetExtensionNext)

static struct {
    FUNCTIONS(CI_FIELD)
    int is_loaded;
} table;

static void load(void) {
    static const char *const names[] = {"libgif.so.7", "libgif.so", NULL};
    const ci_symbol symbols[] = {FUNCTIONS(CI_SYMBOL)};
    table.is_loaded = ci_load_library(names, symbols, sizeof symbols / sizeof *symbols);
}

typedef struct {
    ci_decoder *decoder;
    GifFileType *file;
    size_t at;
    int is_cut; /* giflib asked for more than there is */
    int background;
    uint8_t colors[256][3];
} gif_reader;

static int recognizes(const uint8_t *bytes, size_t size) {
    return size >= 6 && (memcmp(bytes, "GIF87a", 6) == 0 || memcmp(bytes, "GIF89a", 6) == 0);
}

static int take(GifFileType *file, GifByteType *target, int count) {
    gif_reader *reader = file->UserData;
    const size_t left = reader->decoder->size - reader->at;
    size_t given = count < 0 ? 0 : (size_t)count;
    if (given > left) {
        reader->is_cut = 1;
        given = left;
    }
    memcpy(target, reader->decoder->bytes + reader->at, given);
    reader->at += given;
    return (int)given;
}

static ci_status failed(gif_reader *reader) {
    if (reader->is_cut) return ci_fail(reader->decoder, CI_TRUNCATED, "the file ends inside the picture");
    const int code = reader->file ? reader->file->Error : 0;
    if (code == D_GIF_ERR_NOT_ENOUGH_MEM) return CI_OUT_OF_MEMORY;
    if (code == D_GIF_ERR_NO_COLOR_MAP) return ci_fail(reader->decoder, CI_CORRUPT, "the GIF has no palette");
    return ci_fail(reader->decoder, CI_CORRUPT, "the GIF's data are wrong");
}

/* The transparent color, where a graphic control block has one. */
static int read_extension(gif_reader *reader) {
    int code = 0;
    GifByteType *block = NULL;
    if (table.DGifGetExtension(reader->file, &code, &block) == GIF_ERROR) return 0;
    if (code == GRAPHICS_EXT_FUNC_CODE && block && block[0] >= 4 && (block[1] & 1)) reader->background = block[4];
    while (block)
        if (table.DGifGetExtensionNext(reader->file, &block) == GIF_ERROR) return 0;
    return 1;
}

/* Reads on to the first picture. */
static ci_status find_picture(gif_reader *reader) {
    for (;;) {
        GifRecordType type = UNDEFINED_RECORD_TYPE;
        if (table.DGifGetRecordType(reader->file, &type) == GIF_ERROR) return failed(reader);
        if (type == IMAGE_DESC_RECORD_TYPE)
            return table.DGifGetImageDesc(reader->file) == GIF_ERROR ? failed(reader) : CI_OK;
        if (type == TERMINATE_RECORD_TYPE) return ci_fail(reader->decoder, CI_CORRUPT, "the GIF holds no picture");
        if (!read_extension(reader)) return failed(reader);
    }
}

/* Entries that the palette does not have are gray. 1 if all are. */
static int fill_colors(gif_reader *reader) {
    for (int i = 0; i < 256; i++) memset(reader->colors[i], i, 3);
    const ColorMapObject *map = reader->file->Image.ColorMap ? reader->file->Image.ColorMap : reader->file->SColorMap;
    int is_gray = 1;
    for (int i = 0; map && i < map->ColorCount && i < 256; i++) {
        const GifColorType color = map->Colors[i];
        reader->colors[i][0] = color.Red;
        reader->colors[i][1] = color.Green;
        reader->colors[i][2] = color.Blue;
        if (color.Red != color.Green || color.Red != color.Blue) is_gray = 0;
    }
    return is_gray;
}

static ci_status gif_open(ci_decoder *decoder) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    if (!table.is_loaded) return ci_fail(decoder, CI_UNSUPPORTED, "GIF needs libgif.so.7");
    gif_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return CI_OUT_OF_MEMORY;
    decoder->state = reader;
    reader->decoder = decoder;
    int code = 0;
    reader->file = table.DGifOpen(reader, take, &code);
    if (!reader->file) return failed(reader);
    const ci_status status = find_picture(reader);
    if (status != CI_OK) return status;
    const GifFileType *file = reader->file;
    const int64_t right = (int64_t)file->Image.Left + file->Image.Width;
    const int64_t bottom = (int64_t)file->Image.Top + file->Image.Height;
    if (file->Image.Width < 1 || file->Image.Height < 1)
        return ci_fail(decoder, CI_CORRUPT, "the first picture of the GIF has no pixels");
    return ci_set_size(decoder, bottom > file->SHeight ? bottom : file->SHeight,
                       right > file->SWidth ? right : file->SWidth, fill_colors(reader) ? 1 : 3);
}

/* The row that comes after `row` in the file: an interlaced picture has every 8th, every 8th from 4, every 4th from 2,
 * the odd ones. */
static int next_row(int row, int *pass, int height) {
    static const int start[4] = {0, 4, 2, 1}, step[4] = {8, 8, 4, 2};
    row += step[*pass];
    while (row >= height && *pass < 3) row = start[++*pass];
    return row;
}

static ci_status gif_read(ci_decoder *decoder, uint8_t *pixels) {
    gif_reader *reader = decoder->state;
    const size_t width = (size_t)decoder->info.width, height = (size_t)decoder->info.height;
    const int channels = decoder->info.channels;
    const GifImageDesc image = reader->file->Image;
    uint8_t *line = malloc((size_t)image.Width);
    if (!line) return CI_OUT_OF_MEMORY;
    if ((size_t)image.Width < width || (size_t)image.Height < height)
        for (size_t i = 0; i < width * height; i++)
            memcpy(pixels + i * (size_t)channels, reader->colors[reader->background], (size_t)channels);
    ci_status status = CI_OK;
    int row = 0, pass = 0;
    for (int i = 0; i < image.Height && status == CI_OK; i++) {
        if (table.DGifGetLine(reader->file, line, image.Width) == GIF_ERROR) {
            status = failed(reader);
            break;
        }
        uint8_t *target = pixels + (((size_t)image.Top + (size_t)row) * width + (size_t)image.Left) * (size_t)channels;
        for (int x = 0; x < image.Width; x++) memcpy(target + x * channels, reader->colors[line[x]], (size_t)channels);
        row = image.Interlace ? next_row(row, &pass, image.Height) : row + 1;
    }
    free(line);
    return status;
}

static void gif_close(ci_decoder *decoder) {
    gif_reader *reader = decoder->state;
    if (!reader) return;
    if (reader->file) table.DGifCloseFile(reader->file, NULL);
    free(reader);
}

const ci_reader ci_gif_reader = {CI_GIF, recognizes, gif_open, gif_read, gif_close};
