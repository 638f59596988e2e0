/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* milter_codec.c - packets of the milter protocol. */
#include "filters/milter_codec.h"
#include "appliance/base/mem.h"
#include <arpa/inet.h>
#include <stdio.h>

enum { LENGTH = 4, TERMS = 12 };

static uint32_t get_u32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;

    return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

static void put_u32(char *p, uint32_t v)
{
    for (int i = 3; i >= 0; i--, v >>= 8)
        p[i] = (char)(v & 0xff);
}

/* ---- Reading. */

enum milter_take milter_take(struct str in, struct milter_packet *out, size_t *size_out)
{
    if (in.n < LENGTH)
        return MILTER_MORE;
    uint32_t n = get_u32(in.p);
    if (n == 0 || n > MILTER_PACKET_MAX)
        return MILTER_BROKEN;
    if (in.n - LENGTH < n)
        return MILTER_MORE;
    *out = (struct milter_packet){in.p[LENGTH], str_of(in.p + LENGTH + 1, n - 1)};
    *size_out = LENGTH + n;
    return MILTER_PACKET;
}

/* A text with its NUL; the view is without. */
static bool take_text(struct str *rest, struct str *out)
{
    size_t at;

    if (!str_chr(*rest, '\0', &at))
        return false;
    *out = str_take(*rest, at);
    *rest = str_skip(*rest, at + 1);
    return true;
}

static int read_macros(struct str rest, struct milter_terms *out, struct err *err)
{
    while (rest.n) {
        struct str names;
        uint32_t stage = rest.n >= LENGTH ? get_u32(rest.p) : MILTER_STAGES;
        rest = str_skip(rest, LENGTH);
        if (stage >= MILTER_STAGES || !take_text(&rest, &names))
            return ERR(err, ERR_PROTO, "its list of macros is malformed");
        out->macros[stage] = names;
    }
    return 0;
}

int milter_read_terms(struct milter_packet p, struct milter_terms *out, struct err *err)
{
    *out = (struct milter_terms){0};
    if (p.code != MILTER_NEGOTIATE || p.data.n < TERMS)
        return ERR(err, ERR_PROTO, "it does not speak the milter protocol");
    out->version = get_u32(p.data.p);
    out->actions = get_u32(p.data.p + 4);
    out->steps = get_u32(p.data.p + 8);
    if (out->version < 2 || out->version > MILTER_VERSION)
        return ERR(err, ERR_PROTO, "it speaks version %u of the protocol, not 2 to %d",
                   out->version, MILTER_VERSION);
    if (out->actions & ~(uint32_t)MILTER_ACTIONS)
        return ERR(err, ERR_PROTO, "it wants to do what was not offered (0x%x)",
                   out->actions & ~(uint32_t)MILTER_ACTIONS);
    if (out->steps & ~(uint32_t)MILTER_STEPS)
        return ERR(err, ERR_PROTO, "it wants protocol steps that were not offered (0x%x)",
                   out->steps & ~(uint32_t)MILTER_STEPS);
    return read_macros(str_skip(p.data, TERMS), out, err);
}

