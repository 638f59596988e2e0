/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "smtp/params.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"

enum { ADDRESS_TEXT_MAX = 1024, ENVID_MAX = 100, ORCPT_MAX = 500 /* RFC 3461 4.4, 4.2 */ };

struct param {
    struct str name;
    bool has_value;
};

static struct str skip_blanks(struct str s)
{
    while (s.n && s.p[0] == ' ')
        s = str_skip(s, 1);
    return s;
}

static struct str next_word(struct str *rest)
{
    struct str word;
    *rest = skip_blanks(*rest);
    str_cut(*rest, ' ', &word, rest);
    return word;
}

/* "FROM:" or "TO:" and the path. Blanks around the colon are against RFC 5321 3.3, but old clients
 * send them. */
static int parse_path(struct arena *a, struct str args, struct str word, struct address_path *path,
                      struct str *rest, const char *status, struct smtp_refusal *why)
{
    struct err err = {0};
    args = skip_blanks(args);
    if (!str_istarts(args, word))
        return smtp_refuse(why, 501, "5.5.4", "Syntax: " STR_FMT "<address>", STR_ARG(word));
    args = skip_blanks(str_skip(args, word.n));
    if (!args.n || args.p[0] != '<')
        return smtp_refuse(why, 501, status,
                           "The address must stand in angle brackets: " STR_FMT "<address>",
                           STR_ARG(word));
    if (address_path_parse(a, args, path, rest, &err))
        return smtp_refuse(why, 501, status, "Bad address: %s", err.text);
    if (rest->n && rest->p[0] != ' ')
        return smtp_refuse(why, 501, "5.5.4", "Only parameters may follow the address");
    return 0;
}

static struct str format_path(struct arena *a, const struct address_path *path)
{
    struct buf text;
    buf_init(&text, ADDRESS_TEXT_MAX);
    address_path_format(path, &text);
    struct str kept = arena_str(a, buf_str(&text));
    buf_fini(&text);
    return kept;
}

static int set_size(struct smtp_mail_args *m, struct str value, struct smtp_refusal *why)
{
    /* RFC 1870 4: up to 20 digits. What no 64-bit number holds is too large for anybody. */
    if (value.n == 0 || value.n > 20 || str_to_u64(value, UINT64_MAX, &m->size)) {
        for (size_t i = 0; i < value.n; i++)
            if (value.p[i] < '0' || value.p[i] > '9' || value.n > 20)
                return smtp_refuse(why, 501, "5.5.4", "SIZE must be a number of octets");
        if (value.n == 0)
            return smtp_refuse(why, 501, "5.5.4", "SIZE must be a number of octets");
        m->size = UINT64_MAX;
    }
    return 0;
}

static int set_body(struct smtp_mail_args *m, struct str value, struct smtp_refusal *why)
{
    if (str_ieq(value, STR("8BITMIME")))
        m->body_8bit = true;
    else if (!str_ieq(value, STR("7BIT")))
        return smtp_refuse(why, 501, "5.5.4", "BODY must be 7BIT or 8BITMIME");
    m->body = true;
    return 0;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

/* RFC 3461 4 */
static bool is_xtext(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '!' || s.p[i] > '~' || s.p[i] == '=')
            return false;
        if (s.p[i] == '+' && (s.n - i < 3 || !is_hex(s.p[i + 1]) || !is_hex(s.p[i + 2])))
            return false;
    }
    return s.n > 0;
}

/* RFC 3461 4. NULL: it isn't xtext, or holds what can't stand in a report. */
static const char *decode_xtext(struct arena *a, struct str s, size_t *n_out)
{
    size_t n = 0;
    if (!is_xtext(s))
        return NULL;
    char *out = arena_dup(a, s.p, s.n);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '+') {
            const char *hex = "0123456789ABCDEF";
            c = (char)((strchr(hex, s.p[i + 1]) - hex) * 16 + (strchr(hex, s.p[i + 2]) - hex));
            i += 2;
        }
        if (c < ' ' || c > '~')
            return NULL;
        out[n++] = c;
    }
    *n_out = n;
    return out;
}

