/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Any charset of mail to UTF-8. Only names on this list reach iconv: its rarer modules have a
 * history of aborts and endless loops on hostile input. Superset charsets stand in for those that
 * senders confuse them with, as browsers do. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <errno.h>
#include <iconv.h>
#include <pthread.h>

enum how { AS_GUESS, AS_UTF8, AS_1252, BY_ICONV, BY_MARK };

struct charset {
    const char *name;
    enum how how;
    const char *iconv; /* NULL: the same name */
    unsigned unit;     /* bytes skipped when one can't be decoded; 0 = 1 */
};

// clang-format off
static const struct charset charsets[] = {
    {"utf-8", AS_UTF8, NULL, 0},
    {"us-ascii", AS_GUESS, NULL, 0},
    {"iso-8859-1", AS_1252, NULL, 0},
    {"windows-1252", AS_1252, NULL, 0},
    {"utf8", AS_UTF8, NULL, 0},
    {"unicode-1-1-utf-8", AS_UTF8, NULL, 0},
    {"ascii", AS_GUESS, NULL, 0},
    {"ansi_x3.4-1968", AS_GUESS, NULL, 0},
    {"iso646-us", AS_GUESS, NULL, 0},
    {"unknown-8bit", AS_GUESS, NULL, 0},
    {"x-unknown", AS_GUESS, NULL, 0},
    {"8bit", AS_GUESS, NULL, 0},
    {"latin1", AS_1252, NULL, 0},
    {"latin-1", AS_1252, NULL, 0},
    {"iso8859-1", AS_1252, NULL, 0},
    {"iso_8859-1", AS_1252, NULL, 0},
    {"cp1252", AS_1252, NULL, 0},
    {"iso-8859-2", BY_ICONV, NULL, 0},
    {"iso8859-2", BY_ICONV, "ISO-8859-2", 0},
    {"latin2", BY_ICONV, "ISO-8859-2", 0},
    {"iso-8859-3", BY_ICONV, NULL, 0},
    {"iso-8859-4", BY_ICONV, NULL, 0},
    {"iso-8859-5", BY_ICONV, NULL, 0},
    {"iso-8859-6", BY_ICONV, NULL, 0},
    {"iso-8859-7", BY_ICONV, NULL, 0},
    {"iso-8859-8", BY_ICONV, NULL, 0},
    {"iso-8859-8-i", BY_ICONV, "ISO-8859-8", 0},
    {"iso-8859-8-e", BY_ICONV, "ISO-8859-8", 0},
    {"iso-8859-9", BY_ICONV, "CP1254", 0},
    {"latin5", BY_ICONV, "CP1254", 0},
    {"iso-8859-10", BY_ICONV, NULL, 0},
    {"iso-8859-11", BY_ICONV, "CP874", 0},
    {"iso-8859-13", BY_ICONV, NULL, 0},
    {"iso-8859-14", BY_ICONV, NULL, 0},
    {"iso-8859-15", BY_ICONV, NULL, 0},
    {"iso8859-15", BY_ICONV, "ISO-8859-15", 0},
    {"latin-9", BY_ICONV, "ISO-8859-15", 0},
    {"iso-8859-16", BY_ICONV, NULL, 0},
    {"windows-1250", BY_ICONV, "CP1250", 0}, {"cp1250", BY_ICONV, NULL, 0},
    {"windows-1251", BY_ICONV, "CP1251", 0}, {"cp1251", BY_ICONV, NULL, 0},
    {"windows-1253", BY_ICONV, "CP1253", 0}, {"cp1253", BY_ICONV, NULL, 0},
    {"windows-1254", BY_ICONV, "CP1254", 0}, {"cp1254", BY_ICONV, NULL, 0},
    {"windows-1255", BY_ICONV, "CP1255", 0}, {"cp1255", BY_ICONV, NULL, 0},
    {"windows-1256", BY_ICONV, "CP1256", 0}, {"cp1256", BY_ICONV, NULL, 0},
    {"windows-1257", BY_ICONV, "CP1257", 0}, {"cp1257", BY_ICONV, NULL, 0},
    {"windows-1258", BY_ICONV, "CP1258", 0}, {"cp1258", BY_ICONV, NULL, 0},
    {"windows-874", BY_ICONV, "CP874", 0}, {"cp874", BY_ICONV, NULL, 0},
    {"tis-620", BY_ICONV, "CP874", 0},
    {"koi8-r", BY_ICONV, NULL, 0}, {"koi8-u", BY_ICONV, NULL, 0},
    {"ibm437", BY_ICONV, NULL, 0}, {"cp437", BY_ICONV, "IBM437", 0},
    {"ibm850", BY_ICONV, NULL, 0}, {"cp850", BY_ICONV, "IBM850", 0},
    {"ibm852", BY_ICONV, NULL, 0}, {"cp852", BY_ICONV, "IBM852", 0},
    {"ibm855", BY_ICONV, NULL, 0}, {"cp855", BY_ICONV, "IBM855", 0},
    {"ibm866", BY_ICONV, NULL, 0}, {"cp866", BY_ICONV, "IBM866", 0},
    {"macintosh", BY_ICONV, NULL, 0}, {"x-mac-cyrillic", BY_ICONV, "MAC-CYRILLIC", 0},
    {"gb2312", BY_ICONV, "GB18030", 0},
    {"gbk", BY_ICONV, "GB18030", 0},
    {"cp936", BY_ICONV, "GB18030", 0},
    {"gb18030", BY_ICONV, NULL, 0},
    {"big5", BY_ICONV, "BIG5-HKSCS", 0},
    {"big5-hkscs", BY_ICONV, NULL, 0},
    {"cp950", BY_ICONV, "BIG5-HKSCS", 0},
    {"shift_jis", BY_ICONV, "CP932", 0},
    {"shift-jis", BY_ICONV, "CP932", 0},
    {"sjis", BY_ICONV, "CP932", 0},
    {"x-sjis", BY_ICONV, "CP932", 0},
    {"windows-31j", BY_ICONV, "CP932", 0},
    {"cp932", BY_ICONV, NULL, 0},
    {"euc-jp", BY_ICONV, "EUC-JP-MS", 0},
    {"iso-2022-jp", BY_ICONV, "ISO-2022-JP-2", 0},
    {"iso-2022-jp-2", BY_ICONV, NULL, 0},
    {"euc-kr", BY_ICONV, "CP949", 0},
    {"ks_c_5601-1987", BY_ICONV, "CP949", 0},
    {"cp949", BY_ICONV, NULL, 0},
    {"iso-2022-kr", BY_ICONV, NULL, 0},
    {"utf-7", BY_ICONV, NULL, 0},
    {"unicode-1-1-utf-7", BY_ICONV, "UTF-7", 0},
    {"utf-16", BY_MARK, "UTF-16BE", 2}, {"utf-16le", BY_ICONV, NULL, 2}, {"utf-16be", BY_ICONV, NULL, 2},
    {"utf-32", BY_MARK, "UTF-32BE", 4}, {"utf-32le", BY_ICONV, NULL, 4}, {"utf-32be", BY_ICONV, NULL, 4},
};
// clang-format on

