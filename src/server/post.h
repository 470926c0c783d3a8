/* post.h - work handed from other threads to the main loop.
 *
 * As g_idle_add_full(G_PRIORITY_DEFAULT), but with one source for all, which is made once: no source is made
 * and attached for each call, and the loop is woken when nothing is locked that it would have to wait for. */
#pragma once
#include <glib.h>

/* Any thread. `func` is called once on the default main context, in the order of the calls. */
void rv_post(void (*func)(void *data), void *data);
