/* The header is a restricted form of JSON, so it gets its own strict scanner: a general parser would
 * merge duplicate keys silently, recurse as deep as the file says, and build a tree that we do not need. */
#include "weights/header.h"
#include "base/error.h"
#include <string.h>

typedef struct {
    const char *at, *end, *start, *path;
    GString *scratch;
    GError **error;
} Scanner;

/* Official element types and their widths; the ones with `ours` set can be read. */
static const struct {
    const char *name;
    int bits;
    bool ours;
    RvDType dtype;
} dtypes[] = {
    { "F64", 64, true, RV_F64 },
    { "F32", 32, true, RV_F32 },
    { "F16", 16, true, RV_F16 },
    { "BF16", 16, true, RV_BF16 },
    { "F8_E4M3", 8, true, RV_F8_E4M3 },
    { "I32", 32, true, RV_I32 },
    { "I64", 64, true, RV_I64 },
    { "U8", 8, true, RV_U8 },
    { "BOOL", 8 },
    { "I8", 8 },
    { "I16", 16 },
    { "U16", 16 },
    { "U32", 32 },
    { "U64", 64 },
    { "F8_E5M2", 8 },
    { "F8_E8M0", 8 },
    { "F8_E4M3FNUZ", 8 },
    { "F8_E5M2FNUZ", 8 },
    { "F6_E2M3", 6 },
    { "F6_E3M2", 6 },
    { "F4", 4 },
    { "C64", 64 },
};

static bool
fail(Scanner *s, const char *what)
{
    return rv_error_set(s->error, RV_ERROR_INVALID, s->path, "download or convert the file again",
                        "malformed safetensors header: %s at byte %" G_GSIZE_FORMAT, what,
                        (gsize)(s->at - s->start) + 8);
}

static void
skip_space(Scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
}

