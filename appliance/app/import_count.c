/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/import_count.h"
#include "appliance/app/admin.h"
#include "appliance/app/admin_words.h"
#include "appliance/app/say.h"
#include "appliance/base/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ERRORS_MAX = 1000, TERMINAL_MS = 1000, PIPE_MS = 10000 };

void import_count_init(struct import_count *c, const char *what, bool json, bool progress)
{
    bool terminal = isatty(2);

    *c = (struct import_count){.what = what, .json = json, .progress = progress || terminal};
    c->every_ms = terminal ? TERMINAL_MS : PIPE_MS;
    c->errors = json_array();
    c->renumbered = json_array();
    c->began_ms = c->shown_ms = clock_mono_ms();
}

static json_t *string_of(const char *text)
{
    json_t *v = json_string(text);

    if (v)
        return v;
    struct buf b; /* not UTF-8: as far as it is ASCII */
    buf_init(&b, 4096);
    for (; *text && b.n < b.max; text++)
        buf_add_char(&b, (unsigned char)*text < 0x80 ? *text : '?');
    v = json_string(buf_z(&b));
    buf_fini(&b);
    return v;
}

void import_count_mailbox(struct import_count *c, struct str account, struct str mailbox,
                          uint64_t expected)
{
    if (!str_eq(account, str_from(c->account)))
        c->accounts++;
    c->mailboxes++;
    snprintf(c->account, sizeof c->account, STR_FMT, STR_ARG(account));
    snprintf(c->mailbox, sizeof c->mailbox, STR_FMT, STR_ARG(mailbox));
    c->seen = 0;
    c->expected = expected;
}

void import_count_seen(struct import_count *c)
{
    c->seen++;
}

void import_count_failed(struct import_count *c, const char *file, const char *why)
{
    c->failed++;
    if (json_array_size(c->errors) < ERRORS_MAX)
        json_array_append_new(
            c->errors, json_pack("{so so}", "file", string_of(file), "reason", string_of(why)));
    if (c->json)
        return;
    fputs("posthouse: ", stderr);
    say_word(stderr, file);
    fputs(file[0] ? ": " : "", stderr);
    say_word(stderr, why);
    fputc('\n', stderr);
}

void import_count_renumbered(struct import_count *c, struct str account, struct str mailbox)
{
    char text[600];

    snprintf(text, sizeof text, STR_FMT "/" STR_FMT, STR_ARG(account), STR_ARG(mailbox));
    json_array_append_new(c->renumbered, string_of(text));
}

void import_count_show(struct import_count *c, bool now)
{
    uint64_t at, took;

    if (!c->progress || (!now && (c->seen & 63) && c->seen != c->expected))
        return;
    at = clock_mono_ms();
    if (!now && at - c->shown_ms < c->every_ms)
        return;
    took = at - c->began_ms;
    c->shown_ms = at;
    fprintf(stderr, "posthouse: %s: ", c->what);
    say_word(stderr, c->account);
    fputc(' ', stderr);
    say_word(stderr, c->mailbox);
    fprintf(stderr, ": %llu", (unsigned long long)c->seen);
    if (c->expected)
        fprintf(stderr, " of %llu", (unsigned long long)c->expected);
    fprintf(stderr, " looked at; in all %llu messages, %.1f MB, %llu/s\n",
            (unsigned long long)c->imported, (double)c->bytes / 1e6,
            (unsigned long long)(took ? c->imported * 1000 / took : 0));
}

static int exit_code(const struct import_count *c, const struct err *why)
{
    if (why)
        return admin_exit_code(why);
    return c->failed ? ADMIN_REFUSED : ADMIN_OK;
}

static void report_json(struct import_count *c, int code, const struct err *why)
{
    bool in = strcmp(c->what, "import") == 0;
    json_t *v =
        json_pack("{si sI sI sI sI sI sI sI sO}", "exit", code, "accounts", (json_int_t)c->accounts,
                  "mailboxes", (json_int_t)c->mailboxes, in ? "imported" : "exported",
                  (json_int_t)c->imported, "failed", (json_int_t)c->failed, "bytes",
                  (json_int_t)c->bytes, "keywords_lost", (json_int_t)c->keywords_lost, "seconds",
                  (json_int_t)((clock_mono_ms() - c->began_ms) / 1000), "errors", c->errors);

    if (in)
        json_object_update_new(
            v, json_pack("{sI sI sI sI sI sI sO}", "updated", (json_int_t)c->updated, "unchanged",
                         (json_int_t)c->unchanged, "removed", (json_int_t)c->removed, "vanished",
                         (json_int_t)c->vanished, "without", (json_int_t)c->without, "nul_bytes",
                         (json_int_t)c->nuls, "renumbered", c->renumbered));
    if (why)
        json_object_set_new(v, "error", string_of(why->text));
    (void)say_json(v);
    json_decref(v);
}

static void number(const char *text, uint64_t n)
{
    if (n)
        printf(", %llu %s", (unsigned long long)n, text);
}

static void report_text(const struct import_count *c, const struct err *why)
{
    json_t *name;
    size_t i;

    printf("%llu messages (%.1f MB) %sed", (unsigned long long)c->imported, (double)c->bytes / 1e6,
           c->what);
    number("changed", c->updated);
    number("known and unchanged", c->unchanged);
    number("removed", c->removed);
    number("gone before they were read", c->vanished);
    number("failed", c->failed);
    printf("; %llu mailboxes of %llu accounts\n", (unsigned long long)c->mailboxes,
           (unsigned long long)c->accounts);
    if (c->without)
        printf("%llu users have no mail there\n", (unsigned long long)c->without);
    if (c->nuls)
        printf("%llu NUL bytes were replaced\n", (unsigned long long)c->nuls);
    if (c->keywords_lost)
        printf("%llu keywords found no room\n", (unsigned long long)c->keywords_lost);
    json_array_foreach(c->renumbered, i, name)
    {
        say_word(stdout, json_string_value(name));
        puts(" got a new UIDVALIDITY: messages of its own have UIDs of the source");
    }
    if (why)
        say_error(why->text);
}

int import_count_end(struct import_count *c, const struct err *why)
{
    int code = exit_code(c, why);

    if (c->json)
        report_json(c, code, why);
    else
        report_text(c, why);
    json_decref(c->errors);
    json_decref(c->renumbered);
    return code;
}
