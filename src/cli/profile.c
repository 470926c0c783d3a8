#include "cli/profile.h"

#define ROWS 24

typedef struct {
    char *what;
    double seconds, flops;
    int count;
} Row;

struct RvProfile {
    RvDevice *device;
    GHashTable *rows; /* description -> Row */
};

static void
row_free(gpointer data)
{
    Row *row = data;
    g_free(row->what);
    g_free(row);
}

static void
on_op(const RvOp *op, double seconds, void *user)
{
    RvProfile *profile = user;
    RvShape in = op->in[0].shape, out = op->out.shape;
    int stride = op->kind == RV_OP_CONV2D ? op->conv2d.stride : 0,
        kernel = op->kind == RV_OP_CONV2D ? op->conv2d.kernel : 0;
    char *what = g_strdup_printf("%s %dx%dx%dx%d -> %dx%dx%dx%d", rv_op_kind_name(op->kind), in.n, in.h, in.w,
                                 in.c, out.n, out.h, out.w, out.c);
    if (kernel > 0) {
        char *longer =
            g_strdup_printf("%s k%d s%d%s", what, kernel, stride, op->conv2d.up_h > 0 ? " up" : "");
        g_free(what);
        what = longer;
    }
    Row *row = g_hash_table_lookup(profile->rows, what);
    if (row == NULL) {
        row = g_new0(Row, 1);
        row->what = what;
        g_hash_table_insert(profile->rows, row->what, row);
    } else {
        g_free(what);
    }
    row->seconds += seconds;
    row->flops += op->flops;
    row->count++;
}

RvProfile *
rv_profile_new(RvDevice *device)
{
    RvProfile *profile = g_new0(RvProfile, 1);
    profile->device = device;
    profile->rows = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, row_free);
    rv_device_set_observer(device, on_op, profile);
    return profile;
}

static gint
longest_first(gconstpointer a, gconstpointer b)
{
    const Row *x = *(const Row *const *)a, *y = *(const Row *const *)b;
    return x->seconds < y->seconds ? 1 : x->seconds > y->seconds ? -1 : 0;
}

void
rv_profile_finish(RvProfile *profile, FILE *to)
{
    if (profile == NULL)
        return;
    rv_device_set_observer(profile->device, NULL, NULL);
    g_autoptr(GPtrArray) rows = g_ptr_array_new();
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, profile->rows);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        g_ptr_array_add(rows, value);
    g_ptr_array_sort(rows, longest_first);
    double total = 0.0;
    for (guint i = 0; i < rows->len; i++)
        total += ((const Row *)g_ptr_array_index(rows, i))->seconds;
    fprintf(to, "%8s %6s %6s %9s  %s\n", "ms", "%", "times", "GFLOP/s", "op");
    for (guint i = 0; i < MIN(rows->len, ROWS); i++) {
        const Row *row = g_ptr_array_index(rows, i);
        fprintf(to, "%8.1f %6.1f %6d %9.1f  %s\n", row->seconds * 1e3, 100.0 * row->seconds / total,
                row->count, row->flops / row->seconds * 1e-9, row->what);
    }
    fprintf(to, "%8.1f  in all, %u kinds of op\n", total * 1e3, rows->len);
    g_hash_table_destroy(profile->rows);
    g_free(profile);
}
