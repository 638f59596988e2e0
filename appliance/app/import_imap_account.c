/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* import_imap_account.c - one account of another IMAP server, over as many connections as it takes:
 * one that breaks is made again, at once if it brought something, else after a time that grows. */
#include "appliance/app/import_imap.h"
#include "appliance/app/say.h"
#include "appliance/base/mem.h"
#include "imap/client/walk.h"
#include <poll.h>
#include <stdio.h>

enum {
    TRIES_MAX = 12,
    LOGIN_TRIES = 4, /* refused, though it let us in before */
    FIRST_WAIT_MS = 500,
    BUSY_WAIT_MS = 2000,
    LONGEST_WAIT_MS = 300000,
    ADDRESS_BYTES = 512
};
#define MESSAGE_MAX (UINT64_C(1) << 30)

struct source {
    struct import_imap *job;
    const struct import_imap_login *login;
    struct import_run *run;
    struct loop *loop;
    struct tls_ctx *tls;
    struct imap_client_conf conf;
    struct imap_client *client;
    bool was_in;
    unsigned tries;
    struct arena *mem;
    struct imap_folders *listed;
    /* the folder that is read */
    const struct import_imap_folder *folder;
    struct import_target target;
    struct imap_walk walk;
    bool begun, left_out;
    char key[32];
    struct buf name;
};

/* ---- The connection. */

static bool may_try_again(const struct source *s, const struct err *err)
{
    if (err->why == ERR_WHY_CANCELLED || s->tries >= TRIES_MAX)
        return false;
    if (err->kind == ERR_TEMP)
        return s->was_in || err->why == ERR_WHY_BUSY;
    return err->why == ERR_WHY_DENIED && s->was_in && s->tries < LOGIN_TRIES;
}

static void wait_a_while(struct source *s, const struct err *err)
{
    uint64_t ms = err->why == ERR_WHY_BUSY ? BUSY_WAIT_MS : FIRST_WAIT_MS;

    ms <<= s->tries;
    if (ms > LONGEST_WAIT_MS)
        ms = LONGEST_WAIT_MS;
    s->tries++;
    if (!s->job->call->json) {
        char text[512];
        snprintf(text, sizeof text, "%s: %s; trying again in %llu s", s->job->host, err->text,
                 (unsigned long long)(ms + 999) / 1000);
        say_error(text);
    }
    (void)poll(NULL, 0, (int)ms);
}

static int connect_once(struct source *s, struct err *err)
{
    if (imap_client_alive(s->client))
        return 0;
    imap_client_close(&s->client);
    if (imap_client_open(&s->conf, &s->client, err) != 0)
        return -1;
    s->was_in = true;
    return 0;
}

/* Does `what` on a connection, again and again until it is done. Progress is what it says it has
 * done more than before. */
static int persist(struct source *s, int (*what)(struct source *s, struct err *err),
                   uint64_t (*progress)(const struct source *s), struct err *err)
{
    for (;;) {
        uint64_t before = progress ? progress(s) : 0;
        err_clear(err);
        if (connect_once(s, err) == 0 && what(s, err) == 0) {
            s->tries = 0;
            return 0;
        }
        if (progress && progress(s) > before) {
            s->tries = 0;
            if (err->kind == ERR_TEMP && err->why == ERR_WHY_OTHER)
                continue;
        }
        if (!may_try_again(s, err))
            return -1;
        wait_a_while(s, err);
    }
}

/* ---- One folder. */

static const char *message_name(struct source *s, const struct imap_walk_message *m)
{
    buf_clear(&s->name);
    buf_printf(&s->name, "%s: " STR_FMT ", UID %u", s->login->user, STR_ARG(s->folder->name),
               (unsigned)m->uid);
    return buf_z(&s->name);
}

static struct import_message message_of(struct source *s, const struct imap_walk_message *m)
{
    snprintf(s->key, sizeof s->key, "%u/%u", (unsigned)s->target.uidvalidity, (unsigned)m->uid);
    return (struct import_message){.key = str_from(s->key),
                                   .name = message_name(s, m),
                                   .uid = m->uid,
                                   .flags = m->flags,
                                   .keywords = m->keywords,
                                   .n_keywords = m->n_keywords,
                                   .internal_ms = m->date * 1000,
                                   .recent = m->recent};
}

