/* Bilinear resampling; see the header. */
#include "resample.h"
#include <cvr/plugin/graph.h>
#include <math.h>

sample_at resample_at(int64_t place, int64_t in, int64_t out) {
    const double at = ((double)place + 0.5) * (double)in / (double)out - 0.5;
    const int64_t first = at > 0 ? (int64_t)at : 0, low = first < in ? first : in - 1;
    return (sample_at){low, low + 1 < in ? low + 1 : low, at > (double)low ? (float)(at - (double)low) : 0};
}

/* The four neighbours' mean, by their shares: columns first, then rows. */
static float between(float a, float b, float c, float d, float across, float down) {
    const float above = (1 - across) * a + across * b, below = (1 - across) * c + across * d;
    return (1 - down) * above + down * below;
}

void resample_row(const plane *in, int64_t height, int64_t width, int64_t y, float *row) {
    const sample_at v = resample_at(y, in->height, height);
    const int64_t c = in->channels;
    const float *above = in->data + v.first * in->width * c, *below = in->data + v.second * in->width * c;
    for (int64_t x = 0; x < width; x++, row += c) {
        const sample_at u = resample_at(x, in->width, width);
        const float *a = above + u.first * c, *b = above + u.second * c;
        const float *d = below + u.first * c, *e = below + u.second * c;
        for (int64_t k = 0; k < c; k++) row[k] = between(a[k], b[k], d[k], e[k], u.share, v.share);
    }
}

static float level(const pixels *p, int64_t row, int64_t column, int64_t c) {
    const int64_t i = (row * p->pitch + column) * p->channels + c;
    return p->dtype == CVR_U8 ? (float)((const uint8_t *)p->data)[i] : ((const float *)p->data)[i];
}

void resample_pixels(const pixels *in, void *to, int64_t height, int64_t width) {
    for (int64_t y = 0, i = 0; y < height; y++) {
        const sample_at v = resample_at(y, in->height, height);
        for (int64_t x = 0; x < width; x++) {
            const sample_at u = resample_at(x, in->width, width);
            for (int64_t c = 0; c < in->channels; c++, i++) {
                const float mean =
                    between(level(in, v.first, u.first, c), level(in, v.first, u.second, c),
                            level(in, v.second, u.first, c), level(in, v.second, u.second, c), u.share, v.share);
                if (in->dtype == CVR_U8)
                    ((uint8_t *)to)[i] = (uint8_t)(mean + 0.5f);
                else
                    ((float *)to)[i] = mean;
            }
        }
    }
}
