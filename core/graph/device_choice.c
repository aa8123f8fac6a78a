/* The devices of a backend as it lists them, without one being opened, and the one that backend.device names. */
#include "ir.h"
#include <stdlib.h>
#include <strings.h>

/* What the core goes by must make sense. */
int32_t device_check_info(const cvr_backend_desc *b, const char *callback, const cvr_device_info *i, cvr_error *err) {
    const char *bad = NULL;
    if (!i || i->struct_size < sizeof *i)
        return cvr_call_blame(b, callback, NULL, err, "gives no device's description");
    if (!i->name || !i->driver || !i->uuid || !i->features) bad = "a text";
    if (!i->max_allocation) bad = "max_allocation";
    if (i->alignment < 64 || i->alignment > 1u << 20 || (i->alignment & (i->alignment - 1))) bad = "alignment";
    if (!bad) return CVR_OK;
    return cvr_call_blame(b, callback, NULL, err, "gives a description whose %s makes no sense", bad);
}

int64_t cvr_backend_devices(const cvr_plugins *plugins, const cvr_backend_desc *b) {
    int64_t n;
    CVR_CALL_TO(n, b, device_count, NULL, cvr_plugins_host(plugins));
    return n > 0 ? n : 0;
}

int32_t cvr_backend_device_info(const cvr_plugins *plugins, const cvr_backend_desc *b, int64_t device,
                                cvr_device_info *out, cvr_error *err) {
    *out = (cvr_device_info){.struct_size = sizeof *out};
    CVR_TRY(CVR_CALL(b, device_info, NULL, err, cvr_plugins_host(plugins), device, out));
    return device_check_info(b, "device_info", out, err);
}

/* How well a device fits a name, best first. */
enum { FITS_UUID, FITS_NAME, FITS_PART, FITS_NOT };

static bool contains(const char *text, const char *part) {
    const size_t n = strlen(part);
    for (; *text; text++)
        if (strncasecmp(text, part, n) == 0) return true;
    return false;
}

static int fit_of(const cvr_device_info *i, const char *wanted) {
    if (strcasecmp(i->uuid, wanted) == 0) return FITS_UUID;
    if (strcasecmp(i->name, wanted) == 0) return FITS_NAME;
    return contains(i->name, wanted) ? FITS_PART : FITS_NOT;
}

/* "0 (NVIDIA H200, GPU-5c3a)", after what is there. */
static void list_device(cvr_text *list, int64_t at, const cvr_device_info *i) {
    cvr_text_add(list, "%s%lld (%s%s%s)", list->n ? ", " : "", (long long)at, i->name, *i->uuid ? ", " : "", i->uuid);
}

static int32_t refuse(const cvr_backend_desc *b, const char *wanted, const cvr_text *all, const cvr_text *fit,
                      size_t n_fit, cvr_error *err) {
    if (all->failed || fit->failed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (n_fit)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "backend %s has %zu devices that backend.device=%.100s may be: %.400s; give the number or the "
                        "UUID of one",
                        b->name, n_fit, wanted, fit->s);
    return cvr_fail(err, CVR_ERR_USAGE,
                    "backend %s has these devices here: %.400s; backend.device=%.100s is none of them", b->name,
                    all->s ? all->s : "none that can be used", wanted);
}

static int32_t find_by_name(const cvr_plugins *plugins, const cvr_backend_desc *b, const char *wanted, int64_t n,
                            int64_t *device, cvr_error *err) {
    cvr_text all = {0}, fit = {0};
    int best = FITS_NOT;
    size_t n_fit = 0;
    int32_t status = CVR_OK;
    for (int64_t i = 0; i < n; i++) {
        cvr_device_info info;
        if (cvr_backend_device_info(plugins, b, i, &info, NULL) != CVR_OK) continue; /* one that is no choice */
        const int here = fit_of(&info, wanted);
        list_device(&all, i, &info);
        if (here == FITS_NOT || here > best) continue;
        if (here < best) {
            cvr_text_clear(&fit);
            n_fit = 0;
        }
        best = here;
        list_device(&fit, i, &info);
        *device = i;
        n_fit++;
    }
    if (n_fit != 1) status = refuse(b, wanted, &all, &fit, n_fit, err);
    cvr_text_clear(&all);
    cvr_text_clear(&fit);
    return status;
}

/* The list shows that they count from 0. */
static int32_t refuse_number(const cvr_plugins *plugins, const cvr_backend_desc *b, const char *wanted, int64_t n,
                             cvr_error *err) {
    cvr_text all = {0};
    for (int64_t i = 0; i < n; i++) {
        cvr_device_info info;
        if (cvr_backend_device_info(plugins, b, i, &info, NULL) == CVR_OK) list_device(&all, i, &info);
    }
    const int32_t status = refuse(b, wanted, &all, &(cvr_text){0}, 0, err);
    cvr_text_clear(&all);
    return status;
}

/* Where there is no device, the backend says why when it is asked for the first. */
static int32_t refuse_none(const cvr_plugins *plugins, const cvr_backend_desc *b, cvr_error *err) {
    cvr_device_info none;
    cvr_error why = CVR_ERROR_INIT;
    (void)cvr_backend_device_info(plugins, b, 0, &none, &why);
    return cvr_fail(err, CVR_ERR_USAGE, "backend %s finds no device on this machine%s%.600s", b->name,
                    why.message[0] ? ": " : "", why.message);
}

int32_t cvr_backend_find_device(const cvr_plugins *plugins, const cvr_backend_desc *b, const char *wanted,
                                int64_t *device, cvr_error *err) {
    const int64_t n = cvr_backend_devices(plugins, b);
    const char *text = wanted && *wanted ? wanted : "0";
    const size_t length = strlen(text);
    *device = 0;
    if (!n) return refuse_none(plugins, b, err);
    if (length <= 9 && strspn(text, "0123456789") == length) {
        const int64_t number = strtoll(text, NULL, 10);
        if (number >= n) return refuse_number(plugins, b, text, n, err);
        *device = number;
        return CVR_OK;
    }
    return find_by_name(plugins, b, text, n, device, err);
}
