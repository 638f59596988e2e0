/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* dkim_opendkim.c - verifying by libopendkim. It is given each message's fields and the keys, which
 * were fetched before; what it doesn't look at (LIBRARIES.md) was looked at before, or is here:
 * appended text, bare CRs, how many fields there are. */
#include "appliance/base/clock.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/header.h"
#include "filters/dkim_canon.h"
#include "filters/dkim_check.h"
#include "filters/dkim_key.h"
#include "filters/dkim_memo.h"
#include <opendkim/dkim.h>

/* The library looks at each field for each name of h=, so their number is bounded. It gives a key
 * record 1024 octets: enough for RSA of 4096 bits, which is the most we take. */
enum { FIELDS_MAX = 2000, PIECE = 64 << 10, NORMAL_MAX = 1000 };

struct dkim_verifier {
    DKIM_LIB *lib;
    struct dkim_memo *memo;
};

/* It takes bytes that it doesn't change as u_char *. */
static u_char *bytes(const char *p)
{
    return (u_char *)(uintptr_t)p;
}

static struct dkim_one *one_of(struct dkim_check *c, const DKIM_SIGINFO *info)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].info == info)
            return &c->list[i];
    return NULL;
}

/* In the order of their fields, malformed ones too (DKIM_LIBFLAGS_BADSIGHANDLES). */
static DKIM_CBSTAT on_prescreen(DKIM *dkim, DKIM_SIGINFO **infos, int n)
{
    struct dkim_check *c = dkim_get_user_context(dkim);

    for (int i = 0; i < n; i++) {
        if ((size_t)i < c->n)
            c->list[i].info = infos[i];
        if ((size_t)i >= c->n || c->list[i].result != DKIM_NONE)
            dkim_sig_ignore(infos[i]);
    }
    return DKIM_CBSTAT_CONTINUE;
}

static DKIM_CBSTAT on_key(DKIM *dkim, DKIM_SIGINFO *info, u_char *to, size_t room)
{
    const struct dkim_one *one = one_of(dkim_get_user_context(dkim), info);

    if (!one || one->normal.n >= room)
        return DKIM_CBSTAT_NOTFOUND;
    memcpy(to, one->normal.p, one->normal.n);
    to[one->normal.n] = '\0';
    return DKIM_CBSTAT_CONTINUE;
}

struct dkim_verifier *dkim_verifier_new(void)
{
    u_int flags = DKIM_LIBFLAGS_BADSIGHANDLES;
    DKIM_LIB *lib = dkim_init(NULL, NULL);

    if (!lib)
        return NULL;
    if (dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_FLAGS, &flags, sizeof flags) != DKIM_STAT_OK ||
        dkim_set_prescreen(lib, on_prescreen) != DKIM_STAT_OK ||
        dkim_set_key_lookup(lib, on_key) != DKIM_STAT_OK) {
        dkim_close(lib);
        return NULL;
    }
    struct dkim_verifier *v = MEM_NEW(struct dkim_verifier);
    v->lib = lib;
    v->memo = dkim_memo_new();
    return v;
}

void dkim_verifier_free(struct dkim_verifier **vp)
{
    struct dkim_verifier *v = *vp;

    *vp = NULL;
    if (!v)
        return;
    dkim_close(v->lib);
    dkim_memo_free(&v->memo);
    mem_free(v);
}

/* ---- Keys */

/* Reads a key, and writes its record as the library takes it. -1: the one is settled. */
static int decode(struct dkim_check *c, struct dkim_one *one)
{
    struct dkim_key *key = NULL;
    struct err err = {0};
    struct buf raw, text;

    buf_init(&raw, DKIM_RECORD_MAX);
    buf_init(&text, NORMAL_MAX);
    if (text_base64_decode(one->record.key, &raw) ||
        dkim_key_read_public(one->record.type, buf_str(&raw), &key, &err)) {
        dkim_one_settle(one, DKIM_PERMERROR, "key record: %.90s",
                        err.text[0] ? err.text : "its key isn't in base64");
    } else {
        one->bits = dkim_key_bits(key);
        /* One that is too long to be written is refused for its length. */
        if (one->bits <= DKIM_RSA_MOST && dkim_key_record(key, &text, &err))
            dkim_one_settle(one, DKIM_PERMERROR, "key record: its key can't be used");
        else
            one->normal = arena_str(c->arena, buf_str(&text));
    }
    dkim_key_free(&key);
    buf_fini(&raw);
    buf_fini(&text);
    return one->result == DKIM_NONE ? 0 : -1;
}

