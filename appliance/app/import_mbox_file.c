/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_mbox_file.c - the messages of one mbox file: read twice, once for the digest that tells
 * whether they are known. */
#include "appliance/app/import_mbox.h"
#include "appliance/base/map.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/mbox.h"
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 64 << 10, KEYWORDS_MAX = 64, KEY_BYTES = 20 };

struct reading {
    struct import_run *run;
    int fd;
    const char *path;
    time_t mtime;
    struct mbox *mbox;
    struct map *seen; /* digest -> how many of it */
    /* where the text goes: the digest, or the run */
    EVP_MD_CTX *digest;
    struct buf out;
    int rc;
};

static ssize_t read_file(void *ctx, uint64_t at, void *p, size_t n)
{
    const struct reading *r = ctx;
    ssize_t got;

    do
        got = pread(r->fd, p, n, (off_t)at);
    while (got < 0 && errno == EINTR);
    return got;
}

/* ---- Text, as it was before it came into an mbox. */

static void push(struct reading *r)
{
    if (r->digest)
        EVP_DigestUpdate(r->digest, r->out.p, r->out.n);
    else if (r->rc == 0)
        r->rc = import_run_text(r->run, buf_str(&r->out));
    buf_clear(&r->out);
}

static void put(struct reading *r, char c)
{
    if (r->out.n == PIECE)
        push(r);
    buf_add_char(&r->out, c);
}

/* The header block without the fields that are the mbox's own. */
static void put_head(struct reading *r, struct str fields)
{
    struct str line, rest = fields, name, value;
    bool drop = false;
    size_t at;

    while (rest.n) {
        size_t n = str_chr(rest, '\n', &at) ? at + 1 : rest.n;
        line = str_take(rest, n);
        rest = str_skip(rest, n);
        if (line.p[0] != ' ' && line.p[0] != '\t')
            drop = str_cut(line, ':', &name, &value) && mbox_own_field(name);
        for (size_t i = 0; !drop && i < line.n; i++)
            put(r, line.p[i]);
    }
}

struct unquote {
    bool on, line_begins;
    uint64_t marks; /* '>' held back */
    size_t matched; /* of "From " */
};
static const char from[] = "From ";

static void release(struct reading *r, struct unquote *u)
{
    for (; u->marks; u->marks--)
        put(r, '>');
    for (size_t i = 0; i < u->matched; i++)
        put(r, from[i]);
    u->matched = 0;
}

static void put_body(struct reading *r, struct unquote *u, char c)
{
    if (u->on && u->line_begins && u->matched == 0 && c == '>') {
        u->marks++;
        return;
    }
    if (u->on && u->line_begins && u->marks && c == from[u->matched]) {
        if (++u->matched < sizeof from - 1)
            return;
        u->marks--;
        release(r, u);
        u->line_begins = false;
        return;
    }
    release(r, u);
    put(r, c);
    u->line_begins = c == '\n';
}

/* -1: the file can't be read to the message's end (errno). */
static int put_message(struct reading *r, const struct mbox_message *m)
{
    struct unquote u = {.on = m->quoted, .line_begins = true};
    char piece[PIECE];

    put_head(r, m->fields);
    for (uint64_t at = m->body; at < m->end && r->rc == 0;) {
        uint64_t left = m->end - at;
        ssize_t n = read_file(r, at, piece, left < sizeof piece ? left : sizeof piece);
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            return -1;
        }
        for (ssize_t i = 0; i < n; i++)
            put_body(r, &u, piece[i]);
        at += (uint64_t)n;
    }
    release(r, &u);
    push(r);
    return 0;
}

/* ---- One message. */

/* Its digest; with a number where the same text was there before. */
static int make_key(struct reading *r, const struct mbox_message *m, struct buf *key)
{
    uint8_t digest[32];
    uintptr_t n;
    int rc;

    r->digest = EVP_MD_CTX_new();
    CHECK(r->digest && EVP_DigestInit_ex(r->digest, EVP_sha256(), NULL));
    rc = put_message(r, m);
    EVP_DigestFinal_ex(r->digest, digest, NULL);
    EVP_MD_CTX_free(r->digest);
    r->digest = NULL;
    buf_clear(key);
    text_hex_encode(digest, KEY_BYTES, key);
    n = (uintptr_t)map_get(r->seen, buf_str(key)) + 1;
    map_set(r->seen, buf_str(key), (void *)n);
    if (n > 1)
        buf_printf(key, "-%llu", (unsigned long long)n);
    return rc;
}