/* Skips white space, then takes `c` if it comes next. */
static bool
take(Scanner *s, char c)
{
    skip_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool
expect(Scanner *s, char c)
{
    char what[] = "expected 'x'";
    if (take(s, c))
        return true;
    what[10] = c;
    return fail(s, what);
}

static bool
scan_hex4(Scanner *s, gunichar *out)
{
    *out = 0;
    if (s->end - s->at < 4)
        return fail(s, "unfinished \\u escape");
    for (int i = 0; i < 4; i++, s->at++) {
        if (!g_ascii_isxdigit(*s->at))
            return fail(s, "bad \\u escape");
        *out = *out * 16 + (gunichar)g_ascii_xdigit_value(*s->at);
    }
    return true;
}

static bool
scan_unicode_escape(Scanner *s)
{
    gunichar c, low;
    if (!scan_hex4(s, &c))
        return false;
    if (c >= 0xd800 && c < 0xdc00) {
        if (s->end - s->at < 2 || s->at[0] != '\\' || s->at[1] != 'u')
            return fail(s, "half of a surrogate pair");
        s->at += 2;
        if (!scan_hex4(s, &low))
            return false;
        if (low < 0xdc00 || low > 0xdfff)
            return fail(s, "half of a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if (c >= 0xdc00 && c < 0xe000) {
        return fail(s, "half of a surrogate pair");
    }
    if (c == 0)
        return fail(s, "a NUL character");
    g_string_append_unichar(s->scratch, c);
    return true;
}

static bool
scan_escape(Scanner *s)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (s->at == s->end)
        return fail(s, "unfinished string");
    char c = *s->at++;
    if (c == 'u')
        return scan_unicode_escape(s);
    const char *found = c ? strchr(from, c) : NULL;
    if (!found)
        return fail(s, "unknown escape");
    g_string_append_c(s->scratch, to[found - from]);
    return true;
}

/* A JSON string into s->scratch. */
static bool
scan_string(Scanner *s)
{
    g_string_truncate(s->scratch, 0);
    if (!expect(s, '"'))
        return false;
    while (s->at < s->end) {
        char c = *s->at++;
        if (c == '"')
            return true;
        if ((guchar)c < 0x20)
            return fail(s, "a control character in a string");
        if (c != '\\')
            g_string_append_c(s->scratch, c);
        else if (!scan_escape(s))
            return false;
    }
    return fail(s, "unfinished string");
}

static bool
scan_number(Scanner *s, guint64 *out)
{
    skip_space(s);
    const char *first = s->at;
    *out = 0;
    for (; s->at < s->end && g_ascii_isdigit(*s->at); s->at++)
        if (!g_uint64_checked_mul(out, *out, 10) || !g_uint64_checked_add(out, *out, (guint64)(*s->at - '0')))
            return fail(s, "a number too large");
    if (s->at == first || (*first == '0' && s->at - first > 1))
        return fail(s, "expected a natural number");
    if (s->at < s->end && strchr(".eE+-", *s->at) && *s->at)
        return fail(s, "expected a natural number");
    return true;
}

/* What one tensor's object says, before it is checked as a whole. */
typedef struct {
    bool has_dtype, has_shape, has_offsets;
    int dtype; /* index into `dtypes`, or -1 */
    const char *dtype_name;
    guint64 elements, begin, end;
    int rank;
    gint64 shape[RV_MAX_RANK];
} Entry;

static bool
scan_dtype(Scanner *s, RvHeader *header, Entry *entry)
{
    if (!scan_string(s))
        return false;
    entry->dtype = -1;
    entry->dtype_name = g_string_chunk_insert_const(header->strings, s->scratch->str);
    for (gsize i = 0; i < G_N_ELEMENTS(dtypes); i++)
        if (!strcmp(dtypes[i].name, s->scratch->str))
            entry->dtype = (int)i;
    return true;
}

static bool
scan_shape(Scanner *s, Entry *entry)
{
    entry->elements = 1;
    entry->rank = 0;
    if (!expect(s, '['))
        return false;
    if (take(s, ']'))
        return true;
    do {
        guint64 dim;
        if (!scan_number(s, &dim))
            return false;
        if (dim > G_MAXINT64 || !g_uint64_checked_mul(&entry->elements, entry->elements, dim))
            return fail(s, "a shape too large");
        if (entry->rank < RV_MAX_RANK)
            entry->shape[entry->rank] = (gint64)dim;
        if (++entry->rank > 64)
            return fail(s, "a shape of more than 64 dimensions");
    } while (take(s, ','));
    return expect(s, ']');
}

static bool
scan_offsets(Scanner *s, Entry *entry)
{
    return expect(s, '[') && scan_number(s, &entry->begin) && expect(s, ',') && scan_number(s, &entry->end) &&
           expect(s, ']');
}

static bool
scan_field(Scanner *s, RvHeader *header, Entry *entry)
{
    bool *seen, ok;
    if (!scan_string(s))
        return false;
    if (!strcmp(s->scratch->str, "dtype"))
        seen = &entry->has_dtype;
    else if (!strcmp(s->scratch->str, "shape"))
        seen = &entry->has_shape;
    else if (!strcmp(s->scratch->str, "data_offsets"))
        seen = &entry->has_offsets;
    else
        return fail(s, "an unknown key in a tensor");
    if (*seen)
        return fail(s, "a key given twice");
    *seen = true;
    if (!expect(s, ':'))
        return false;
    if (seen == &entry->has_dtype)
        ok = scan_dtype(s, header, entry);
    else
        ok = seen == &entry->has_shape ? scan_shape(s, entry) : scan_offsets(s, entry);
    return ok;
}

/* Shape times type must be the range, where we know the type. */
static bool
check_entry(Scanner *s, const Entry *entry, guint64 data_bytes)
{
    guint64 bits = 0;
    if (!entry->has_dtype || !entry->has_shape || !entry->has_offsets)
        return fail(s, "a tensor without dtype, shape or data_offsets");
    if (entry->begin > entry->end || entry->end > data_bytes)
        return fail(s, "a tensor outside the file");
    if (entry->dtype < 0)
        return true;
    if (!g_uint64_checked_mul(&bits, entry->elements, (guint64)dtypes[entry->dtype].bits))
        return fail(s, "a shape too large");
    if (bits % 8 || bits / 8 != entry->end - entry->begin)
        return fail(s, "a tensor whose shape does not fit its range");
    return true;
}

static bool
scan_tensor(Scanner *s, RvHeader *header, const char *name, guint64 data_bytes)
{
    Entry entry = { 0 };
    if (!expect(s, '{'))
        return false;
    do {
        if (!scan_field(s, header, &entry))
            return false;
    } while (take(s, ','));
    if (!expect(s, '}') || !check_entry(s, &entry, data_bytes))
        return false;

    RvFileTensor tensor = { .name = name, .dtype_name = entry.dtype_name, .bytes = entry.end - entry.begin };
    tensor.readable = entry.dtype >= 0 && dtypes[entry.dtype].ours && entry.rank <= RV_MAX_RANK;
    if (tensor.readable) {
        tensor.array.dtype = dtypes[entry.dtype].dtype;
        tensor.array.rank = entry.rank;
        memcpy(tensor.array.shape, entry.shape, sizeof entry.shape);
    }
    g_array_append_val(header->tensors, tensor);
    g_array_append_val(header->begins, entry.begin);
    return true;
}

static bool
scan_metadata(Scanner *s, RvHeader *header)
{
    if (!expect(s, '{'))
        return false;
    if (take(s, '}'))
        return true;
    do {
        if (!scan_string(s))
            return false;
        char *key = g_string_chunk_insert_const(header->strings, s->scratch->str);
        if (!expect(s, ':') || !scan_string(s))
            return false;
        char *value = g_string_chunk_insert(header->strings, s->scratch->str);
        if (!g_hash_table_insert(header->metadata, key, value))
            return fail(s, "a metadata key given twice");
        if (g_hash_table_size(header->metadata) > RV_HEADER_MAX_ENTRIES)
            return fail(s, "too much metadata");
    } while (take(s, ','));
    return expect(s, '}');
}

static bool
scan_member(Scanner *s, RvHeader *header, bool *has_metadata, guint64 data_bytes)
{
    if (!scan_string(s))
        return false;
    if (!strcmp(s->scratch->str, "__metadata__")) {
        if (*has_metadata)
            return fail(s, "__metadata__ given twice");
        *has_metadata = true;
        return expect(s, ':') && scan_metadata(s, header);
    }
    if (header->tensors->len >= RV_HEADER_MAX_ENTRIES)
        return fail(s, "too many tensors");
    char *name = g_string_chunk_insert(header->strings, s->scratch->str);
    if (!g_hash_table_insert(header->by_name, name, GSIZE_TO_POINTER(header->tensors->len + 1)))
        return fail(s, "a tensor name given twice");
    return expect(s, ':') && scan_tensor(s, header, name, data_bytes);
}

static int
compare_begins(const void *a, const void *b, void *user)
{
    const RvHeader *header = user;
    guint64 x = g_array_index(header->begins, guint64, *(const guint32 *)a);
    guint64 y = g_array_index(header->begins, guint64, *(const guint32 *)b);
    gsize m = g_array_index(header->tensors, RvFileTensor, *(const guint32 *)a).bytes;
    gsize n = g_array_index(header->tensors, RvFileTensor, *(const guint32 *)b).bytes;
    /* Of tensors that begin together the empty ones come first. */
    return x != y ? (x < y ? -1 : 1) : (m > n) - (m < n);
}

/* The ranges, sorted, must lie side by side from 0 to the end of the file. */
static bool
check_ranges(Scanner *s, RvHeader *header, guint64 data_bytes)
{
    guint count = header->tensors->len;
    g_autofree guint32 *order = g_new(guint32, count + 1);
    guint64 next = 0;
    for (guint i = 0; i < count; i++)
        order[i] = i;
    g_qsort_with_data(order, (int)count, sizeof *order, compare_begins, header);
    for (guint i = 0; i < count; i++) {
        guint64 begin = g_array_index(header->begins, guint64, order[i]);
        if (begin != next)
            return fail(s, begin < next ? "tensors that overlap" : "a hole between tensors");
        next = begin + g_array_index(header->tensors, RvFileTensor, order[i]).bytes;
    }
    return next == data_bytes ? true : fail(s, "bytes that belong to no tensor");
}

static bool
parse(Scanner *s, RvHeader *header, guint64 data_bytes)
{
    bool has_metadata = false;
    if (s->at == s->end || *s->at != '{')
        return fail(s, "expected '{'");
    if (!g_utf8_validate(s->start, s->end - s->start, NULL))
        return fail(s, "text that is not UTF-8");
    s->at++;
    if (!take(s, '}')) {
        do {
            if (!scan_member(s, header, &has_metadata, data_bytes))
                return false;
        } while (take(s, ','));
        if (!expect(s, '}'))
            return false;
    }
    skip_space(s);
    if (s->at != s->end)
        return fail(s, "text after the last '}'");
    return check_ranges(s, header, data_bytes);
}

bool
rv_header_parse(RvHeader *header, const char *json, gsize length, guint64 data_bytes, const char *path,
                GError **error)
{
    g_autoptr(GString) scratch = g_string_new(NULL);
    Scanner s = { json, json + length, json, path, scratch, error };
    header->tensors = g_array_new(false, true, sizeof(RvFileTensor));
    header->begins = g_array_new(false, true, sizeof(guint64));
    header->by_name = g_hash_table_new(g_str_hash, g_str_equal);
    header->metadata = g_hash_table_new(g_str_hash, g_str_equal);
    header->strings = g_string_chunk_new(4096);
    if (parse(&s, header, data_bytes))
        return true;
    rv_header_clear(header);
    return false;
}

void
rv_header_clear(RvHeader *header)
{
    g_clear_pointer(&header->tensors, g_array_unref);
    g_clear_pointer(&header->begins, g_array_unref);
    g_clear_pointer(&header->by_name, g_hash_table_unref);
    g_clear_pointer(&header->metadata, g_hash_table_unref);
    g_clear_pointer(&header->strings, g_string_chunk_free);
}