/* Of which shape an answer's data are, and which action it needs. */
enum shape { NOTHING, TEXT, NAME_TEXT, INDEX_NAME_TEXT, TEXT_ARGS, BYTES };
static const struct form {
    char code;
    enum milter_what what;
    enum shape shape;
    uint32_t needs; /* one of these */
} forms[] = {
    {'c', MILTER_CONTINUE, NOTHING, 0},
    {'a', MILTER_ACCEPT, NOTHING, 0},
    {'r', MILTER_REJECT, NOTHING, 0},
    {'t', MILTER_TEMPFAIL, NOTHING, 0},
    {'d', MILTER_DISCARD, NOTHING, 0},
    {'y', MILTER_REPLY, TEXT, 0},
    {'4', MILTER_SHUTDOWN, NOTHING, 0},
    {'f', MILTER_SHUTDOWN, NOTHING, 0},
    {'s', MILTER_SKIP, NOTHING, 0},
    {'p', MILTER_PROGRESS, NOTHING, 0},
    {'q', MILTER_QUARANTINE, TEXT, MILTER_MAY_QUARANTINE},
    {'h', MILTER_HEADER_ADD, NAME_TEXT, MILTER_MAY_ADD_HEADERS},
    {'i', MILTER_HEADER_INSERT, INDEX_NAME_TEXT,
     MILTER_MAY_ADD_HEADERS | MILTER_MAY_CHANGE_HEADERS},
    {'m', MILTER_HEADER_CHANGE, INDEX_NAME_TEXT, MILTER_MAY_CHANGE_HEADERS},
    {'b', MILTER_BODY_REPLACE, BYTES, MILTER_MAY_CHANGE_BODY},
    {'+', MILTER_RCPT_ADD, TEXT, MILTER_MAY_ADD_RCPTS},
    {'2', MILTER_RCPT_ADD, TEXT_ARGS, MILTER_MAY_ADD_RCPTS_ARGS},
    {'-', MILTER_RCPT_DELETE, TEXT, MILTER_MAY_DELETE_RCPTS},
    {'e', MILTER_SENDER, TEXT_ARGS, MILTER_MAY_CHANGE_SENDER},
};

static bool read_data(struct str rest, enum shape shape, struct milter_answer *out)
{
    switch (shape) {
    case NOTHING:
        return true; /* some send more; it means nothing */
    case BYTES:
        out->text = rest;
        return true;
    case INDEX_NAME_TEXT:
        if (rest.n < LENGTH)
            return false;
        out->index = get_u32(rest.p);
        rest = str_skip(rest, LENGTH);
        return take_text(&rest, &out->name) && take_text(&rest, &out->text);
    case NAME_TEXT:
        return take_text(&rest, &out->name) && take_text(&rest, &out->text);
    case TEXT:
        return take_text(&rest, &out->text);
    case TEXT_ARGS:
        return take_text(&rest, &out->text) && (!rest.n || take_text(&rest, &out->args));
    }
    return false;
}

int milter_read_answer(struct milter_packet p, uint32_t actions, struct milter_answer *out,
                       struct err *err)
{
    const struct form *f = NULL;

    *out = (struct milter_answer){0};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        if (forms[i].code == p.code)
            f = &forms[i];
    if (!f)
        return ERR(err, ERR_PROTO, "an answer of an unknown kind (0x%02x)", (unsigned char)p.code);
    out->what = f->what;
    if (f->needs && !(actions & f->needs))
        return ERR(err, ERR_PROTO, "an action (%c) that it has not asked for", p.code);
    if (!read_data(p.data, f->shape, out))
        return ERR(err, ERR_PROTO, "a malformed answer (%c)", p.code);
    return 0;
}

/* ---- Replies to the client. */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "5.7.1 " in front; 0: none. */
static size_t status_length(struct str s)
{
    size_t n = 0, dots = 0;

    while (n < s.n && (is_digit(s.p[n]) || s.p[n] == '.'))
        dots += s.p[n++] == '.';
    return dots == 2 && (n == s.n || s.p[n] == ' ') ? n : 0;
}

static void add_words(char *out, size_t room, struct str words)
{
    size_t n = strlen(out);

    for (size_t i = 0; i < words.n && n + 1 < room; i++) {
        if (words.p[i] == '%' && i + 1 < words.n && words.p[i + 1] == '%')
            i++; /* libmilter wants a percent sign written twice */
        out[n++] = (unsigned char)words.p[i] < ' ' ? ' ' : words.p[i];
    }
    out[n] = '\0';
}

