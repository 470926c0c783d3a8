/* framing.h - whether everybody reads the same request out of its bytes.
 *
 * Where a proxy and we disagree on the end of a request, the rest of one becomes another, sent in the next
 * visitor's name. libsoup 3.2 is lenient: what it lets pass and others do not is found here. */
#pragma once
#include <libsoup/soup.h>
#include <stdbool.h>

/* NULL, or what is wrong with it: a Transfer-Encoding of any kind (also with a blank before its colon),
 * lengths that are not plain digits or several, more than one Host. `*status` is the HTTP one that says so.
 */
const char *rv_framing_problem(SoupMessageHeaders *request, guint *status);
