/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* response_parse.c - what FETCH, LIST, NAMESPACE and CAPABILITY say. */
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include "appliance/mail/date.h"
#include "appliance/store/message.h"
#include "imap/client/response.h"

enum { NESTING_MAX = 32 };

/* ---- Tokens. */

static void blanks(struct str *s)
{
    while (s->n && (*s->p == ' ' || *s->p == '\t'))
        *s = str_skip(*s, 1);
}

static bool take(struct str *s, char c)
{
    blanks(s);
    if (!s->n || *s->p != c)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

/* Up to white space or a parenthesis; a section's brackets hold both. */
static struct str atom(struct str *s)
{
    size_t n = 0;
    bool section = false;
    struct str out;

    blanks(s);
    for (; n < s->n; n++) {
        char c = s->p[n];
        if (!section && (c == ' ' || c == '(' || c == ')' || c == '\r' || c == '\n'))
            break;
        section = c == '[' || (section && c != ']');
    }
    out = str_take(*s, n);
    *s = str_skip(*s, n);
    return out;
}

static int quoted(struct str *s, struct arena *a, struct str *out)
{
    size_t n = 1, len = 0;
    char *p;

    while (n < s->n && s->p[n] != '"')
        n += s->p[n] == '\\' ? 2 : 1;
    if (n >= s->n)
        return -1;
    p = arena_alloc(a, n);
    for (size_t i = 1; i < n; i++) {
        if (s->p[i] == '\\')
            i++;
        p[len++] = s->p[i];
    }
    *out = str_of(p, len);
    *s = str_skip(*s, n + 1);
    return 0;
}

static int literal(struct str *s, struct str *out)
{
    struct str digits, rest;
    uint64_t n;

    if (!str_cut(str_skip(*s, 1), '}', &digits, &rest) ||
        str_to_u64(digits, IMAP_RESPONSE_LITERAL, &n) != 0 || !str_starts(rest, STR("\r\n")))
        return -1;
    rest = str_skip(rest, 2);
    if (rest.n < n)
        return -1;
    *out = str_take(rest, (size_t)n);
    *s = str_skip(rest, (size_t)n);
    return 0;
}

/* A string in any form; NIL is .p == NULL. */
static int string(struct str *s, struct arena *a, struct str *out)
{
    blanks(s);
    if (!s->n)
        return -1;
    if (*s->p == '"')
        return quoted(s, a, out);
    if (*s->p == '{')
        return literal(s, out);
    *out = atom(s);
    if (!out->n)
        return -1;
    if (str_ieq(*out, STR("NIL")))
        *out = STR_NULL;
    return 0;
}

static int skip_value(struct str *s, struct arena *a)
{
    unsigned depth = 0;
    struct str ignored;

    do {
        if (take(s, '(')) {
            if (++depth > NESTING_MAX)
                return -1;
        } else if (depth && take(s, ')'))
            depth--;
        else if (string(s, a, &ignored) != 0)
            return -1;
    } while (depth);
    return 0;
}

static int number(struct str *s, uint64_t max, uint64_t *out)
{
    return str_to_u64(atom(s), max, out);
}

/* ---- FETCH. */

static bool is_atom(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || strchr("(){%*\"\\]", s.p[i]))
            return false;
    return s.n > 0 && s.n <= 128;
}

static void one_flag(struct imap_fetched *f, struct str word)
{
    static const struct {
        const char *word;
        uint64_t flag;
    } system[] = {{"\\Seen", MESSAGE_SEEN},
                  {"\\Answered", MESSAGE_ANSWERED},
                  {"\\Flagged", MESSAGE_FLAGGED},
                  {"\\Deleted", MESSAGE_DELETED},
                  {"\\Draft", MESSAGE_DRAFT}};

    for (size_t i = 0; i < ARRAY_LEN(system); i++)
        if (str_ieq(word, str_from(system[i].word)))
            f->flags |= system[i].flag;
    if (str_ieq(word, STR("\\Recent")))
        f->recent = true;
    if (is_atom(word) && f->n_keywords < IMAP_FETCHED_KEYWORDS)
        f->keywords[f->n_keywords++] = word;
}

