/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* What a program writes to sendmail, as a message for SMTP. */
#include "appliance/app/sendmail.h"
#include "appliance/base/mem.h"
#include "appliance/mail/address.h"
#include "appliance/mail/header.h"
#include <errno.h>
#include <unistd.h>

enum { PIECE = 64 << 10, ADDRESSES_MAX = 1000, NAME_MAX_ = 200 };

/* ---- Lines: what the last octets were, in *state. */
enum { AT_START, IN_LINE, AFTER_CR, AFTER_DOT, AFTER_DOT_CR, ENDED };

bool sendmail_add(struct sendmail_job *j, struct str address)
{
    struct sendmail_list *l = &j->rcpts;

    for (size_t i = 0; i < l->n; i++)
        if (str_eq(l->at[i], address))
            return true;
    if (l->n == SENDMAIL_RCPTS_MAX)
        return false;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 16;
        struct str *at = ARENA_ARRAY(j->arena, struct str, cap);
        if (l->n)
            memcpy(at, l->at, l->n * sizeof *at);
        l->at = at;
        l->cap = cap;
    }
    l->at[l->n++] = arena_str(j->arena, address);
    return true;
}

static void take_char(struct sendmail_job *j, char c, unsigned *state)
{
    bool after_dot = *state == AFTER_DOT || *state == AFTER_DOT_CR;

    if (c == '\n') {
        if (after_dot && j->dots) {
            *state = ENDED;
            return;
        }
        if (after_dot)
            buf_add_char(&j->text, '.');
        buf_add(&j->text, "\r\n", 2);
        *state = AT_START;
        return;
    }
    if (*state == AFTER_DOT && c == '\r') {
        *state = AFTER_DOT_CR;
        return;
    }
    if (after_dot)
        buf_add_char(&j->text, '.');
    if ((*state == AFTER_CR || *state == AFTER_DOT_CR) && c != '\r')
        buf_add(&j->text, "\r\n", 2); /* a CR alone ended a line on some systems */
    if (c == '\r') {
        *state = AFTER_CR;
    } else if (c == '.' && (*state == AT_START || *state == AFTER_CR)) {
        *state = AFTER_DOT;
    } else {
        buf_add_char(&j->text, c);
        *state = IN_LINE;
    }
}

int sendmail_take(struct sendmail_job *j, struct str piece, unsigned *state, struct err *err)
{
    for (size_t i = 0; i < piece.n && *state != ENDED; i++) {
        const char *from = piece.p + i;
        size_t n = 0;
        if (*state == IN_LINE)
            while (i + n < piece.n && from[n] != '\n' && from[n] != '\r' && from[n])
                n++;
        if (n) {
            buf_add(&j->text, from, n);
            i += n - 1;
        } else if (!piece.p[i]) {
            return ERR(err, ERR_PROTO, "the message holds a NUL");
        } else {
            take_char(j, piece.p[i], state);
        }
    }
    if (!buf_ok(&j->text))
        return ERR_WHY(err, ERR_PROTO, ERR_WHY_LIMIT, "the message is larger than %zu MB",
                       j->text.max >> 20);
    return *state == ENDED;
}

/* The last line may have no end. */
static void end_lines(struct sendmail_job *j, unsigned state)
{
    if (state == AFTER_DOT || state == AFTER_DOT_CR) {
        if (j->dots)
            return;
        buf_add_char(&j->text, '.');
    }
    if (state != AT_START && state != ENDED)
        buf_add(&j->text, "\r\n", 2);
}