static const struct charset *find(struct str name)
{
    static const struct charset guess = {"", AS_GUESS, NULL, 0};
    name = str_trim(name);
    if (name.n == 0)
        return &guess;
    for (size_t i = 0; i < ARRAY_LEN(charsets); i++)
        if (str_ieq(name, str_from(charsets[i].name)))
            return &charsets[i];
    return NULL;
}

/* iconv_open reads files and takes a lock, and a search opens the same charset for each message:
 * each thread keeps the last one. */
struct opened {
    const struct charset *of;
    iconv_t cd;
};
static pthread_key_t opened_key;
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;

static void opened_free(void *p)
{
    struct opened *o = p;
    pthread_mutex_lock(&open_lock);
    if (o->of)
        iconv_close(o->cd);
    pthread_mutex_unlock(&open_lock);
    mem_free(o);
}

static void make_key(void) __attribute__((constructor));
static void make_key(void)
{
    CHECK(pthread_key_create(&opened_key, opened_free) == 0);
}

static bool reopen(struct opened *o, const struct charset *c)
{
    pthread_mutex_lock(&open_lock);
    iconv_t cd = iconv_open("UTF-8", c->iconv ? c->iconv : c->name);
    bool ok = cd != (iconv_t)-1;
    if (ok && o->of)
        iconv_close(o->cd);
    if (ok)
        *o = (struct opened){c, cd};
    pthread_mutex_unlock(&open_lock);
    return ok;
}

