/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* http_client_request.c - what may be asked for: nothing reaches libcurl that isn't well formed. */
#include "appliance/base/text.h"
#include "appliance/io/http_client_private.h"
#include <arpa/inet.h>
#include <stdlib.h>

enum { HOST_MAX = 253 };

/* RFC 9110 5.6.2 */
static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("\"(),/:;<=>?@[\\]{}", s.p[i]))
            return false;
    return s.n > 0;
}

static bool is_header(struct str s)
{
    struct str name, value;

    if (!str_cut(s, ':', &name, &value) || !is_token(name))
        return false;
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < ' ' && value.p[i] != '\t')
            return false;
    return true;
}

static bool has_header(const struct http_request *q, const char *name)
{
    size_t n = strlen(name);

    for (const char *const *h = q->headers; h && *h; h++)
        if (str_ieq(str_take(str_from(*h), n), str_from(name)) && (*h)[n] == ':')
            return true;
    return false;
}

static void add_header(struct http_exchange *x, const char *line)
{
    struct curl_slist *more = curl_slist_append(x->headers, line);

    CHECK(more); /* memory */
    x->headers = more;
}

/* "Name: " without a value would take the header away; "Name;" sends it empty. */
static void copy_header(struct http_exchange *x, const char *line)
{
    struct str name, value;

    str_cut(str_from(line), ':', &name, &value);
    if (str_trim(value).n) {
        add_header(x, line);
        return;
    }
    char *empty = mem_dup(line, name.n + 2);
    memcpy(empty + name.n, ";", 2);
    add_header(x, empty);
    mem_free(empty);
}

static bool take_headers(struct http_exchange *x, const struct http_request *q)
{
    for (const char *const *h = q->headers; h && *h; h++) {
        if (!is_header(str_from(*h)))
            return false;
        copy_header(x, *h);
    }
    add_header(x, "Expect:"); /* no waiting for "100 Continue" */
    if (!has_header(q, "Content-Type"))
        add_header(x, "Content-Type:"); /* not libcurl's guess */
    return true;
}

static bool has_part(CURLU *u, CURLUPart part)
{
    char *text = NULL;
    bool yes = curl_url_get(u, part, &text, 0) == CURLUE_OK && text && *text;

    curl_free(text);
    return yes;
}

static bool is_http(CURLU *u)
{
    char *scheme = NULL;
    bool yes = curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
               (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);

    curl_free(scheme);
    return yes;
}

/* The host as it is asked for, compared with the certificate and sent: an address, or A-labels. */
static bool take_host(struct http_exchange *x, const char *text)
{
    unsigned char address[16];
    struct str host = str_from(text);
    struct buf name;
    bool good;

    if (str_starts(host, STR("[")) && str_ends(host, STR("]"))) {
        x->host = str_dup_z(str_take(str_skip(host, 1), host.n - 2));
        x->literal = true;
        return inet_pton(AF_INET6, x->host, address) == 1;
    }
    if (inet_pton(AF_INET, text, address) == 1) {
        x->host = str_dup_z(host);
        x->literal = true;
        return true;
    }
    buf_init(&name, HOST_MAX);
    good = text_domain(host, &name) == 0;
    if (good) {
        x->host = str_dup_z(buf_str(&name));
        good = curl_url_set(x->url, CURLUPART_HOST, x->host, 0) == CURLUE_OK;
    }
    buf_fini(&name);
    return good;
}

static bool take_port(struct http_exchange *x)
{
    char *port = NULL;
    uint64_t n = 0;
    bool good = curl_url_get(x->url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                str_to_u64(str_from(port), 65535, &n) == 0 && n > 0;

    x->port = (unsigned)n;
    curl_free(port);
    return good;
}

static bool take_url(struct http_exchange *x, const char *url)
{
    char *host = NULL;
    bool good;

    x->url = curl_url();
    CHECK(x->url); /* memory */
    if (curl_url_set(x->url, CURLUPART_URL, url, CURLU_DISALLOW_USER) != CURLUE_OK ||
        !is_http(x->url) || has_part(x->url, CURLUPART_ZONEID))
        return false;
    good = curl_url_get(x->url, CURLUPART_HOST, &host, 0) == CURLUE_OK && take_host(x, host) &&
           take_port(x);
    curl_free(host);
    return good;
}

bool http_exchange_take(struct http_exchange *x, const struct http_request *q)
{
    if (!q->method || !q->url || !is_token(str_from(q->method)))
        return false;
    x->method = str_dup_z(str_from(q->method));
    x->max_body = q->max_body;
    x->timeout_ms = q->timeout_ms;
    x->body = q->body.n ? mem_dup(q->body.p, q->body.n) : NULL;
    x->body_n = q->body.n;
    return take_headers(x, q) && take_url(x, q->url);
}
