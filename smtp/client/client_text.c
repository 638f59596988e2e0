/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/base/text.h"
#include "smtp/client/client_private.h"
#include <stdio.h>

void client_fault(struct smtp_fault *f, enum smtp_fault_kind kind, const char *status,
                  const char *stage, const char *fmt, ...)
{
    struct buf text;
    va_list ap;
    *f = (struct smtp_fault){.kind = kind};
    snprintf(f->status, sizeof f->status, "%s", status);
    snprintf(f->stage, sizeof f->stage, "%s", stage);
    buf_init(&text, 1024);
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    smtp_text_copy(f->text, sizeof f->text, buf_str(&text));
    buf_fini(&text);
}

/* RFC 5321 4.2.3 in the words of RFC 3463, for hosts that don't speak these. */
static void guess_status(unsigned code, const char *stage, char out[12])
{
    static const struct {
        unsigned code;
        const char *stage, *status;
    } known[] = {{421, NULL, "4.3.2"},   {450, "RCPT", "4.2.0"}, {452, "RCPT", "4.5.3"},
                 {451, NULL, "4.3.0"},   {452, NULL, "4.3.1"},   {454, "AUTH", "4.7.0"},
                 {500, NULL, "5.5.2"},   {501, NULL, "5.5.4"},   {502, NULL, "5.5.1"},
                 {503, NULL, "5.5.1"},   {504, NULL, "5.5.4"},   {530, NULL, "5.7.0"},
                 {535, NULL, "5.7.8"},   {550, "RCPT", "5.1.1"}, {551, "RCPT", "5.1.6"},
                 {552, "RCPT", "5.2.2"}, {552, NULL, "5.3.4"},   {553, "RCPT", "5.1.3"},
                 {553, "MAIL", "5.1.7"}, {555, NULL, "5.5.4"}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].code == code && (!known[i].stage || strcmp(known[i].stage, stage) == 0)) {
            snprintf(out, 12, "%s", known[i].status);
            return;
        }
    snprintf(out, 12, "%u.0.0", code / 100 % 10);
}

void client_fault_of(struct smtp_fault *f, enum smtp_fault_kind kind, const struct smtp_answer *a,
                     const char *stage)
{
    *f = (struct smtp_fault){.kind = kind, .code = a->code, .remote = true};
    snprintf(f->stage, sizeof f->stage, "%s", stage);
    if (a->status[0])
        memcpy(f->status, a->status, sizeof f->status);
    else
        guess_status(a->code, stage, f->status);
    smtp_text_copy(f->text, sizeof f->text, buf_str(&a->text));
}

enum smtp_fault_kind client_kind_of(unsigned code)
{
    return code < 500 ? SMTP_FAULT_TEMP : SMTP_FAULT_PERM;
}

void smtp_fault_reply(const struct smtp_fault *f, char *out, size_t cap)
{
    char code[16] = "";
    if (f->code)
        snprintf(code, sizeof code, "%u ", f->code);
    snprintf(out, cap, "%s%s%s%s", code, f->status, f->text[0] ? " " : "", f->text);
}

void smtp_fault_text(const struct smtp_fault *f, const char *host, char *out, size_t cap)
{
    char reply[sizeof f->text + 32];
    if (f->remote)
        smtp_fault_reply(f, reply, sizeof reply);
    else
        snprintf(reply, sizeof reply, "%s", f->text);
    snprintf(out, cap, "%s%s: %s (%s)", host, f->remote ? " said" : "", reply, f->stage);
}

void client_xtext(struct str s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c > ' ' && c < 0x7f && c != '+' && c != '=')
            buf_add_char(out, (char)c);
        else
            buf_printf(out, "+%02X", c);
    }
}

/* RFC 6533 3, utf-8-addr-xtext: ASCII, so that it can go to any host. */
static void utf8_xtext(struct str s, struct buf *out)
{
    while (s.n) {
        uint32_t cp = '?';
        unsigned n = text_utf8_next(s, &cp);
        if (n == 1 && cp > ' ' && cp < 0x7f && cp != '+' && cp != '=' && cp != '\\')
            buf_add_char(out, (char)cp);
        else
            buf_printf(out, "\\x{%02X}", n ? (unsigned)cp : '?');
        s = str_skip(s, n ? n : 1);
    }
}

void client_orcpt(struct str s, struct buf *out)
{
    struct str type, address;
    if (!str_cut(s, ';', &type, &address) || type.n == 0)
        return;
    for (size_t i = 0; i < type.n; i++)
        if (type.p[i] <= ' ' || type.p[i] >= 0x7f || strchr("+=<>", type.p[i]))
            return;
    if (text_ascii(address) && !str_ieq(type, STR("utf-8"))) {
        buf_add_str(out, type);
        buf_add_char(out, ';');
        client_xtext(address, out);
    } else {
        buf_add_z(out, "utf-8;");
        utf8_xtext(address, out);
    }
}

/* A bare LF begins a line too: a host that takes it for one must not see our dot as the end. */
void client_stuff(struct smtp_stuffer *s, struct str piece, void (*put)(void *, struct str),
                  void *ctx)
{
    size_t from = 0;
    if (piece.n == 0)
        return;
    if ((!s->inside || s->last == '\n') && piece.p[0] == '.')
        put(ctx, STR("."));
    for (;;) {
        const char *at = memmem(piece.p + from, piece.n - from, "\n.", 2);
        if (!at)
            break;
        size_t to = (size_t)(at - piece.p) + 1;
        put(ctx, str_of(piece.p + from, to - from));
        put(ctx, STR("."));
        from = to;
    }
    put(ctx, str_skip(piece, from));
    /* What precedes the last octet tells CRLF from LF. */
    char before = piece.n > 1 ? piece.p[piece.n - 2] : s->inside ? s->last : '\0';
    s->last = piece.p[piece.n - 1];
    s->inside = true;
    s->crlf = before == '\r' && s->last == '\n';
}

struct str client_line_end(const struct smtp_stuffer *s)
{
    if (!s->inside || s->crlf)
        return STR("");
    return s->last == '\r' ? STR("\n") : STR("\r\n");
}