static bool open_charset(const struct charset *c, iconv_t *cd_out)
{
    struct opened *o = pthread_getspecific(opened_key);
    if (!o) {
        o = MEM_NEW(struct opened);
        pthread_setspecific(opened_key, o);
    }
    if (o->of != c && !reopen(o, c))
        return false;
    *cd_out = o->cd;
    return true;
}

bool text_charset_known(struct str charset)
{
    iconv_t cd;
    const struct charset *c = find(charset);
    return c && (c->how < BY_ICONV || open_charset(c, &cd));
}

static int add_unknown(struct buf *out)
{
    return buf_add(out, "\xef\xbf\xbd", 3);
}

static int from_utf8(struct str in, struct buf *out)
{
    if (text_utf8_valid(in))
        return buf_add_str(out, in);
    size_t good = 0;
    while (good < in.n) {
        uint32_t cp;
        unsigned n = text_utf8_next(str_skip(in, good), &cp);
        good += n;
        if (n)
            continue;
        if (buf_add(out, in.p, good) || add_unknown(out))
            return -1;
        in = str_skip(in, good + 1);
        good = 0;
    }
    return buf_add(out, in.p, good);
}

static int from_1252(struct str in, struct buf *out)
{
    /* 0x80 to 0x9f; the five that are not assigned stay control characters */
    static const uint16_t high[32] = {
        0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
        0x2039, 0x152,  0x8d,   0x17d,  0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};
    char part[512];
    size_t n = 0;
    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];
        n += text_utf8_put(c >= 0x80 && c < 0xa0 ? high[c - 0x80] : c, part + n);
        if (n + 4 > sizeof part) {
            if (buf_add(out, part, n))
                return -1;
            n = 0;
        }
    }
    return buf_add(out, part, n);
}

static int from_iconv(iconv_t cd, unsigned unit, struct str in, struct buf *out)
{
    char *p = (char *)(uintptr_t)in.p; /* iconv doesn't write there, but its type says it may */
    size_t left = in.n;
    iconv(cd, NULL, NULL, NULL, NULL);
    for (;;) {
        char part[1024], *to = part;
        size_t room = sizeof part;
        bool flushing = left == 0; /* some keep a character back that the next might change */
        int why = iconv(cd, flushing ? NULL : &p, &left, &to, &room) == (size_t)-1 ? errno : 0;
        if (buf_add(out, part, sizeof part - room))
            return -1;
        if (why && why != E2BIG) {
            size_t skip = why == EINVAL ? left : unit ? unit : 1; /* EINVAL: half a character */
            if (add_unknown(out))
                return -1;
            p += skip < left ? skip : left;
            left -= skip < left ? skip : left;
        }
        if (flushing && why != E2BIG)
            return 0;
    }
}

/* UTF-16 and UTF-32 by their byte order mark; glibc's own converter remembers the mark of the text
 * before. RFC 2781 4.3: without one it is big-endian. */
static const struct charset *by_mark(const struct charset *c, struct str *in)
{
    struct str big = c->unit == 2 ? STR("\xfe\xff") : STR("\0\0\xfe\xff");
    struct str little = c->unit == 2 ? STR("\xff\xfe") : STR("\xff\xfe\0\0");
    if (str_starts(*in, big)) {
        *in = str_skip(*in, big.n);
    } else if (str_starts(*in, little)) {
        *in = str_skip(*in, little.n);
        return find(c->unit == 2 ? STR("utf-16le") : STR("utf-32le"));
    }
    return c;
}

int text_to_utf8(struct str charset, struct str in, struct buf *out)
{
    const struct charset *c = find(charset);
    iconv_t cd;
    if (!c || c->how == AS_UTF8)
        return from_utf8(in, out);
    if (c->how == AS_GUESS)
        return text_utf8_valid(in) ? buf_add_str(out, in) : from_1252(in, out);
    if (c->how == AS_1252)
        return text_ascii(in) ? buf_add_str(out, in) : from_1252(in, out);
    if (c->how == BY_MARK)
        c = by_mark(c, &in);
    return open_charset(c, &cd) ? from_iconv(cd, c->unit, in, out) : from_utf8(in, out);
}