/* What is older than --since isn't looked at, so the next run can't rely on it; what is gone isn't
 * told by modseqs. A number that went back is another history. */
static void use_modseq(struct source *s, const struct imap_walk_mailbox *m)
{
    int64_t last = import_run_last_mark(s->run), now = (int64_t)m->modseq;

    if (!(imap_client_can(s->client) & IMAP_CAN_CONDSTORE) || m->modseq == 0 || m->uidvalidity == 0)
        return;
    if (last > 0 && last <= now && !import_run_removes(s->run))
        s->walk.since = (uint64_t)last;
    if (!s->job->since)
        import_run_mark(s->run, now);
}

static int on_mailbox(void *ctx, const struct imap_walk_mailbox *m)
{
    struct source *s = ctx;
    int rc;

    s->target.uidvalidity = m->uidvalidity;
    s->target.uidnext = m->uidnext;
    s->target.messages = m->exists;
    rc = import_run_begin(s->run, &s->target);
    s->begun = rc == 0;
    s->left_out = rc == 1;
    if (rc == 0)
        use_modseq(s, m);
    return rc == 0 ? 0 : -1;
}

static int on_message(void *ctx, const struct imap_walk_message *m)
{
    struct source *s = ctx;
    struct import_message message = message_of(s, m);

    if (s->job->since && m->has_date && m->date < s->job->since) {
        import_run_still_there(s->run, message.key);
        return 0;
    }
    int rc = import_run_known(s->run, &message);
    return rc < 0 ? -1 : rc == 0;
}

static int on_text(void *ctx, const struct imap_walk_message *m)
{
    struct source *s = ctx;
    struct import_message message = message_of(s, m);

    return import_run_offer(s->run, &message);
}

static int on_piece(void *ctx, struct str piece)
{
    struct source *s = ctx;

    return import_run_text(s->run, piece);
}

static int on_end(void *ctx, bool whole)
{
    struct source *s = ctx;

    return whole ? import_run_text_end(s->run, NULL) : import_run_text_cancel(s->run);
}

static int on_failed(void *ctx, const struct imap_walk_message *m, const char *why)
{
    struct source *s = ctx;

    import_run_failed(s->run, message_name(s, m), why);
    return 0;
}

static int on_gone(void *ctx, const struct imap_walk_message *m)
{
    struct source *s = ctx;

    (void)m;
    import_run_vanished(s->run);
    return 0;
}

static int walk(struct source *s, struct err *err)
{
    return imap_walk(&s->walk, s->client, err);
}

static uint64_t walked(const struct source *s)
{
    return s->walk.settled;
}

/* The source of the store: folders of different users, or of one of which two were brought to one
 * mailbox here, don't know of one another. */
static struct str source_name(struct source *s)
{
    struct str user = str_from(s->login->user);
    size_t at;

    if (import_option(s->job->call, "master") && str_rchr(user, '*', &at))
        user = str_take(user, at);
    return arena_printf(s->mem, "imap:" STR_FMT "@%s/" STR_FMT, STR_ARG(user), s->job->host,
                        STR_ARG(s->folder->name));
}

/* -1: no more of this account. */
static int import_folder(struct source *s, const struct import_imap_folder *f, struct str account,
                         struct err *err)
{
    static const struct imap_walk_events events = {.on_mailbox = on_mailbox,
                                                   .on_message = on_message,
                                                   .on_text = on_text,
                                                   .on_piece = on_piece,
                                                   .on_end = on_end,
                                                   .on_failed = on_failed,
                                                   .on_gone = on_gone};
    bool complete;
    int rc;