static int set_ret(struct smtp_mail_args *m, struct str value, struct smtp_refusal *why)
{
    m->dsn = true;
    m->ret = str_ieq(value, STR("FULL"))   ? SMTP_RET_FULL
             : str_ieq(value, STR("HDRS")) ? SMTP_RET_HDRS
                                           : SMTP_RET_NONE;
    return m->ret ? 0 : smtp_refuse(why, 501, "5.5.4", "RET must be FULL or HDRS");
}

static int set_envid(struct arena *a, struct smtp_mail_args *m, struct str value,
                     struct smtp_refusal *why)
{
    m->dsn = true;
    m->envid.p = value.n <= ENVID_MAX ? decode_xtext(a, value, &m->envid.n) : NULL;
    return m->envid.p ? 0
                      : smtp_refuse(why, 501, "5.5.4",
                                    "ENVID must be xtext of at most %d characters", ENVID_MAX);
}

/* Where the name of a parameter stands; -1: nowhere, or twice, or with a value where there is none:
 * *why. */
static int find_param(struct str word, const struct param *table, size_t n, unsigned *seen,
                      struct str *value_out, struct smtp_refusal *why)
{
    struct str name;
    bool has_value = str_cut(word, '=', &name, value_out);
    size_t i = 0;
    while (i < n && !str_ieq(table[i].name, name))
        i++;
    if (i == n)
        return smtp_refuse(why, 555, "5.5.4", "Parameter " STR_FMT " is not known here",
                           STR_ARG(str_take(name, 40)));
    if (*seen & (1u << i))
        return smtp_refuse(why, 501, "5.5.4", STR_FMT " is given twice", STR_ARG(table[i].name));
    *seen |= 1u << i;
    if (has_value != table[i].has_value)
        return smtp_refuse(why, 501, "5.5.4", "Bad value of " STR_FMT, STR_ARG(table[i].name));
    return (int)i;
}

static int set_mail_param(struct arena *a, struct smtp_mail_args *m, struct str word,
                          unsigned *seen, struct smtp_refusal *why)
{
    enum { SIZE, BODY, UTF8, AUTH, RET, ENVID, TLS };
    static const struct param table[] = {
        [SIZE] = {{"SIZE", 4}, true},       [BODY] = {{"BODY", 4}, true},
        [UTF8] = {{"SMTPUTF8", 8}, false},  [AUTH] = {{"AUTH", 4}, true},
        [RET] = {{"RET", 3}, true},         [ENVID] = {{"ENVID", 5}, true},
        [TLS] = {{"REQUIRETLS", 10}, false}};
    struct str value;
    switch (find_param(word, table, ARRAY_LEN(table), seen, &value, why)) {
    case SIZE:
        return set_size(m, value, why);
    case BODY:
        return set_body(m, value, why);
    case UTF8:
        m->utf8 = true;
        return 0;
    case AUTH:
        m->auth = true;
        return is_xtext(value)
                   ? 0
                   : smtp_refuse(why, 501, "5.5.4", "AUTH must be an address in xtext, or <>");
    case RET:
        return set_ret(m, value, why);
    case ENVID:
        return set_envid(a, m, value, why);
    case TLS:
        m->requiretls = true;
        return 0;
    default:
        return -1;
    }
}

int smtp_mail_parse(struct arena *a, struct str args, struct smtp_mail_args *out,
                    struct smtp_refusal *why)
{
    struct str rest;
    unsigned seen = 0;
    *out = (struct smtp_mail_args){0};
    if (parse_path(a, args, STR("FROM:"), &out->path, &rest, "5.1.7", why))
        return -1;
    for (struct str word; (word = next_word(&rest)).n;) {
        out->params = true;
        if (set_mail_param(a, out, word, &seen, why))
            return -1;
    }
    if (!out->path.null && !out->path.domain.n)
        return smtp_refuse(why, 501, "5.1.7", "The sender's address needs a domain");
    if (out->path.utf8 && !out->utf8) /* RFC 6531 3.5 */
        return smtp_refuse(why, 553, "5.6.7", "This sender's address needs SMTPUTF8");
    out->sender = out->path.null ? STR("") : format_path(a, &out->path);
    return 0;
}