static int flags(struct str *s, struct arena *a, struct imap_fetched *f)
{
    struct str word;

    if (!take(s, '('))
        return -1;
    f->flags = f->n_keywords = 0;
    if (!f->keywords)
        f->keywords = ARENA_ARRAY(a, struct str, IMAP_FETCHED_KEYWORDS);
    while (!take(s, ')')) {
        word = atom(s);
        if (!word.n)
            return -1;
        one_flag(f, word);
    }
    f->has_flags = true;
    return 0;
}

static int modseq(struct str *s, struct imap_fetched *f)
{
    return take(s, '(') && number(s, INT64_MAX, &f->modseq) == 0 && take(s, ')') ? 0 : -1;
}

static int date(struct str *s, struct arena *a, struct imap_fetched *f)
{
    struct str text;
    struct date d;

    if (string(s, a, &text) != 0)
        return -1;
    f->has_date = date_imap_parse(text, &d) == 0; /* a wrong one is none */
    if (f->has_date)
        f->date = d.at;
    return 0;
}

static bool is_text(struct str name)
{
    return str_ieq(name, STR("RFC822")) || str_ieq(name, STR("BODY[]")) ||
           str_istarts(name, STR("BODY[]<"));
}

static int text(struct str *s, struct arena *a, struct imap_fetched *f)
{
    struct str value;

    blanks(s);
    f->has_text = true;
    if (!s->n) /* it begins here */
        return 0;
    if (string(s, a, &value) != 0)
        return -1;
    f->no_text = !value.p;
    f->text = value;
    return 0;
}

static int item(struct str *s, struct arena *a, struct imap_fetched *f)
{
    struct str name = atom(s);
    uint64_t n;

    if (!name.n)
        return -1;
    if (str_ieq(name, STR("UID"))) {
        if (number(s, UINT32_MAX, &n) != 0)
            return -1;
        f->uid = (uint32_t)n;
        return 0;
    }
    if (str_ieq(name, STR("FLAGS")))
        return flags(s, a, f);
    if (str_ieq(name, STR("INTERNALDATE")))
        return date(s, a, f);
    if (str_ieq(name, STR("MODSEQ")))
        return modseq(s, f);
    if (str_ieq(name, STR("RFC822.SIZE"))) {
        f->has_size = true;
        return number(s, INT64_MAX, &f->size);
    }
    return is_text(name) ? text(s, a, f) : skip_value(s, a);
}

int imap_response_fetched(const struct imap_response *r, struct arena *a, struct imap_fetched *out)
{
    struct str s = r->rest;

    *out = (struct imap_fetched){.seq = (uint32_t)r->number};
    if (!str_ieq(r->name, STR("FETCH")) || r->number == 0 || !take(&s, '('))
        return -1;
    while (!take(&s, ')')) {
        if (item(&s, a, out) != 0)
            return -1;
        blanks(&s);
        if (!s.n) /* its end is yet to come */
            return out->has_text ? 0 : -1;
    }
    return 0;
}

/* ---- LIST. */

static void attribute(struct imap_folder *f, struct str word)
{
    static const struct { /* RFC 6154; the first four are Gmail's and RFC 8457's, too */
        const char *word;
        enum imap_folder_use use;
    } uses[] = {{"\\All", IMAP_FOLDER_VIEW},       {"\\AllMail", IMAP_FOLDER_VIEW},
                {"\\Flagged", IMAP_FOLDER_VIEW},   {"\\Starred", IMAP_FOLDER_VIEW},
                {"\\Important", IMAP_FOLDER_VIEW}, {"\\Sent", IMAP_FOLDER_SENT},
                {"\\Drafts", IMAP_FOLDER_DRAFTS},  {"\\Junk", IMAP_FOLDER_JUNK},
                {"\\Spam", IMAP_FOLDER_JUNK},      {"\\Trash", IMAP_FOLDER_TRASH},
                {"\\Archive", IMAP_FOLDER_ARCHIVE}};

    for (size_t i = 0; i < ARRAY_LEN(uses); i++)
        if (f->use == IMAP_FOLDER_NORMAL && str_ieq(word, str_from(uses[i].word)))
            f->use = uses[i].use;
    if (str_ieq(word, STR("\\Noselect")) || str_ieq(word, STR("\\NonExistent")))
        f->no_select = true;
}

