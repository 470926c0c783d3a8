#include "fetch/http.h"

#include <curl/curl.h>
#include <string.h>

#define LONGEST_PATIENCE 120 /* seconds that a server may ask us to wait */

typedef struct {
    const RvFetchOptions *options;
    const RvHttpRequest *request;
    RvHttpReply *reply;
} Exchange;

void
rv_http_reply_clear(RvHttpReply *reply)
{
    g_clear_pointer(&reply->etag, g_free);
    g_clear_pointer(&reply->range, g_free);
    g_clear_pointer(&reply->next, g_free);
    g_clear_pointer(&reply->linked_etag, g_free);
    *reply = (RvHttpReply) { .length = -1 };
}

/* The URL in `<URL>; rel="next"`, or NULL. */
static char *
next_of_link(const char *link)
{
    g_autoptr(GRegex) regex = g_regex_new("<([^>]+)>\\s*;[^,]*rel=\"?next\"?", 0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    return g_regex_match(regex, link, 0, &match) ? g_match_info_fetch(match, 1) : NULL;
}

/* A redirect's answer comes before the final one; only what the final one says counts, but for linked_etag.
 */
static void
begin_answer(RvHttpReply *reply, const char *line)
{
    char *linked = g_steal_pointer(&reply->linked_etag);
    const char *status = strchr(line, ' ');
    rv_http_reply_clear(reply);
    reply->linked_etag = linked;
    reply->status = status != NULL ? (long)g_ascii_strtoll(status, NULL, 10) : 0;
}

static void
unquote(char *text)
{
    gsize length = strlen(text);
    if (length >= 2 && text[0] == '"' && text[length - 1] == '"') {
        memmove(text, text + 1, length - 2);
        text[length - 2] = '\0';
    }
}

static size_t
on_header(char *data, size_t one, size_t size, void *user)
{
    RvHttpReply *reply = ((Exchange *)user)->reply;
    g_autofree char *line = g_strndup(data, size);
    g_strchomp(line);
    if (g_str_has_prefix(line, "HTTP/")) {
        begin_answer(reply, line);
        return size;
    }
    char *colon = strchr(line, ':');
    if (colon == NULL)
        return size;
    *colon = '\0';
    g_autofree char *value = g_strdup(g_strstrip(colon + 1));
    char **to = NULL;
    if (g_ascii_strcasecmp(line, "etag") == 0)
        to = &reply->etag;
    else if (g_ascii_strcasecmp(line, "content-range") == 0)
        to = &reply->range;
    else if (g_ascii_strcasecmp(line, "x-linked-etag") == 0) {
        unquote(value);
        to = &reply->linked_etag;
    } else if (g_ascii_strcasecmp(line, "content-length") == 0)
        reply->length = g_ascii_strtoll(value, NULL, 10);
    else if (g_ascii_strcasecmp(line, "link") == 0 && reply->next == NULL)
        reply->next = next_of_link(value);
    if (to != NULL) {
        g_free(*to);
        *to = g_steal_pointer(&value);
    }
    return size;
}

static size_t
on_body(char *data, size_t one, size_t size, void *user)
{
    Exchange *exchange = user;
    if (exchange->reply->status != 200 && exchange->reply->status != 206)
        return size; /* the page that goes with an error */
    return exchange->request->body(exchange->request->user, exchange->reply, data, size) ? size : 0;
}

static int
on_tick(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    return g_atomic_int_get(((Exchange *)user)->options->cancel) != 0;
}

static bool
same_origin(const char *a, const char *b)
{
    g_autoptr(GUri) x = g_uri_parse(a, G_URI_FLAGS_SCHEME_NORMALIZE, NULL);
    g_autoptr(GUri) y = g_uri_parse(b, G_URI_FLAGS_SCHEME_NORMALIZE, NULL);
    return x != NULL && y != NULL && g_strcmp0(g_uri_get_scheme(x), g_uri_get_scheme(y)) == 0 &&
           g_strcmp0(g_uri_get_host(x), g_uri_get_host(y)) == 0 && g_uri_get_port(x) == g_uri_get_port(y);
}

/* libcurl itself keeps a bearer from any other scheme, host or port that a redirect leads to. */
static void
set_token(CURL *curl, const Exchange *exchange)
{
    const RvFetchOptions *options = exchange->options;
    if (options->token == NULL || options->trusted == NULL ||
        !same_origin(exchange->request->url, options->trusted))
        return;
    curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, options->token);
}

static struct curl_slist *
configure(CURL *curl, Exchange *exchange, char *words)
{
    const RvFetchOptions *options = exchange->options;
    const RvHttpRequest *request = exchange->request;
    const char *protocols = options->allow_http ? "http,https" : "https";
    struct curl_slist *headers = NULL;
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, protocols);
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 8L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "reverie/" REVERIE_VERSION);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)MAX(options->stall_seconds, 1));
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)MAX(options->stall_seconds, 1));
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_tick);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, exchange);
    set_token(curl, exchange);
    if (request->from > 0) {
        /* a header of our own: with CURLOPT_RESUME_FROM libcurl fails where we start anew */
        g_autofree char *range = g_strdup_printf("Range: bytes=%" G_GINT64_FORMAT "-", request->from);
        headers = curl_slist_append(headers, range);
        if (request->if_range != NULL) {
            g_autofree char *condition = g_strconcat("If-Range: ", request->if_range, NULL);
            headers = curl_slist_append(headers, condition);
        }
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    }
    return headers;
}