static void prepare(const struct dkim_verifier *v, struct dkim_check *c, struct dkim_one *one)
{
    const struct dkim_record *r = &one->record;

    if (!dkim_memo_get(v->memo, r->type, r->key, c->arena, &one->bits, &one->normal)) {
        if (decode(c, one))
            return;
        dkim_memo_put(v->memo, r->type, r->key, one->bits, one->normal);
    }
    if (r->type == DKIM_KEY_RSA && one->bits < (uint64_t)c->min_bits)
        dkim_one_settle(one, DKIM_POLICY, "its key has only %u bits", one->bits);
    else if (r->type == DKIM_KEY_RSA && one->bits > DKIM_RSA_MOST)
        dkim_one_settle(one, DKIM_POLICY, "its key has %u bits, which is too much", one->bits);
}

static void settle_open(struct dkim_check *c, enum dkim_result r, const char *why)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].result == DKIM_NONE)
            dkim_one_settle(&c->list[i], r, "%s", why);
}

/* ---- The head */

/* What would be read differently by others: nobody's signature can be trusted on it. */
static bool head_is_sound(struct str head)
{
    for (size_t i = 0; i < head.n; i++) {
        char c = head.p[i];
        if (c == '\0' || (c == '\n' && (i == 0 || head.p[i - 1] != '\r')) ||
            (c == '\r' && (i + 1 == head.n || head.p[i + 1] != '\n')))
            return false;
    }
    return true;
}

static struct str without_end(struct str raw)
{
    while (raw.n && (raw.p[raw.n - 1] == '\n' || raw.p[raw.n - 1] == '\r'))
        raw.n--;
    return raw;
}

/* -1: not to be judged. */
static int feed_head(DKIM *dkim, const struct dkim_check *c, struct str head)
{
    struct header_field f;
    size_t fields = 0, signatures = 0;

    while (header_next(&head, &f)) {
        bool signature = str_ieq(str_trim(f.name), STR("DKIM-Signature"));
        if (signature && signatures++ >= c->n)
            continue; /* over the limit: each would be hashed for */
        if (++fields > FIELDS_MAX)
            return -1;
        struct str raw = without_end(f.raw);
        /* SYNTAX: not a field by RFC 5322; or a malformed signature, which has its result. */
        DKIM_STAT st = dkim_header(dkim, bytes(raw.p), raw.n);
        if (st != DKIM_STAT_OK && st != DKIM_STAT_SYNTAX)
            return -1;
    }
    return 0;
}

/* ---- The body */

struct lengths { /* of the two canonical forms, where an l= is to be compared with them */
    bool wanted;
    struct dkim_body simple, relaxed;
};

static int feed_body(DKIM *dkim, const struct dkim_message *m, struct lengths *len)
{
    uint64_t at = m->head.n;
    char *piece = mem_alloc(PIECE), last[2] = "";
    int64_t n;

    while ((n = m->read(m->ctx, at, piece, PIECE)) > 0) {
        if (dkim_body(dkim, bytes(piece), (size_t)n) != DKIM_STAT_OK)
            break;
        if (len->wanted) {
            dkim_body_feed(&len->simple, str_of(piece, (size_t)n));
            dkim_body_feed(&len->relaxed, str_of(piece, (size_t)n));
        }
        last[0] = n > 1 ? piece[n - 2] : last[1];
        last[1] = piece[n - 1];
        at += (uint64_t)n;
    }
    /* RFC 6376 3.4: a last line without its end gets one; the library wants it there. */
    if (n == 0 && at > m->head.n && (last[0] != '\r' || last[1] != '\n') &&
        dkim_body(dkim, bytes("\r\n"), 2) != DKIM_STAT_OK)
        n = 1;
    mem_free(piece);
    return n == 0 ? 0 : -1;
}