static int64_t date_of(const struct reading *r, const struct mbox_message *m)
{
    time_t at = (time_t)m->date.at;
    struct tm tm;

    if (!m->has_date)
        return (int64_t)r->mtime * 1000;
    if (m->has_zone)
        return m->date.at * 1000;
    gmtime_r(&at, &tm); /* a From_ line without a zone is in local time */
    tm.tm_isdst = -1;
    return (int64_t)mktime(&tm) * 1000;
}

static size_t split_words(struct str text, struct str *out, size_t max)
{
    size_t n = 0, i = 0;

    while (i < text.n && n < max) {
        size_t begin = i;
        while (i < text.n && (unsigned char)text.p[i] > ' ')
            i++;
        if (i > begin)
            out[n++] = (struct str){text.p + begin, i - begin};
        while (i < text.n && (unsigned char)text.p[i] <= ' ')
            i++;
    }
    return n;
}

static uint64_t flags_of(unsigned theirs)
{
    static const struct {
        unsigned theirs;
        uint64_t ours;
    } map[] = {{MBOX_SEEN, MESSAGE_SEEN},
               {MBOX_ANSWERED, MESSAGE_ANSWERED},
               {MBOX_FLAGGED, MESSAGE_FLAGGED},
               {MBOX_DELETED, MESSAGE_DELETED},
               {MBOX_DRAFT, MESSAGE_DRAFT}};
    uint64_t all = 0;

    for (size_t i = 0; i < ARRAY_LEN(map); i++)
        if (theirs & map[i].theirs)
            all |= map[i].ours;
    return all;
}

static int take_message(struct reading *r, const struct mbox_message *m,
                        const struct mbox_status *status, struct buf *key)
{
    struct str words[KEYWORDS_MAX];
    struct import_message out = {.uid = status->uid,
                                 .flags = flags_of(status->flags),
                                 .keywords = words,
                                 .internal_ms = date_of(r, m),
                                 .recent = !(status->flags & (MBOX_SEEN | MBOX_OLD))};
    char name[600];
    int rc;

    snprintf(name, sizeof name, "%.512s, byte %llu", r->path, (unsigned long long)m->start);
    out.name = name;
    out.n_keywords = split_words(status->keywords, words, KEYWORDS_MAX);
    if (m->fields.n < m->body - m->head) {
        import_run_failed(r->run, name, "its header block is larger than 1 MB");
        return 0;
    }
    if (make_key(r, m, key) != 0) {
        import_run_failed(r->run, name, strerror(errno));
        return 0;
    }
    out.key = buf_str(key);
    rc = import_run_known(r->run, &out);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    if (import_run_offer(r->run, &out) != 0)
        return -1;
    rc = put_message(r, m);
    if (r->rc != 0)
        return -1;
    return import_run_text_end(r->run, rc == 0 ? NULL : strerror(errno));
}

/* The first message tells the UIDVALIDITY. */
static int take_all(struct reading *r, struct import_target *t, struct buf *key)
{
    struct mbox_message m;
    struct mbox_status status;
    struct err err = {0};
    int more = mbox_next(r->mbox, &m, &err), rc;

    if (more < 0) {
        import_run_failed(r->run, r->path, err.text);
        return 0;
    }
    if (more == 1) {
        mbox_status_read(m.fields, &status);
        t->uidvalidity = status.uidvalidity;
        t->uidnext = status.uidlast && status.uidlast < UINT32_MAX ? status.uidlast + 1 : 0;
    }
    rc = import_run_begin(r->run, t);
    if (rc != 0)
        return rc < 0 ? -1 : 0;
    for (; more == 1; more = mbox_next(r->mbox, &m, &err)) {
        mbox_status_read(m.fields, &status);
        if (!(status.flags & MBOX_EXPUNGED) && take_message(r, &m, &status, key) != 0)
            return -1;
    }
    if (more < 0)
        import_run_failed(r->run, r->path, err.text);
    return import_run_end(r->run, more == 0);
}

int import_mbox_messages(struct import_run *run, int fd, const char *path, struct import_target *t)
{
    struct reading r = {.run = run, .fd = fd, .path = path};
    struct stat st;
    struct buf key;
    int rc = 0;

    if (fd < 0 || fstat(fd, &st) != 0) {
        import_run_failed(run, path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        import_run_failed(run, path, "it is no file");
    } else {
        r.mtime = st.st_mtim.tv_sec;
        r.mbox = MEM_NEW(struct mbox);
        r.seen = map_new();
        mbox_init(r.mbox, read_file, &r);
        buf_init(&r.out, PIECE);
        buf_init(&key, IMPORT_KEY_MAX);
        rc = take_all(&r, t, &key);
        buf_fini(&key);
        buf_fini(&r.out);
        mbox_fini(r.mbox);
        mem_free(r.mbox);
        map_free(&r.seen);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}
