#include "weights/mapped.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

#define SLOTS 1024
#define LONGEST 1024 /* of paths in messages */

/* Written under the mutex, `begin` last and cleared first; read by the handler without it. */
typedef struct {
    guintptr begin; /* atomic; 0: free */
    gsize bytes;    /* atomic */
    const char *path;
} Slot;

static Slot slots[SLOTS];
static GMutex mutex; /* of who writes slots */
static struct sigaction before_us;
static guintptr page_bytes;
static guint torn;              /* atomic */
static char torn_path[LONGEST]; /* of the last one */

/* ---- in the handler: nothing here may allocate or lock ---- */

/* The slot whose map holds the address, looked at twice: it may be given to another map meanwhile. */
static const Slot *
slot_of(guintptr at)
{
    for (gsize i = 0; i < SLOTS; i++) {
        guintptr begin = __atomic_load_n(&slots[i].begin, __ATOMIC_ACQUIRE);
        gsize bytes = __atomic_load_n(&slots[i].bytes, __ATOMIC_ACQUIRE);
        if (begin != 0 && at >= begin && at - begin < bytes &&
            __atomic_load_n(&slots[i].begin, __ATOMIC_ACQUIRE) == begin)
            return &slots[i];
    }
    return NULL;
}

/* All behind the end of the file is gone too: one fault a file, not one a page. */
static bool
fill_with_zeros(const Slot *slot, guintptr at)
{
    guintptr first = at / page_bytes * page_bytes;
    guintptr end = (slot->begin + slot->bytes + page_bytes - 1) / page_bytes * page_bytes;
    return mmap((void *)first, end - first, PROT_READ,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static void
on_sigbus(int number, siginfo_t *info, void *context)
{
    int saved = errno;
    const Slot *slot = slot_of((guintptr)info->si_addr);
    if (slot != NULL && fill_with_zeros(slot, (guintptr)info->si_addr)) {
        for (gsize i = 0; i < LONGEST - 1 && (i == 0 || slot->path[i - 1] != '\0'); i++)
            torn_path[i] = slot->path[i];
        __atomic_add_fetch(&torn, 1, __ATOMIC_RELEASE);
    } else {
        sigaction(SIGBUS, &before_us, NULL); /* it happens again, and is theirs */
    }
    errno = saved;
}

/* ---- outside ---- */

static void
install(void)
{
    static gsize done;
    if (!g_once_init_enter(&done))
        return;
    struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    page_bytes = (guintptr)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &before_us);
    g_once_init_leave(&done, 1);
}

void
rv_mapped_guard(const void *map, gsize bytes, const char *path)
{
    install();
    g_mutex_lock(&mutex);
    for (gsize i = 0; i < SLOTS; i++)
        if (slots[i].begin == 0) {
            slots[i].path = path;
            __atomic_store_n(&slots[i].bytes, bytes, __ATOMIC_RELEASE);
            __atomic_store_n(&slots[i].begin, (guintptr)map, __ATOMIC_RELEASE);
            break;
        }
    g_mutex_unlock(&mutex);
}

void
rv_mapped_release(const void *map)
{
    g_mutex_lock(&mutex);
    for (gsize i = 0; i < SLOTS; i++)
        if (slots[i].begin == (guintptr)map)
            __atomic_store_n(&slots[i].begin, 0, __ATOMIC_RELEASE);
    g_mutex_unlock(&mutex);
}

guint
rv_mapped_torn(void)
{
    return __atomic_load_n(&torn, __ATOMIC_ACQUIRE);
}

bool
rv_mapped_check(guint before, GError **error)
{
    return rv_mapped_torn() == before ||
           rv_error_set(error, RV_ERROR_IO, torn_path, "try again once all of it is there",
                        "the file was cut short while it was read");
}