int sendmail_read(int fd, struct sendmail_job *j, struct err *err)
{
    char *piece = mem_alloc(PIECE);
    unsigned state = AT_START;
    int rc = 0;
    ssize_t n;

    while (rc == 0) {
        n = read(fd, piece, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = ERR(err, ERR_TEMP, "cannot read the message: %s", strerror(errno));
        if (n <= 0)
            break;
        rc = sendmail_take(j, str_of(piece, (size_t)n), &state, err);
    }
    mem_free(piece);
    end_lines(j, state);
    return rc < 0 ? -1 : 0;
}

/* ---- The head. */
static struct str head_of(const struct sendmail_job *j)
{
    struct header_split split = {0};
    struct str text = buf_str(&j->text);
    uint64_t end;

    if (header_split_feed(&split, text, &end) == HEADER_SPLIT_MORE)
        return text;
    return str_take(text, (size_t)end);
}

static bool one_of(struct str name, const char *const *names)
{
    for (; *names; names++)
        if (str_ieq(name, str_from(*names)))
            return true;
    return false;
}

static int add_address(struct sendmail_job *j, const struct address *a, struct err *err)
{
    struct buf text;
    bool ok = true;

    buf_init(&text, 1024);
    if (a->mailbox.p && a->host.p && !str_eq(a->mailbox, ADDRESS_NO_MAILBOX)) {
        bool ours = str_eq(a->host, ADDRESS_NO_DOMAIN); /* a user of this machine */
        struct address_path path = {.local = a->mailbox, .domain = ours ? STR_NULL : a->host};
        address_path_format(&path, &text);
        ok = sendmail_add(j, buf_str(&text));
    }
    buf_fini(&text);
    return ok ? 0
              : ERR_WHY(err, ERR_PROTO, ERR_WHY_LIMIT, "more than %d recipients",
                        SENDMAIL_RCPTS_MAX);
}

static int collect(struct sendmail_job *j, struct str head, struct err *err)
{
    static const char *const usual[] = {"To", "Cc", "Bcc", NULL};
    static const char *const resent[] = {"Resent-To", "Resent-Cc", "Resent-Bcc", NULL};
    const char *const *names = usual;
    struct header_field f;
    struct str rest = head;

    while (header_next(&rest, &f)) /* RFC 5322 3.6.6: sent again, to others */
        if (one_of(f.name, resent))
            names = resent;
    for (rest = head; header_next(&rest, &f);) {
        struct address *list;
        if (!one_of(f.name, names))
            continue;
        size_t n = address_list_parse(j->arena, f.value, ADDRESSES_MAX, &list);
        for (size_t i = 0; i < n; i++)
            if (add_address(j, &list[i], err))
                return -1;
    }
    return 0;
}

void sendmail_from(const struct sendmail_job *j, struct str address, struct buf *out)
{
    struct str name = str_take(j->full_name, NAME_MAX_);

    buf_add_z(out, "From: ");
    if (name.n) {
        buf_add_char(out, '"');
        for (size_t i = 0; i < name.n; i++) {
            if (name.p[i] == '"' || name.p[i] == '\\')
                buf_add_char(out, '\\');
            buf_add_char(out, (unsigned char)name.p[i] < 0x20 ? ' ' : name.p[i]);
        }
        buf_add_z(out, "\" ");
    }
    buf_printf(out, "<" STR_FMT ">\r\n", STR_ARG(address));
}

/* What mbox files have before each message. */
static void drop_mbox_line(struct sendmail_job *j)
{
    size_t at;

    if (str_starts(buf_str(&j->text), STR("From ")) && str_chr(buf_str(&j->text), '\n', &at))
        buf_drop(&j->text, at + 1);
}

int sendmail_finish(struct sendmail_job *j, struct err *err)
{
    static const char *const hidden[] = {"Bcc", "Resent-Bcc", NULL};
    struct header_field f;
    struct buf out;
    struct str head, rest;

    drop_mbox_line(j);
    rest = head = head_of(j);
    if (j->from_headers && collect(j, head, err))
        return -1;
    buf_init(&out, j->text.max + 4096);
    j->needs_from = !header_find(head, STR("From"), 0, &f);
    while (header_next(&rest, &f))
        if (!j->from_headers || !one_of(f.name, hidden))
            buf_add_str(&out, f.raw);
    buf_add(&out, "\r\n", 2);
    buf_add_str(&out, str_skip(buf_str(&j->text), head.n));
    buf_fini(&j->text);
    j->text = out;
    return 0;
}