static RvHttpOutcome
judge_status(const RvFetchOptions *options, const char *url, const RvHttpReply *reply, GError **error)
{
    long status = reply->status;
    if (status == 200 || status == 206 || status == 416)
        return RV_HTTP_DONE;
    if (status == 401 || status == 403) {
        rv_error_set(error, RV_ERROR_FAILED, url,
                     options->token == NULL
                         ? "check the name; if the model asks for it, accept its licence on its "
                           "page and give a token in HF_TOKEN"
                         : "check the name, and that the token in HF_TOKEN may read this model",
                     "the server refuses access (HTTP %ld)", status);
        return RV_HTTP_FAILED;
    }
    if (status == 404 || status == 410) {
        rv_error_set(error, RV_ERROR_NOT_FOUND, url, "check the name",
                     "the server has no such file or model");
        return RV_HTTP_FAILED;
    }
    bool may_pass = status == 408 || status == 429 || status >= 500;
    rv_error_set(error, may_pass ? RV_ERROR_BUSY : RV_ERROR_FAILED, url,
                 may_pass ? "try again later; what has arrived is kept" : "check the address or --mirror",
                 "the server answers HTTP %ld", status);
    return may_pass ? RV_HTTP_RETRY : RV_HTTP_FAILED;
}

static RvHttpOutcome
judge_failure(CURLcode code, const char *url, const char *words, GError **error)
{
    const char *what = *words != '\0' ? words : curl_easy_strerror(code);
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
        rv_error_set(error, RV_ERROR_CANCELLED, NULL, NULL, "cancelled");
        return RV_HTTP_FAILED;
    case CURLE_WRITE_ERROR:
        return RV_HTTP_STOPPED;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        rv_error_set(error, RV_ERROR_USAGE, url, "use https; a mirror may be http if --mirror says so", "%s",
                     what);
        return RV_HTTP_FAILED;
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        rv_error_set(error, RV_ERROR_FAILED, url,
                     "check the address, the clock and the installed certificates", "%s", what);
        return RV_HTTP_FAILED;
    default:
        rv_error_set(error, RV_ERROR_FAILED, url, "check the network and try again; what has arrived is kept",
                     "%s", what);
        return RV_HTTP_RETRY;
    }
}

RvHttpOutcome
rv_http_get(const RvFetchOptions *options, const RvHttpRequest *request, RvHttpReply *reply, GError **error)
{
    static gsize ready;
    if (g_once_init_enter(&ready)) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        g_once_init_leave(&ready, 1);
    }
    char words[CURL_ERROR_SIZE] = "";
    Exchange exchange = { .options = options, .request = request, .reply = reply };
    rv_http_reply_clear(reply);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = configure(curl, &exchange, words);
    CURLcode code = curl_easy_perform(curl);
    curl_off_t retry_after = 0;
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &retry_after);
    reply->retry_after = (gint64)retry_after;
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return code == CURLE_OK ? judge_status(options, request->url, reply, error)
                            : judge_failure(code, request->url, words, error);
}

bool
rv_http_wait(const RvFetchOptions *options, int failures, gint64 retry_after, GError *cause, GError **error)
{
    if (failures > options->retries || retry_after > LONGEST_PATIENCE) {
        g_propagate_error(error, cause);
        return false;
    }
    double seconds = MIN(options->wait * (double)(1 << MIN(failures - 1, 10)), 30.0);
    seconds = MAX(seconds, (double)retry_after);
    if (options->note != NULL) {
        g_autofree char *text = g_strdup_printf("%s; again in %.1f s", cause->message, seconds);
        options->note(options->user, text);
    }
    g_error_free(cause);
    for (gint64 end = g_get_monotonic_time() + (gint64)(seconds * 1e6); g_get_monotonic_time() < end;) {
        if (g_atomic_int_get(options->cancel) != 0)
            return rv_error_set(error, RV_ERROR_CANCELLED, NULL, NULL, "cancelled");
        g_usleep(20000);
    }
    return true;
}

typedef struct {
    GByteArray *bytes;
    gsize limit;
} Text;

static bool
take_text(void *user, const RvHttpReply *reply, const void *data, gsize size)
{
    Text *text = user;
    if (reply->status != 200 || text->bytes->len + size > text->limit)
        return false;
    g_byte_array_append(text->bytes, data, (guint)size);
    return true;
}

GBytes *
rv_http_get_text(const RvFetchOptions *options, const char *url, gsize limit, char **next, GError **error)
{
    Text text = { g_byte_array_new(), limit };
    g_auto(RvHttpReply) reply = { .length = -1 };
    const RvHttpRequest request = { .url = url, .body = take_text, .user = &text };
    for (int failures = 1;; failures++) {
        GError *cause = NULL;
        RvHttpOutcome outcome = rv_http_get(options, &request, &reply, &cause);
        if (outcome == RV_HTTP_DONE && reply.status == 200) {
            if (next != NULL)
                *next = g_steal_pointer(&reply.next);
            return g_byte_array_free_to_bytes(text.bytes);
        }
        if (outcome == RV_HTTP_DONE || outcome == RV_HTTP_STOPPED)
            rv_error_set(error, RV_ERROR_INVALID, url, "check the address or --mirror",
                         "the answer is not the short text that it should be");
        else if (outcome == RV_HTTP_FAILED)
            g_propagate_error(error, cause);
        else if (rv_http_wait(options, failures, reply.retry_after, cause, error)) {
            g_byte_array_set_size(text.bytes, 0);
            continue;
        }
        g_byte_array_unref(text.bytes);
        return NULL;
    }
}