/* ---- Results */

/* RFC 6376 3.6.1: mail of those who test isn't to be treated otherwise than mail that isn't signed.
 */
static void judge_pass(const struct dkim_check *c, struct dkim_one *one, const struct lengths *len)
{
    uint64_t whole = one->sig.relaxed_body ? len->relaxed.length : len->simple.length;

    if (one->sig.has_length && one->sig.length < whole)
        dkim_one_settle(one, DKIM_POLICY, "%llu octets of the body aren't signed (l=)",
                        (unsigned long long)(whole - one->sig.length));
    else if (one->record.testing && !c->test_keys)
        dkim_one_settle(one, DKIM_POLICY, "testing: its key is for tests (t=y)");
    else
        dkim_one_settle(one, DKIM_PASS, "%s", one->record.testing ? "its key is for tests" : "");
}

static void judge(const struct dkim_check *c, struct dkim_one *one, const struct lengths *len)
{
    DKIM_SIGINFO *info = one->info;

    if (one->result != DKIM_NONE)
        return;
    if (!info) {
        dkim_one_settle(one, DKIM_NEUTRAL, "it can't be judged");
        return;
    }
    DKIM_SIGERROR e = dkim_sig_geterror(info);
    bool intact = (dkim_sig_getflags(info) & DKIM_SIGFLAG_PASSED) != 0;
    if (DKIM_SIG_CHECK(info) && e == DKIM_SIGERROR_OK)
        judge_pass(c, one, len);
    else if (e == DKIM_SIGERROR_BADSIG && intact)
        dkim_one_settle(one, DKIM_FAIL, "the body was altered");
    else if (e == DKIM_SIGERROR_BADSIG)
        dkim_one_settle(one, DKIM_FAIL, "the header was altered, or another key signed");
    else if (e == DKIM_SIGERROR_TOOLARGE_L)
        dkim_one_settle(one, DKIM_PERMERROR, "l= is larger than the body");
    else
        dkim_one_settle(one, DKIM_PERMERROR, "%s", dkim_sig_geterrorstr(e));
}

static void verify(DKIM *dkim, struct dkim_check *c, const struct dkim_message *m)
{
    struct lengths *len = MEM_NEW(struct lengths);

    dkim_body_begin(&len->simple, false, NULL, NULL);
    dkim_body_begin(&len->relaxed, true, NULL, NULL);
    for (size_t i = 0; i < c->n; i++)
        len->wanted = len->wanted || c->list[i].sig.has_length;
    if (feed_head(dkim, c, m->head)) {
        settle_open(c, DKIM_NEUTRAL, "its header is too large to be judged");
    } else if (dkim_eoh(dkim) != DKIM_STAT_OK) {
        settle_open(c, DKIM_NEUTRAL, "its header can't be judged");
    } else if (feed_body(dkim, m, len)) {
        settle_open(c, DKIM_TEMPERROR, "the message can't be read");
    } else {
        dkim_body_end(&len->simple);
        dkim_body_end(&len->relaxed);
        (void)dkim_eom(dkim, NULL); /* what it says is about one of them */
        for (size_t i = 0; i < c->n; i++)
            judge(c, &c->list[i], len);
    }
    mem_free(len);
}

void dkim_check_run(const struct dkim_verifier *v, struct dkim_check *c,
                    const struct dkim_message *m)
{
    DKIM_STAT st;

    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].result == DKIM_NONE)
            prepare(v, c, &c->list[i]);
    if (!dkim_check_open(c))
        return;
    if (!head_is_sound(m->head)) {
        settle_open(c, DKIM_NEUTRAL, "its header holds a bare CR, LF or NUL");
        return;
    }
    DKIM *dkim = dkim_verify(v->lib, bytes("m"), NULL, &st);
    if (!dkim) {
        settle_open(c, DKIM_TEMPERROR, "no memory to verify it");
        return;
    }
    (void)dkim_set_user_context(dkim, c);
    verify(dkim, c, m);
    dkim_free(dkim);
    for (size_t i = 0; i < c->n; i++)
        c->list[i].info = NULL;
}