/* RFC 3461 4.1: NEVER, or a list without it. */
static int set_notify(struct smtp_rcpt_args *r, struct str value, struct smtp_refusal *why)
{
    static const struct {
        struct str name;
        unsigned bit;
    } words[] = {{{"NEVER", 5}, SMTP_NOTIFY_NEVER},
                 {{"SUCCESS", 7}, SMTP_NOTIFY_SUCCESS},
                 {{"FAILURE", 7}, SMTP_NOTIFY_FAILURE},
                 {{"DELAY", 5}, SMTP_NOTIFY_DELAY}};
    struct str word;
    bool more = true, good = true;
    r->dsn = true;
    while (more && good) {
        unsigned bit = 0;
        more = str_cut(value, ',', &word, &value);
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            if (str_ieq(words[i].name, word))
                bit = words[i].bit;
        good = bit && !(r->notify & bit);
        r->notify |= bit;
    }
    if (!good || ((r->notify & SMTP_NOTIFY_NEVER) && r->notify != SMTP_NOTIFY_NEVER))
        return smtp_refuse(why, 501, "5.5.4",
                           "NOTIFY must be NEVER, or a list of SUCCESS, FAILURE, DELAY");
    return 0;
}

/* RFC 3461 4.2 */
static int set_orcpt(struct arena *a, struct smtp_rcpt_args *r, struct str value,
                     struct smtp_refusal *why)
{
    struct str text;
    bool good =
        value.n <= ORCPT_MAX && str_cut(value, ';', &r->orcpt_type, &text) && r->orcpt_type.n > 0;
    r->dsn = true;
    for (size_t i = 0; good && i < r->orcpt_type.n; i++)
        good = r->orcpt_type.p[i] > ' ' && r->orcpt_type.p[i] <= '~' &&
               !strchr("()<>@,;:\\\"/[]?=", r->orcpt_type.p[i]);
    r->orcpt.p = good ? decode_xtext(a, text, &r->orcpt.n) : NULL;
    return r->orcpt.p ? 0
                      : smtp_refuse(why, 501, "5.5.4",
                                    "ORCPT must be a type, ';' and an address in xtext");
}

static int set_rcpt_param(struct arena *a, struct smtp_rcpt_args *r, struct str word,
                          unsigned *seen, struct smtp_refusal *why)
{
    static const struct param table[] = {{{"NOTIFY", 6}, true}, {{"ORCPT", 5}, true}};
    struct str value;
    switch (find_param(word, table, ARRAY_LEN(table), seen, &value, why)) {
    case 0:
        return set_notify(r, value, why);
    case 1:
        return set_orcpt(a, r, value, why);
    default:
        return -1;
    }
}

int smtp_rcpt_parse(struct arena *a, struct str args, struct smtp_rcpt_args *out,
                    struct smtp_refusal *why)
{
    struct str rest;
    unsigned seen = 0;
    *out = (struct smtp_rcpt_args){0};
    if (parse_path(a, args, STR("TO:"), &out->path, &rest, "5.1.3", why))
        return -1;
    for (struct str word; (word = next_word(&rest)).n;)
        if (set_rcpt_param(a, out, word, &seen, why))
            return -1;
    if (out->path.null)
        return smtp_refuse(why, 501, "5.1.3", "A recipient can't be empty");
    out->rcpt = out->path.domain.n ? format_path(a, &out->path) : arena_str(a, out->path.local);
    return 0;
}

int smtp_bdat_parse(struct str args, struct smtp_bdat_args *out)
{
    struct str size = next_word(&args), last = next_word(&args), more = next_word(&args);
    *out = (struct smtp_bdat_args){.last = str_ieq(last, STR("LAST"))};
    if (more.n || (last.n && !out->last) || size.n > 20)
        return -1;
    return str_to_u64(size, INT64_MAX, &out->size);
}

int smtp_helo_parse(struct arena *a, struct str args, struct str *out)
{
    args = str_trim(args);
    if (!args.n || args.n > 255)
        return -1;
    char *name = arena_dup(a, args.p, args.n);
    for (size_t i = 0; i < args.n; i++)
        if (name[i] <= ' ' || name[i] > '~' || strchr("()<>,;\"\\", name[i]))
            name[i] = '?';
    *out = str_of(name, args.n);
    return 0;
}
