/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* forward, vacation: where a user's mail goes, and what is said while they are away. */
#include "appliance/app/admin_session.h"
#include "appliance/base/mem.h"
#include <stdio.h>
#include <time.h>

enum { FORWARD_MAX = 8000, DAYS = 7, DAY_S = 86400 };

/* Changes the options of the user that the first argument names. */
static int change(struct admin_call *c, int (*set)(struct admin_call *c, struct admin_session *s,
                                                   struct directory_options *o))
{
    struct directory_options o;
    struct admin_session s;

    if (admin_begin(c, &s))
        return -1;
    int rc = directory_options_get(s.dir, s.mem, admin_arg(c, 0), &o, &c->err);
    if (rc == 0)
        rc = set(c, &s, &o);
    if (rc == 0)
        rc = directory_options_set(s.dir, admin_arg(c, 0), &o, &c->err);
    return admin_end(&s, rc);
}

/* ---- forward */

static int set_forward(struct admin_call *c, struct admin_session *s, struct directory_options *o)
{
    struct buf joined;

    buf_init(&joined, FORWARD_MAX);
    for (size_t i = 1; i < c->n_args; i++) {
        buf_add_z(&joined, i > 1 ? "," : "");
        buf_add_z(&joined, c->args[i]);
    }
    o->forward = arena_str(s->mem, buf_str(&joined));
    o->keeps = !admin_option(c, "no-copy");
    bool fits = buf_ok(&joined);
    buf_fini(&joined);
    return fits ? 0 : ERR(&c->err, ERR_PERM, "too many addresses to forward to");
}

static int forward_set(struct admin_call *c)
{
    return change(c, set_forward);
}

static int unset_forward(struct admin_call *c, struct admin_session *s, struct directory_options *o)
{
    (void)c;
    (void)s;
    o->forward = STR("");
    o->keeps = true;
    return 0;
}

static int forward_remove(struct admin_call *c)
{
    return change(c, unset_forward);
}

static int forward_show(struct admin_call *c)
{
    struct directory_options o;
    struct admin_session s;
    struct str one;

    if (admin_begin(c, &s))
        return -1;
    int rc = directory_options_get(s.dir, s.mem, admin_arg(c, 0), &o, &c->err);
    if (rc == 0) {
        json_t *to = json_array();
        for (struct str rest = o.forward; rest.n;) {
            str_cut(rest, ',', &one, &rest);
            json_array_append_new(to, admin_str(one));
        }
        c->result =
            json_pack("{so so sb sb sb}", "address", admin_str(admin_arg(c, 0)), "destinations", to,
                      "copy", o.keeps, "sends", o.sends, "receives", o.receives);
    }
    return admin_end(&s, rc);
}

static const char *const forward_options[] = {"no-copy", NULL};
const struct admin_command admin_forward_commands[] = {
    {"forward", "set", "ADDRESS DESTINATION...", 2, 50, forward_options, false, forward_set,
     "Send a user's mail on to other addresses; a copy stays in the mailbox, unless --no-copy."},
    {"forward", "show", "ADDRESS", 1, 1, NULL, false, forward_show,
     "Show where a user's mail is sent on to."},
    {"forward", "remove", "ADDRESS", 1, 1, NULL, false, forward_remove,
     "Send a user's mail nowhere else."},
    {.group = NULL}};

/* ---- vacation */

/* "2026-12-24": when this day begins here, s since 1970. */
static int parse_day(struct admin_call *c, const char *text, int64_t *out)
{
    struct tm tm = {.tm_isdst = -1};
    char *end = strptime(text, "%Y-%m-%d", &tm);
    time_t at = end && !*end ? mktime(&tm) : -1;

    if (at < 0)
        return ERR(&c->err, ERR_PROTO, "'%.50s' is no day: write it as 2026-12-24", text);
    *out = at;
    return 0;
}

static int set_away(struct admin_call *c, struct admin_session *s, struct directory_options *o)
{
    const char *from = admin_option(c, "from"), *until = admin_option(c, "until");

    (void)s;
    o->away = true;
    o->away_from = o->away_until = 0;
    if ((from && parse_day(c, from, &o->away_from)) ||
        (until && parse_day(c, until, &o->away_until)))
        return -1;
    if (until)
        o->away_until += DAY_S; /* that day included */
    return 0;
}

static int vacation_set(struct admin_call *c)
{
    const char *days = admin_option(c, "days"), *subject = admin_option(c, "subject");
    struct directory_notice n = {
        .days = DAYS, .subject = str_from(subject), .text = str_trim(str_from(c->file))};
    struct admin_session s;
    uint64_t number;

    if (days && str_to_u64(str_from(days), 1000, &number))
        return ERR(&c->err, ERR_PROTO, "--days: '%.20s' is not a number of days", days);
    if (days)
        n.days = (int64_t)number;
    if (admin_begin(c, &s))
        return -1;
    if (admin_end(&s, directory_notice_set(s.dir, admin_arg(c, 0), &n, &c->err)))
        return -1;
    return change(c, set_away);
}

static int unset_away(struct admin_call *c, struct admin_session *s, struct directory_options *o)
{
    (void)c;
    (void)s;
    o->away = false;
    o->away_from = o->away_until = 0;
    return 0;
}

static int vacation_remove(struct admin_call *c)
{
    return change(c, unset_away);
}

static json_t *day_text(int64_t at)
{
    struct tm tm;
    char text[40];
    time_t t = (time_t)at;

    if (!at)
        return json_string("-");
    localtime_r(&t, &tm);
    snprintf(text, sizeof text, "%04d-%02d-%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
    return json_string(text);
}

static int vacation_show(struct admin_call *c)
{
    struct directory_options o;
    struct directory_notice n;
    struct admin_session s;

    if (admin_begin(c, &s))
        return -1;
    int rc = directory_options_get(s.dir, s.mem, admin_arg(c, 0), &o, &c->err);
    if (rc == 0)
        rc = directory_notice_get(s.dir, s.mem, admin_arg(c, 0), &n, &c->err);
    if (rc == 0)
        c->result = json_pack(
            "{so sb so so sI so so}", "address", admin_str(admin_arg(c, 0)), "away", o.away, "from",
            day_text(o.away_from), "until", day_text(o.away_until ? o.away_until - 1 : 0), "days",
            (json_int_t)n.days, "subject", admin_str(n.subject), "text", admin_str(n.text));
    return admin_end(&s, rc);
}

static const char *const vacation_options[] = {"subject=", "from=", "until=", "days=", NULL};
const struct admin_command admin_vacation_commands[] = {
    {"vacation", "set", "ADDRESS FILE", 2, 2, vacation_options, ADMIN_FILE, vacation_set,
     "Answer who writes to a user with the text in a file (- for standard input), each sender once "
     "in --days=7 days. --from and --until are days (2026-12-24), both included. Without --subject "
     "it is that of the message. Programs, lists and junk get no answer."},
    {"vacation", "show", "ADDRESS", 1, 1, NULL, false, vacation_show,
     "Show what is answered, and when."},
    {"vacation", "remove", "ADDRESS", 1, 1, NULL, false, vacation_remove,
     "Answer nobody any more. The text is kept."},
    {.group = NULL}};