    s->folder = f;
    s->begun = s->left_out = false;
    s->target =
        (struct import_target){.account = account, .mailbox = f->place, .special = f->special};
    s->target.source = source_name(s);
    s->walk =
        (struct imap_walk){.mailbox = f->raw, .events = &events, .ctx = s, .max_size = MESSAGE_MAX};
    rc = persist(s, walk, walked, err);
    complete = rc == 0 && s->walk.complete;
    if (complete && s->walk.since && s->target.messages > s->walk.settled)
        import_run_unchanged(s->run, s->target.messages - s->walk.settled);
    imap_walk_fini(&s->walk);
    if (s->left_out)
        return 0;
    if (rc != 0 && err->why == ERR_WHY_CANCELLED)
        return -1;
    if (rc != 0 && err->kind == ERR_PERM && err->why == ERR_WHY_OTHER) { /* this one only */
        struct str name = arena_printf(s->mem, "%s: " STR_FMT, s->login->user, STR_ARG(f->name));
        import_run_failed(s->run, name.p, err->text);
        rc = 0;
    }
    if (s->begun && import_run_end(s->run, complete) != 0)
        return -1;
    return rc;
}

/* ---- All of them. */

static int list_folders(struct source *s, struct err *err)
{
    return imap_client_folders(s->client, s->mem, s->listed, err);
}

static int list_subscribed(struct source *s, struct err *err)
{
    return imap_client_subscribed(s->client, s->mem, s->listed, err);
}

static void on_unnamed(void *ctx, struct str raw)
{
    struct source *s = ctx;

    import_run_failed(s->run, arena_printf(s->mem, STR_FMT, STR_ARG(raw)).p,
                      "a folder whose name can't be read");
}

static int subscribe(struct source *s, const struct import_imap_folder *folders, size_t n,
                     struct str account, struct err *err)
{
    struct imap_folders subscribed;

    s->listed = &subscribed;
    if (persist(s, list_subscribed, NULL, err) != 0)
        return err->kind == ERR_PERM && err->why == ERR_WHY_OTHER ? 0 : -1;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; folders[i].taken && k < subscribed.n; k++)
            if (str_eq(subscribed.list[k].raw, folders[i].raw) &&
                import_run_subscribe(s->run, account, folders[i].place) != 0)
                return -1;
    return 0;
}

static int import_folders(struct source *s, struct str account, struct err *err)
{
    struct import_imap_folder *folders;
    struct imap_folders all;
    size_t n;
    int rc;

    s->listed = &all;
    if (persist(s, list_folders, NULL, err) != 0)
        return -1;
    import_imap_map(&all, s->job->folders, s->job->keep_names, s->mem, &folders, &n, on_unnamed, s);
    rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        if (folders[i].taken)
            rc = import_folder(s, &folders[i], account, err);
    return rc == 0 ? subscribe(s, folders, n, account, err) : -1;
}

static void configure(struct source *s)
{
    const struct import_imap *j = s->job;

    s->conf = (struct imap_client_conf){.loop = s->loop,
                                        .host = j->host,
                                        .ips = j->ip_list,
                                        .n_ips = j->n_ips,
                                        .port = j->port,
                                        .use = j->implicit               ? IMAP_TLS_IMPLICIT
                                               : j->insecure || j->local ? IMAP_TLS_MAY
                                                                         : IMAP_TLS_START,
                                        .tls = s->tls,
                                        .unverified = j->insecure,
                                        .user = s->login->user,
                                        .password = s->login->password};
}

int import_imap_account(struct import_imap *j, const struct import_imap_login *l,
                        struct import_run *run, struct err *err)
{
    struct source s = {.job = j, .login = l, .run = run};
    struct buf account;
    int rc;

    buf_init(&account, ADDRESS_BYTES);
    rc = import_run_account(run, str_from(l->account), &account, err);
    if (rc == 0)
        rc = tls_ctx_client(j->ca, &s.tls, err);
    if (rc == 0) {
        s.loop = loop_new();
        s.mem = arena_new(0);
        buf_init(&s.name, 8192);
        configure(&s);
        rc = import_folders(&s, buf_str(&account), err);
        imap_client_close(&s.client);
        loop_turn(s.loop, false);
        loop_free(&s.loop);
        buf_fini(&s.name);
        arena_free(&s.mem);
    }
    tls_ctx_unref(&s.tls);
    buf_fini(&account);
    return rc == 0 || err->why == ERR_WHY_CANCELLED ? rc : err_context(err, "%s", j->host);
}
