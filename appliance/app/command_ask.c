/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/command_ask.h"
#include "appliance/app/config.h"
#include "appliance/app/control.h"
#include "appliance/app/database.h"
#include "appliance/app/datadir.h"
#include "appliance/app/folder.h"
#include "appliance/base/mem.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAUSE_MS = 50, PATIENCE_MS = 5000 };

/* ---- long results come in pages */

static void ask_after(json_t *request, const char *id, bool again)
{
    json_t *argv = json_object_get(request, "argv"), *after = json_sprintf("--after=%s", id);

    if (again)
        json_array_set_new(argv, json_array_size(argv) - 1, after);
    else
        json_array_append_new(argv, after);
}

/* Joins a page to what there is, and makes the request the one for the next. False: that was the
 * last. */
static bool take_page(json_t *request, json_t *page, json_t **all)
{
    const char *more = json_string_value(json_object_get(page, "more"));
    bool first = !*all, goes_on = more != NULL;

    if (more)
        ask_after(request, more, !first);
    json_object_del(page, "more");
    if (first) {
        *all = page;
    } else if (json_is_array(json_object_get(page, "result"))) {
        json_array_extend(json_object_get(*all, "result"), json_object_get(page, "result"));
        json_decref(page);
    } else { /* it failed: then as a whole */
        json_decref(*all);
        *all = page;
    }
    return goes_on;
}

/* ---- without a daemon */
static int answer_here(const struct config *configured, struct datadir *d, bool reads,
                       json_t *request, json_t **reply_out, struct err *err)
{
    struct store *store = NULL;
    struct guard *guard = NULL;
    struct config config;
    struct loop *loop;

    if (config_defaults(&config, err))
        return -1;
    const struct config *c = configured ? configured : &config;
    struct store_conf store_conf = c->store;
    struct directory_conf directory = c->directory;
    store_conf.as_is = directory.as_is = reads;
    loop = loop_new();
    if (database_check_folder(d, &c->database, err) == 0 &&
        store_open(d->path, &store_conf, loop, &store, err) == 0 &&
        (reads || database_claim_folder(d, &c->database, err) == 0)) {
        const struct guard_env env = {.loop = loop, .store = store, .conf = &c->guard};
        if (!control_on_loop(request) || guard_open(&env, &guard, err) == 0)
            while (take_page(
                request,
                control_answer(d->path, &directory, c->smtp.global_aliases, store, guard, request),
                reply_out))
                ;
        guard_close(&guard);
    }
    store_close(&store);
    loop_turn(loop, false);
    loop_free(&loop);
    config_free(&config);
    return *reply_out ? 0 : -1;
}

static int ask_daemon(int dirfd, json_t *request, json_t **reply_out, struct err *err)
{
    json_t *page;

    do {
        if (control_ask(dirfd, request, &page, err)) {
            json_decref(*reply_out);
            *reply_out = NULL;
            return -1;
        }
    } while (take_page(request, page, reply_out));
    return 0;
}

static int try_in(struct datadir *d, const struct config *configured, bool reads, json_t *request,
                  json_t **reply_out, bool *held_out, struct err *err)
{
    int rc = datadir_lock(d, err);

    *held_out = false;
    if (rc == 0)
        return answer_here(configured, d, reads, request, reply_out, err);
    if (err->why != ERR_WHY_BUSY)
        return rc;
    rc = ask_daemon(d->fd, request, reply_out, err);
    *held_out = rc != 0 && err->why == ERR_WHY_NOT_FOUND;
    return rc;
}

/* Whether somebody else holds it than when it was asked last. */
static bool changed_hands(const struct datadir *d, char known[sizeof d->owner])
{
    if (strcmp(d->owner, known) == 0)
        return false;
    memcpy(known, d->owner, sizeof d->owner);
    return true;
}

/* In the folder that was opened. Whoever holds it without answering is another command, or a server
 * that has just been started: that passes. Patience is with each of them: many commands at once
 * come to their turn however slow the disk is. */
static int ask_in(struct datadir *d, const struct config *configured, bool reads, json_t *request,
                  json_t **reply_out, struct err *err)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    char owner[sizeof d->owner] = "";
    unsigned waited = 0;
    bool held;
    int rc = try_in(d, configured, reads, request, reply_out, &held, err);

    while (rc && held && waited < PATIENCE_MS) {
        waited = changed_hands(d, owner) ? 0 : waited + PAUSE_MS;
        nanosleep(&pause, NULL);
        rc = try_in(d, configured, reads, request, reply_out, &held, err);
    }
    datadir_close(d);
    return rc;
}

int command_read_folder(const char *data, const struct config *configured, json_t *request,
                        json_t **reply_out, struct err *err)
{
    struct datadir d;

    *reply_out = NULL;
    if (folder_become_owner(data, err) || datadir_open(data, false, &d, err))
        return -1;
    return ask_in(&d, configured, true, request, reply_out, err);
}

int command_ask(struct command_target *t, json_t *request, json_t **reply_out, struct err *err)
{
    const char *data = folder_find(t->data, t->config, &t->configured, err);
    struct datadir d;

    if (!data || folder_become_owner(data, err))
        return -1;
    if (datadir_open(data, false, &d, err)) {
        if (t->data)
            return -1;
        if (t->configured && err->why == ERR_WHY_NOT_FOUND)
            return ERR(err, ERR_PERM,
                       "there is no data folder %s yet (main.data): start posthouse serve once, "
                       "which makes it for its user",
                       data);
        return err_context(err, "say --data DIR or set POSTHOUSE_DATA");
    }
    return ask_in(&d, t->configured, t->reads, request, reply_out, err);
}

int command_target_word(struct command_target *t, int argc, char **argv, int i)
{
    if (strncmp(argv[i], "--data=", 7) == 0)
        t->data = argv[i] + 7;
    else if (strncmp(argv[i], "--config=", 9) == 0)
        t->config = argv[i] + 9;
    else if (strcmp(argv[i], "--data") == 0 && i + 1 < argc)
        t->data = argv[i + 1];
    else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
        t->config = argv[i + 1];
    else
        return 0;
    return strchr(argv[i], '=') ? 1 : 2;
}

void command_target_init(struct command_target *t)
{
    *t = (struct command_target){.data = getenv("POSTHOUSE_DATA")};
    if (t->data && !t->data[0])
        t->data = NULL;
}

void command_target_fini(struct command_target *t)
{
    config_unref(&t->configured);
}
