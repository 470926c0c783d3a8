/* golden.h - reads reference numbers (a safetensors file) in tests.
 *
 * For trusted files only: whatever is wrong with one aborts the test with a message. */
#pragma once
#include "base/array.h"
#include <glib.h>

typedef struct Golden Golden;

/* A path under tests/data, for example golden_path("reference/numbers.safetensors"); what the build makes
 * there (tests/tools) goes before what git holds. Found through G_TEST_BUILDDIR and G_TEST_SRCDIR, which the
 * build sets. Free with g_free. */
char *golden_path(const char *relative);

Golden *golden_open(const char *path);
void golden_close(Golden *golden); /* accepts NULL */
bool golden_has(const Golden *golden, const char *name);

/* The tensor `name` as float32 (integers and halves are converted), owned by `golden` until it is
 * closed; aborts when it is missing. `count` (elements) and `shape` (outermost first, zero after the
 * rank) may be NULL. */
const float *golden_get(Golden *golden, const char *name, gsize *count, gint64 shape[RV_MAX_RANK]);
/* The same, borrowed in its own type. */
RvArray golden_array(Golden *golden, const char *name);

/* Largest |a - b|; `golden_relative_difference` divides it by the largest |b| (of the whole array).
 * A NaN on either side gives infinity. */
double golden_difference(const float *a, const float *b, gsize count);
double golden_relative_difference(const float *a, const float *b, gsize count);