int milter_reply_line(struct str text, char *out, size_t room)
{
    struct str rest = text, line;
    bool more, first = true;

    CHECK(room > 16);
    out[0] = '\0';
    if (text.n < 3 || (text.p[0] != '4' && text.p[0] != '5') || !is_digit(text.p[1]) ||
        !is_digit(text.p[2]))
        return -1;
    do {
        more = str_cut(rest, '\n', &line, &rest);
        line = str_trim(line);
        if (!line.n && !first)
            continue;
        if (line.n < 3 || memcmp(line.p, text.p, 3) != 0 ||
            (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-'))
            return -1;
        if (first)
            snprintf(out, room, "%.3s", text.p);
        struct str words = str_trim(str_skip(line, 4));
        if (!first)
            words = str_trim(str_skip(words, status_length(words)));
        if (words.n)
            add_words(out, room, STR(" "));
        add_words(out, room, words);
        first = false;
    } while (more);
    return 0;
}

struct str milter_address(struct str text)
{
    text = str_trim(text);
    if (text.n >= 2 && text.p[0] == '<' && text.p[text.n - 1] == '>')
        text = str_of(text.p + 1, text.n - 2);
    return text;
}

/* ---- Writing. */

static size_t begin(struct buf *out, enum milter_command code)
{
    size_t at = out->n;
    const char head[LENGTH + 1] = {0, 0, 0, 0, (char)code};

    buf_add(out, head, sizeof head);
    return at;
}

static size_t room_left(const struct buf *out, size_t at)
{
    size_t used = out->n - at - LENGTH - 1;

    return used < MILTER_DATA_MAX ? MILTER_DATA_MAX - used : 0;
}

static void end(struct buf *out, size_t at)
{
    if (buf_ok(out))
        put_u32(out->p + at, (uint32_t)(out->n - at - LENGTH));
}

void milter_put(struct buf *out, enum milter_command code, struct str data)
{
    size_t at = begin(out, code);

    buf_add_str(out, str_take(data, MILTER_DATA_MAX));
    end(out, at);
}

void milter_put_terms(struct buf *out)
{
    char data[TERMS];

    put_u32(data, MILTER_VERSION);
    put_u32(data + 4, MILTER_ACTIONS);
    put_u32(data + 8, MILTER_STEPS);
    milter_put(out, MILTER_NEGOTIATE, str_of(data, sizeof data));
}

/* With its NUL, for which there is always room: what is left for texts after it is kept free. */
static void put_text(struct buf *out, size_t at, struct str text, size_t later)
{
    size_t nul, room = room_left(out, at);

    if (str_chr(text, '\0', &nul))
        text = str_take(text, nul);
    buf_add_str(out, str_take(text, room > later ? room - later - 1 : 0));
    buf_add_char(out, '\0');
}

void milter_put_connect(struct buf *out, struct str name, struct str ip, uint16_t port)
{
    size_t at = begin(out, MILTER_CONNECT);
    bool v6 = memchr(ip.p ? ip.p : "", ':', ip.n) != NULL;
    const char where[2] = {(char)(port >> 8), (char)(port & 0xff)};

    put_text(out, at, name, 64);
    buf_add_char(out, !ip.n ? 'U' : v6 ? '6' : '4');
    if (ip.n) {
        buf_add(out, where, sizeof where);
        put_text(out, at, ip, 0);
    }
    end(out, at);
}

void milter_put_texts(struct buf *out, enum milter_command code, const struct str *texts, size_t n)
{
    size_t at = begin(out, code);

    for (size_t i = 0; i < n && room_left(out, at) >= n - i; i++)
        put_text(out, at, texts[i], n - i - 1);
    end(out, at);
}

void milter_put_macros(struct buf *out, enum milter_command of, const struct str *pairs, size_t n)
{
    size_t at = begin(out, MILTER_MACROS);

    buf_add_char(out, (char)of);
    for (size_t i = 0; i + 1 < n && room_left(out, at) >= n - i; i += 2) {
        put_text(out, at, pairs[i], n - i - 1);
        put_text(out, at, pairs[i + 1], n - i - 2);
    }
    end(out, at);
}
