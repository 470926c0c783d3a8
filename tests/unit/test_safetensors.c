#include "base/error.h"
#include "weights/mapped.h"
#include "weights/safetensors.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char *folder;

/* A file of a header length (the header's own, if `length` is 0), a header and `data` zero bytes. */
static char *
make_file(const char *header, guint64 length, gsize data)
{
    char *path = g_build_filename(folder, "case.safetensors", NULL);
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    guint64 stated = GUINT64_TO_LE(length ? length : strlen(header));
    g_byte_array_append(bytes, (const guint8 *)&stated, 8);
    g_byte_array_append(bytes, (const guint8 *)header, (guint)strlen(header));
    gsize used = bytes->len;
    g_byte_array_set_size(bytes, (guint)(used + data));
    memset(bytes->data + used, 0, data);
    g_assert_true(g_file_set_contents(path, (const char *)bytes->data, bytes->len, NULL));
    return path;
}

static const char good[] =
    " {\"__metadata__\":{\"format\":\"pt\",\"a\\u00e4\":\"x\\ny\"},"
    "\"b\":{\"shape\":[2,3],\"data_offsets\":[4,28],\"dtype\":\"F32\"} ,\n"
    "\"a.\\\"q\\\"\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},"
    "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[28,28]},"
    "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[28,36]},"
    "\"odd\":{\"dtype\":\"F8_E5M2\",\"shape\":[4],\"data_offsets\":[36,40]},"
    "\"deep\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,2],\"data_offsets\":[40,42]}}   ";

static void
test_read(void)
{
    gsize count;
    g_autoptr(GError) error = NULL;
    g_autofree char *path = make_file(good + 1, 0, 42);
    g_autoptr(RvSafetensors) file = rv_safetensors_open(path, &error);
    g_assert_no_error(error);
    const RvFileTensor *tensors = rv_safetensors_tensors(file, &count);
    g_assert_cmpuint(count, ==, 6);
    g_assert_cmpstr(tensors[0].name, ==, "b");
    g_assert_cmpstr(tensors[1].name, ==, "a.\"q\"");
    const RvArray *b = rv_safetensors_get(file, "b");
    g_assert_nonnull(b);
    g_assert_cmpint(b->rank, ==, 2);
    g_assert_cmpint(b->shape[1], ==, 3);
    g_assert_true((const char *)b->data - (const char *)rv_safetensors_get(file, "a.\"q\"")->data == 4);
    g_assert_cmpint(rv_array_count(rv_safetensors_get(file, "empty")), ==, 0);
    g_assert_cmpint(rv_safetensors_get(file, "scalar")->rank, ==, 0);
    g_assert_null(rv_safetensors_get(file, "odd"));
    g_assert_null(rv_safetensors_get(file, "deep"));
    g_assert_cmpstr(rv_safetensors_find(file, "odd")->dtype_name, ==, "F8_E5M2");
    g_assert_null(rv_safetensors_find(file, "nothing"));
    g_assert_cmpstr(rv_safetensors_metadata(file, "format"), ==, "pt");
    g_assert_cmpstr(rv_safetensors_metadata(file, "aä"), ==, "x\ny");
    g_assert_null(rv_safetensors_metadata(file, "none"));
}

/* A header of one F32 tensor "a" of shape [2] with something replaced. */
#define T(name, dtype, shape, range) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" range "}"