int imap_response_folder(const struct imap_response *r, struct arena *a, struct imap_folder *out)
{
    struct str s = r->rest, word;

    *out = (struct imap_folder){.use = IMAP_FOLDER_NORMAL};
    if ((!str_ieq(r->name, STR("LIST")) && !str_ieq(r->name, STR("LSUB")) &&
         !str_ieq(r->name, STR("XLIST"))) ||
        !take(&s, '('))
        return -1;
    while (!take(&s, ')')) {
        word = atom(&s);
        if (!word.n)
            return -1;
        attribute(out, word);
    }
    if (string(&s, a, &word) != 0 || word.n > 1)
        return -1;
    out->delimiter = word.n ? word.p[0] : '\0';
    if (string(&s, a, &word) != 0 || word.n > 1024)
        return -1;
    out->raw = word.p ? word : STR("NIL"); /* a folder may be called so, in an atom */
    return memchr(out->raw.p, '\0', out->raw.n) ? -1 : 0;
}

int imap_folder_name(const struct imap_folder *f, struct buf *out)
{
    struct buf utf8;
    int rc = 0;

    buf_init(&utf8, 4 * f->raw.n + 16);
    if (text_utf7_decode(f->raw, &utf8) != 0) {
        buf_clear(&utf8); /* sent as it is by servers that don't know better */
        buf_add_str(&utf8, f->raw);
        rc = text_utf8_valid(f->raw) ? 0 : -1;
    }
    for (size_t i = 0; i < utf8.n && rc == 0; i++) {
        char c = utf8.p[i];
        buf_add_char(out, f->delimiter && c == f->delimiter ? '/' : c == '/' ? '_' : c);
    }
    buf_fini(&utf8);
    if (out->n >= 5 && str_ieq(str_take(buf_str(out), 5), STR("INBOX")) &&
        (out->n == 5 || out->p[5] == '/'))
        memcpy(out->p, "INBOX", 5);
    return rc == 0 && buf_ok(out) && out->n ? 0 : -1;
}

/* ---- NAMESPACE. */

static int namespace_list(struct str *s, struct arena *a, struct imap_namespaces *out, bool own)
{
    struct str prefix, ignored;

    if (!take(s, '('))
        return string(s, a, &ignored) == 0 && !ignored.p ? 0 : -1;
    while (!take(s, ')')) {
        if (!take(s, '(') || string(s, a, &prefix) != 0 || string(s, a, &ignored) != 0)
            return -1;
        while (!take(s, ')'))
            if (skip_value(s, a) != 0)
                return -1;
        if (own && !out->has_own) {
            out->own = prefix;
            out->has_own = true;
        } else if (!own && prefix.n && out->n_others < IMAP_NAMESPACES)
            out->others[out->n_others++] = prefix;
    }
    return 0;
}

int imap_response_namespaces(const struct imap_response *r, struct arena *a,
                             struct imap_namespaces *out)
{
    struct str s = r->rest;

    *out = (struct imap_namespaces){.n_others = 0};
    if (!str_ieq(r->name, STR("NAMESPACE")) || namespace_list(&s, a, out, true) != 0 ||
        namespace_list(&s, a, out, false) != 0 || namespace_list(&s, a, out, false) != 0)
        return -1;
    return 0;
}

/* ---- CAPABILITY. */

unsigned imap_response_capabilities(struct str words)
{
    static const struct {
        const char *word;
        unsigned can;
    } known[] = {{"STARTTLS", IMAP_CAN_STARTTLS},
                 {"LOGINDISABLED", IMAP_CAN_NO_LOGIN},
                 {"AUTH=PLAIN", IMAP_CAN_PLAIN},
                 {"AUTH=SCRAM-SHA-256", IMAP_CAN_SCRAM},
                 {"SASL-IR", IMAP_CAN_IR},
                 {"NAMESPACE", IMAP_CAN_NAMESPACE},
                 {"SPECIAL-USE", IMAP_CAN_SPECIAL},
                 {"CONDSTORE", IMAP_CAN_CONDSTORE},
                 {"QRESYNC", IMAP_CAN_CONDSTORE},
                 {"LITERAL+", IMAP_CAN_LITERAL_PLUS},
                 {"LIST-EXTENDED", IMAP_CAN_LIST_EXTENDED}};
    unsigned can = 0;
    struct str word;

    while (words.n) {
        str_cut(words, ' ', &word, &words);
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
            if (str_ieq(word, str_from(known[i].word)))
                can |= known[i].can;
    }
    return can;
}
