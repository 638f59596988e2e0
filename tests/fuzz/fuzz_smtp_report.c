/* room: smtp */
/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* fuzz_smtp_report.c - texts of others in a delivery report (address, original recipient, host,
 * reply, message; separated by NUL): whatever they are, its lines can be sent and its parts stay
 * apart. And the address through SRS: what is made there leads back. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/address.h"
#include "smtp/queue/report.h"
#include "smtp/queue/srs.h"
#include <stddef.h>
#include <stdint.h>

enum { TEXT_MAX = 1 << 20 };
static const int64_t now = INT64_C(1795176000000);

/* As the server lets a message in: lines that end with CRLF, no other CR or LF, no NUL. */
static struct str as_message(struct arena *a, struct str in)
{
    struct buf out;
    buf_init(&out, TEXT_MAX);
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] == '\n')
            buf_add_z(&out, "\r\n");
        else if (in.p[i] != '\r' && in.p[i] != '\0')
            buf_add_char(&out, in.p[i]);
    }
    struct str kept = arena_str(a, buf_str(&out));
    buf_fini(&out);
    return kept;
}

static void check_lines(struct str text, bool eight_bit)
{
    struct str line;
    CHECK(str_ends(text, STR("--\r\n")));
    while (str_cut(text, '\n', &line, &text)) {
        CHECK(line.n && line.n <= 999 && line.p[line.n - 1] == '\r');
        CHECK(!memchr(line.p, '\r', line.n - 1) && !memchr(line.p, '\0', line.n));
        CHECK(eight_bit || text_ascii(line));
    }
}

static void check_parts(struct str text)
{
    static const struct str begin = {"\r\n\tboundary=\"", 13};
    struct str boundary, rest;
    size_t at;
    unsigned n = 0;
    CHECK(str_find(text, begin, &at));
    CHECK(str_cut(str_skip(text, at + begin.n), '"', &boundary, &rest));
    while (str_find(rest, boundary, &at)) {
        n += at >= 4 && memcmp(rest.p + at - 4, "\r\n--", 4) == 0;
        rest = str_skip(rest, at + boundary.n);
    }
    CHECK(n == 4);
}

static void report(struct arena *a, const struct str field[6], unsigned flags)
{
    struct report_rcpt to = {.kind = (enum report_kind)(flags % (REPORT_EXPANDED + 1)),
                             .address = field[0],
                             .orcpt = field[1],
                             .host = field[2],
                             .text = field[3],
                             .diagnostic = field[3],
                             .last_ms = now,
                             .until_ms = now};
    struct report r = {.id = 5,
                       .about = 4,
                       .hostname = STR("h.example"),
                       .origin = STR("example"),
                       .to = field[0],
                       .envid = field[1],
                       .now_ms = now,
                       .rcpts = &to,
                       .n_rcpts = 1,
                       .head = as_message(a, field[4]),
                       .text = as_message(a, field[5]),
                       .full = flags & 8,
                       .utf8 = flags & 16};
    struct buf out;
    buf_init(&out, 4 * TEXT_MAX);
    report_write(&r, &out);
    if (buf_ok(&out)) {
        check_lines(buf_str(&out), r.utf8 || !text_ascii(r.head) || !text_ascii(r.text));
        check_parts(buf_str(&out));
    }
    buf_fini(&out);
}

static void srs(struct arena *a, struct str address)
{
    const struct srs_conf conf = {.secrets = {STR("secret")},
                                  .n_secrets = 1,
                                  .domain = STR("ours.example"),
                                  .max_age_days = 21,
                                  .hash_length = 4};
    struct err err = {0};
    struct address_path path, again;
    struct str out, back, rest;
    /* Nobody can guess what was signed here (four letters may be, once in a million). */
    int found = srs_reverse(&conf, a, address, now, &back, &err);
    CHECK(found >= -1 && found <= 1);
    struct str text = arena_printf(a, "<" STR_FMT ">", STR_ARG(address));
    if (address_path_parse(a, text, &path, &rest, &err) || rest.n || path.null ||
        srs_forward(&conf, a, address, now, &out, &err) || str_ieq(path.domain, conf.domain))
        return;
    text = arena_printf(a, "<" STR_FMT ">", STR_ARG(out));
    CHECK(address_path_parse(a, text, &again, &rest, &err) == 0 && !rest.n);
    CHECK(str_ieq(again.domain, conf.domain));
    CHECK(srs_reverse(&conf, a, out, now, &back, &err) == 1);
    if (str_starts(again.local, STR("SRS1")))
        return; /* leads to the first forwarder */
    text = arena_printf(a, "<" STR_FMT ">", STR_ARG(back));
    CHECK(address_path_parse(a, text, &again, &rest, &err) == 0 && !rest.n);
    CHECK(str_eq(again.local, path.local) && str_ieq(again.domain, path.domain));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_of(data, size), field[6];
    if (size < 1 || size > 100000)
        return 0;
    struct arena *a = arena_new(0);
    unsigned flags = data[0];
    rest = str_skip(rest, 1);
    for (size_t i = 0; i < 5; i++)
        str_cut(rest, '\0', &field[i], &rest);
    field[5] = rest;
    report(a, field, flags);
    srs(a, field[0]);
    arena_free(&a);
    return 0;
}