static const struct {
    const char *header;
    gsize data;
    const char *says;
} bad[] = {
    { "", 8, "expected '{'" },
    { "[]        ", 0, "expected '{'" },
    { " {}       ", 0, "expected '{'" },
    { "{          ", 0, "expected '\"'" },
    { "{} x       ", 0, "after the last" },
    { "{}         ", 1, "belong to no tensor" },
    { "{\"a\":1}   ", 8, "expected '{'" },
    { "{\"a\":{}}  ", 8, "expected '\"'" },
    { "{\"a\":{\"dtype\":\"F32\"}}", 8, "without dtype, shape" },
    { "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 8, "a key given twice" },
    { "{\"a\":{\"kind\":\"F32\"}}", 8, "unknown key" },
    { "{" T("a", "F32", "[2]", "[0,8]") "," T("a", "F32", "[2]", "[8,16]") "}", 16,
      "tensor name given twice" },
    { "{" T("a", "F32", "[2]", "[0,8]") "," T("\\u0061", "F32", "[2]", "[8,16]") "}", 16,
      "tensor name given twice" },
    { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, "__metadata__ given twice" },
    { "{\"__metadata__\":{\"a\":\"b\",\"a\":\"c\"}}", 0, "metadata key given twice" },
    { "{\"__metadata__\":{\"a\":1}}", 0, "expected '\"'" },
    { "{\"__metadata__\":[]}", 0, "expected '{'" },
    { "{" T("a", "F32", "[2]", "[0,9]") "}", 9, "does not fit its range" },
    { "{" T("a", "F32", "[2]", "[0,8]") "}", 7, "outside the file" },
    { "{" T("a", "F32", "[2]", "[8,0]") "}", 8, "outside the file" },
    { "{" T("a", "F32", "[2]", "[0,8]") "}", 9, "belong to no tensor" },
    { "{" T("a", "F32", "[2]", "[1,9]") "}", 9, "hole" },
    { "{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[4,12]") "}", 12, "overlap" },
    { "{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[0,8]") "}", 8, "overlap" },
    { "{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[2]", "[12,20]") "}", 20, "hole" },
    { "{" T("a", "F32", "[4294967296,4294967296]", "[0,8]") "}", 8, "too large" },
    { "{" T("a", "F32", "[4611686018427387904]", "[0,0]") "}", 0, "too large" },
    { "{" T("a", "F32", "[18446744073709551616]", "[0,8]") "}", 8, "number too large" },
    { "{" T("a", "F32", "[9223372036854775808,0]", "[0,0]") "}", 0, "too large" },
    { "{" T("a", "F32", "[-2]", "[0,8]") "}", 8, "natural number" },
    { "{" T("a", "F32", "[2.0]", "[0,8]") "}", 8, "natural number" },
    { "{" T("a", "F32", "[2e0]", "[0,8]") "}", 8, "natural number" },
    { "{" T("a", "F32", "[02]", "[0,8]") "}", 8, "natural number" },
    { "{" T("a", "F32", "[2,]", "[0,8]") "}", 8, "natural number" },
    { "{" T("a", "F32", "2", "[0,8]") "}", 8, "expected '['" },
    { "{" T("a", "F32", "[2]", "[0,8,8]") "}", 8, "expected ']'" },
    { "{" T("a", "F32", "[2]", "[0]") "}", 8, "expected ','" },
    { "{" T("a", "F4", "[1]", "[0,1]") "}", 1, "does not fit its range" },
    { "{" T("a", "F32", "[[2]]", "[0,8]") "}", 8, "natural number" },
    { "{" T("a\\u0000", "F32", "[2]", "[0,8]") "}", 8, "NUL" },
    { "{" T("a\\ud800", "F32", "[2]", "[0,8]") "}", 8, "surrogate" },
    { "{" T("a\\ud800\\u0041", "F32", "[2]", "[0,8]") "}", 8, "surrogate" },
    { "{" T("a\\udc00", "F32", "[2]", "[0,8]") "}", 8, "surrogate" },
    { "{" T("a\\x", "F32", "[2]", "[0,8]") "}", 8, "unknown escape" },
    { "{" T("a\\u00g0", "F32", "[2]", "[0,8]") "}", 8, "escape" },
    { "{" T("a\n", "F32", "[2]", "[0,8]") "}", 8, "control character" },
    { "{" T("\xff\xfe", "F32", "[2]", "[0,8]") "}", 8, "UTF-8" },
    { "{\"a\":{\"dtype\":\"F32", 0, "unfinished string" },
    { "{" T(
          "a", "F32",
          "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
          "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]",
          "[0,8]") "}",
      8, "more than 64" },
};

static void
test_bad_headers(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *path = make_file(bad[i].header, 0, bad[i].data);
        RvSafetensors *file = rv_safetensors_open(path, &error);
        g_autofree char *shown = g_strescape(bad[i].header, NULL);
        g_test_message("%s: %s", shown, error ? error->message : "accepted");
        g_assert_null(file);
        g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
        g_assert_nonnull(strstr(error->message, bad[i].says));
        g_assert_null(strchr(error->message, '\n'));
    }
}

/* A hundred thousand opening brackets must be an error, not a stack overflow. */
static void
test_deep_nesting(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) header = g_string_new("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,0],\"shape\":");
    for (int i = 0; i < 100000; i++)
        g_string_append_c(header, '[');
    g_autofree char *path = make_file(header->str, 0, 0);
    g_assert_null(rv_safetensors_open(path, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
}

static void
test_lying_length(void)
{
    const guint64 lengths[] = { 1,          sizeof good, 43 + sizeof good, 100000001,
                                1ull << 32, 1ull << 63,  G_MAXUINT64,      G_MAXUINT64 - 7 };
    for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *path = make_file(good + 1, lengths[i], 42);
        g_assert_null(rv_safetensors_open(path, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    }
}

static void
test_every_truncation(void)
{
    g_autofree char *path = make_file(good + 1, 0, 42), *text = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(path, &text, &length, NULL));
    for (gsize n = 0; n < length; n++) {
        g_autoptr(GError) error = NULL;
        g_assert_true(g_file_set_contents(path, text, (gssize)n, NULL));
        g_assert_null(rv_safetensors_open(path, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    }
}

static void
refuse(const char *name, const char *bytes, gsize length, RvError code, const char *says)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(folder, name, NULL);
    if (bytes)
        g_assert_true(g_file_set_contents(path, bytes, (gssize)length, NULL));
    g_assert_null(rv_safetensors_open(path, &error));
    g_test_message("%s", error->message);
    g_assert_error(error, RV_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, says));
}

static void
test_other_files(void)
{
    static const char zip[] = "PK\3\4 and more of it", pickle[] = "\200\2}q\0.more of it",
                      gguf[] = "GGUF\3\0\0\0 more";
    static const char lfs[] = "version https://git-lfs.github.com/spec/v1\n";
    refuse("a.ckpt", zip, sizeof zip, RV_ERROR_UNSUPPORTED, "pickle");
    refuse("b.pt", pickle, sizeof pickle, RV_ERROR_UNSUPPORTED, "convert it to .safetensors");
    refuse("c.gguf", gguf, sizeof gguf, RV_ERROR_UNSUPPORTED, "GGUF");
    refuse("d.safetensors", lfs, sizeof lfs, RV_ERROR_INVALID, "git lfs pull");
    refuse("none.safetensors", NULL, 0, RV_ERROR_NOT_FOUND, "cannot open");
    refuse(".", NULL, 0, RV_ERROR_INVALID, "not a regular file");
    g_autofree char *loop = g_build_filename(folder, "loop", NULL),
                    *fifo = g_build_filename(folder, "fifo", NULL);
    g_assert_cmpint(symlink("loop", loop), ==, 0);
    refuse("loop", NULL, 0, RV_ERROR_NOT_FOUND, "cannot open");
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    refuse("fifo", NULL, 0, RV_ERROR_INVALID, "not a regular file");
}

static bool
fill_count(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error)
{
    const RvTensorSpec *specs = user;
    g_assert_cmpint(count, <=, RV_WRITE_PIECE);
    for (gint64 i = 0; i < count; i++) {
        float value = (float)((first + i) % 1000 + (gint64)index);
        gsize size = rv_dtype_size(specs[index].dtype);
        rv_convert_from_f32(specs[index].dtype, &value, (char *)to + (gsize)i * size, 1);
    }
    return true;
}

static const RvTensorSpec specs[] = {
    { "plain", RV_F32, 2, { 3, 5 } },
    { "with \"quotes\" \\ and\ttab ä", RV_F16, 1, { 7 } },
    { "large", RV_F16, 2, { 1200, 1024 } },
    { "scalar", RV_F32, 0, { 0 } },
};

static void
test_write(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(folder, "out.safetensors", NULL);
    g_autoptr(GHashTable) metadata = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(metadata, (void *)(guintptr) "format", (void *)(guintptr) "pt\n\"");
    g_assert_true(rv_safetensors_write(path, specs, G_N_ELEMENTS(specs), metadata, fill_count,
                                       (void *)(guintptr)specs, &error));
    g_autoptr(RvSafetensors) file = rv_safetensors_open(path, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(rv_safetensors_metadata(file, "format"), ==, "pt\n\"");
    for (gsize i = 0; i < G_N_ELEMENTS(specs); i++) {
        const RvArray *array = rv_safetensors_get(file, specs[i].name);
        g_assert_nonnull(array);
        for (gint64 k = 0; k < rv_array_count(array); k++) {
            float value;
            rv_convert_to_f32(array->dtype,
                              (const char *)array->data + (gsize)k * rv_dtype_size(array->dtype), &value, 1);
            g_assert_cmpfloat(value, ==, (float)(k % 1000 + (gint64)i));
        }
    }
    /* Dropped pages come back with the same numbers. */
    const RvArray *large = rv_safetensors_get(file, "large");
    gsize bytes = (gsize)rv_array_count(large) * 2;
    g_autofree void *before = g_memdup2(large->data, bytes);
    rv_safetensors_advise(file, large->data, bytes, RV_ADVISE_DONTNEED);
    rv_safetensors_advise(file, large->data, bytes, RV_ADVISE_WILLNEED);
    g_assert_cmpmem(large->data, bytes, before, bytes);
    g_assert_true(rv_safetensors_contains(file, large->data, bytes));
    g_assert_false(rv_safetensors_contains(file, large->data, rv_safetensors_size(file)));
    g_assert_false(rv_safetensors_contains(file, before, 1));
}

static bool
fill_fails(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error)
{
    return index == 2 && first > 0 ? rv_error_set(error, RV_ERROR_CANCELLED, NULL, NULL, "enough")
                                   : fill_count(user, index, first, count, to, error);
}

static guint
count_files(const char *in)
{
    g_autoptr(GDir) dir = g_dir_open(in, 0, NULL);
    guint n = 0;
    while (g_dir_read_name(dir))
        n++;
    return n;
}

/* Whatever fails, no file is left and a file that was there stays. */
static void
test_write_fails_clean(void)
{
    g_autofree char *inside = g_build_filename(folder, "inside", NULL),
                    *path = g_build_filename(inside, "x", NULL);
    g_autofree char *nowhere = g_build_filename(folder, "no", "such", "x", NULL);
    g_autoptr(GError) error = NULL;
    void *user = (void *)(guintptr)specs;
    g_assert_cmpint(g_mkdir(inside, 0700), ==, 0);
    g_assert_true(g_file_set_contents(path, "old", 3, NULL));
    g_assert_false(rv_safetensors_write(path, specs, G_N_ELEMENTS(specs), NULL, fill_fails, user, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_CANCELLED);
    g_clear_error(&error);

    struct rlimit limit, small;
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
    small = limit;
    small.rlim_cur = 100000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    bool written = rv_safetensors_write(path, specs, G_N_ELEMENTS(specs), NULL, fill_count, user, &error);
    setrlimit(RLIMIT_FSIZE, &limit);
    g_assert_false(written);
    g_assert_error(error, RV_ERROR, RV_ERROR_IO);
    g_clear_error(&error);

    g_assert_false(rv_safetensors_write(nowhere, specs, G_N_ELEMENTS(specs), NULL, fill_count, user, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_IO);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "old");
    g_assert_cmpuint(count_files(inside), ==, 1);
}

/* Random bytes in the header: never a crash, and what is accepted can be read to its last byte. */
static void
test_random_corruption(void)
{
    g_autofree char *path = make_file(good + 1, 0, 42), *text = NULL;
    gsize length, count, accepted = 0;
    volatile guint sum = 0;
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    g_assert_true(g_file_get_contents(path, &text, &length, NULL));
    for (int round = 0; round < 3000; round++) {
        g_autofree char *copy = g_memdup2(text, length);
        for (int i = g_rand_int_range(rand, 1, 4); i > 0; i--)
            copy[g_rand_int_range(rand, 0, (gint32)length)] = (char)g_rand_int_range(rand, 0, 256);
        int fd = g_open(path, O_WRONLY | O_TRUNC, 0600);
        g_assert_cmpint(write(fd, copy, length), ==, (gssize)length);
        close(fd);
        g_autoptr(GError) error = NULL;
        g_autoptr(RvSafetensors) file = rv_safetensors_open(path, &error);
        g_assert_true((file != NULL) == (error == NULL));
        if (!file)
            continue;
        accepted++;
        const RvFileTensor *tensors = rv_safetensors_tensors(file, &count);
        for (gsize i = 0; i < count; i++)
            for (gsize k = 0; k < tensors[i].bytes && tensors[i].readable; k++)
                sum += ((const guint8 *)tensors[i].array.data)[k];
    }
    g_assert_cmpuint(accepted, >, 0); /* damage in names or numbers leaves a file valid */
}

#define CUT_BYTES 40000

static char *
make_long_file(void)
{
    static const char header[] = "{\"x\":{\"dtype\":\"U8\",\"shape\":[40000],\"data_offsets\":[0,40000]}}";
    g_autofree char *path = make_file(header, 0, CUT_BYTES);
    int fd = g_open(path, O_WRONLY, 0);
    g_autofree char *ones = g_malloc(CUT_BYTES);
    memset(ones, 1, CUT_BYTES);
    g_assert_cmpint(pwrite(fd, ones, CUT_BYTES, 8 + (off_t)strlen(header)), ==, CUT_BYTES);
    close(fd);
    return g_steal_pointer(&path);
}

/* What is gone reads as zeros, is counted once, and the rest is as it was. */
static void
test_cut_short_while_open(void)
{
    g_autofree char *path = make_long_file();
    g_autoptr(RvSafetensors) file = rv_safetensors_open(path, NULL);
    g_autoptr(GError) error = NULL;
    const char *x = rv_safetensors_get(file, "x")->data;
    guint before = rv_mapped_torn();
    int sum = 0;
    g_assert_cmpint(x[CUT_BYTES - 1], ==, 1);
    g_assert_true(rv_mapped_check(before, &error));
    g_assert_cmpint(truncate(path, 8192), ==, 0);
    for (int i = 0; i < CUT_BYTES; i++)
        sum += x[i];
    g_assert_cmpint(sum, >, 8000);
    g_assert_cmpint(sum, <, 8192);
    g_assert_cmpint(x[CUT_BYTES - 1], ==, 0);
    g_assert_cmpuint(rv_mapped_torn(), ==, before + 1);
    g_assert_false(rv_mapped_check(before, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_IO);
    g_assert_nonnull(strstr(error->message, path));
    g_assert_cmpint(truncate(path, CUT_BYTES + 100), ==, 0); /* what comes back later changes nothing */
    g_assert_cmpint(x[CUT_BYTES - 1], ==, 0);
}

static bool
fill_from_map(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error)
{
    const char *from = user;
    memcpy(to, from + first, (gsize)count);
    return true;
}

static void
test_cut_short_while_copied(void)
{
    g_autofree char *path = make_long_file(), *copy = g_build_filename(folder, "copy.safetensors", NULL);
    g_autoptr(RvSafetensors) file = rv_safetensors_open(path, NULL);
    g_autoptr(GError) error = NULL;
    RvTensorSpec spec = { "x", RV_U8, 1, { CUT_BYTES } };
    char *x = (char *)rv_safetensors_get(file, "x")->data;
    g_assert_true(rv_safetensors_write(copy, &spec, 1, NULL, fill_from_map, x, &error));
    g_assert_cmpint(truncate(path, 4096), ==, 0);
    g_unlink(copy);
    g_assert_false(rv_safetensors_write(copy, &spec, 1, NULL, fill_from_map, x, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_IO);
    g_assert_false(g_file_test(copy, G_FILE_TEST_EXISTS));
}

/* Other people's faults stay what they were. */
static void
test_other_faults_are_not_ours(void)
{
    g_autofree char *path = make_long_file();
    if (g_test_subprocess()) {
        g_autoptr(RvSafetensors) file = rv_safetensors_open(path, NULL);
        int fd = g_open(path, O_RDONLY, 0);
        volatile char *map = mmap(NULL, CUT_BYTES, PROT_READ, MAP_PRIVATE, fd, 0);
        struct rlimit none = { 0 };
        setrlimit(RLIMIT_CORE, &none);
        g_assert_cmpint(truncate(path, 4096), ==, 0);
        g_assert_cmpint(map[CUT_BYTES - 4096], ==, 0);
        exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_test_add_func("/weights/safetensors/read", test_read);
    g_test_add_func("/weights/safetensors/bad-headers", test_bad_headers);
    g_test_add_func("/weights/safetensors/deep-nesting", test_deep_nesting);
    g_test_add_func("/weights/safetensors/lying-length", test_lying_length);
    g_test_add_func("/weights/safetensors/truncation", test_every_truncation);
    g_test_add_func("/weights/safetensors/other-files", test_other_files);
    g_test_add_func("/weights/safetensors/write", test_write);
    g_test_add_func("/weights/safetensors/write-fails-clean", test_write_fails_clean);
    g_test_add_func("/weights/safetensors/random-corruption", test_random_corruption);
    g_test_add_func("/weights/safetensors/cut-short-while-open", test_cut_short_while_open);
    g_test_add_func("/weights/safetensors/cut-short-while-copied", test_cut_short_while_copied);
    g_test_add_func("/weights/safetensors/other-faults-are-not-ours", test_other_faults_are_not_ours);
    int failed = g_test_run();
    g_autofree char *remove = g_strdup_printf("rm -rf '%s'", folder);
    g_assert_true(g_spawn_command_line_sync(remove, NULL, NULL, NULL, NULL));
    return failed;
}
