/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/app/export.h"
#include "appliance/app/import_commands.h"
#include "appliance/app/import_count.h"
#include "appliance/base/arena.h"
#include "appliance/base/mem.h"
#include "appliance/mail/address.h"
#include <errno.h>
#include <sys/stat.h>

enum { PATH_BYTES = 4096, ADDRESS_BYTES = 512, DAMAGED_MAX = 300 };

struct run {
    struct import_wire *wire;
    const struct export_form *form;
    void *ctx;
    struct import_count count;
    const char *root;
    struct export_names *names;
    struct arena *mem; /* a mailbox's */
    struct export_folder folder;
};

static int read_keywords(struct run *r, struct err *err)
{
    json_t *answer, *row;
    size_t i;

    if (import_wire_answer(r->wire, true, &answer, err) != 1)
        return -1;
    if (import_wire_error(answer, err) != 0) {
        json_decref(answer);
        return -1;
    }
    json_array_foreach(json_object_get(answer, "keywords"), i, row)
    {
        json_int_t bit = json_integer_value(json_array_get(row, 0));
        if (bit >= 0 && bit < EXPORT_KEYWORDS)
            r->folder.keywords[bit] =
                arena_str(r->mem, str_from(json_string_value(json_array_get(row, 1))));
    }
    json_decref(answer);
    return 0;
}

static void damaged(struct run *r, uint32_t uid)
{
    char text[DAMAGED_MAX + 40];

    snprintf(text, sizeof text, "%.*s, UID %u", (int)str_take(r->folder.name, DAMAGED_MAX).n,
             r->folder.name.p, uid);
    import_count_failed(&r->count, text, "its text can't be read");
}

/* What came after the mailbox was looked at is read and left out: its UID is above uidnext. */
static int take_message(struct run *r, const struct export_message *m, struct err *err)
{
    bool wanted = m->uid < r->folder.uidnext;
    struct str piece;
    int rc;

    if (wanted && r->form->message(r->ctx, m, err) != 0)
        return -1;
    while ((rc = import_wire_piece(r->wire, &piece, err)) == 1)
        if (wanted && r->form->text(r->ctx, piece, err) != 0)
            return -1;
    if (rc < 0 || !wanted)
        return rc < 0 ? -1 : 0;
    if (r->form->message_end(r->ctx, rc == 2, &r->count.bytes, &r->count.keywords_lost, err) != 0)
        return -1;
    if (rc == 2)
        damaged(r, m->uid);
    else
        r->count.imported++;
    import_count_seen(&r->count);
    import_count_show(&r->count, false);
    return 0;
}

static int take_messages(struct run *r, struct err *err)
{
    struct export_message m;
    json_t *line;
    int rc = 0;

    for (bool over = false; rc == 0 && !over;) {
        if (import_wire_answer(r->wire, true, &line, err) != 1)
            return -1;
        over = json_object_get(line, "end") != NULL;
        rc = import_wire_error(line, err);
        m = (struct export_message){
            .uid = (uint32_t)json_integer_value(json_object_get(line, "uid")),
            .flags = (uint64_t)json_integer_value(json_object_get(line, "flags")),
            .internal_ms = json_integer_value(json_object_get(line, "at"))};
        json_decref(line);
        if (rc == 0 && !over)
            rc = take_message(r, &m, err);
    }
    return rc;
}

static int take_folder(struct run *r, json_t *row, const char *root, struct str account,
                       struct err *err)
{
    json_t *fetch = json_pack("{ss sO}", "do", "fetch", "id", json_object_get(row, "id"));

    arena_clear(r->mem);
    r->folder = (struct export_folder){
        .root = root,
        .names = r->names,
        .name = arena_str(r->mem, str_from(json_string_value(json_object_get(row, "name")))),
        .uidvalidity = (uint32_t)json_integer_value(json_object_get(row, "uidvalidity")),
        .uidnext = (uint32_t)json_integer_value(json_object_get(row, "uidnext")),
        .subscribed = json_is_true(json_object_get(row, "subscribed"))};
    import_count_mailbox(&r->count, account, r->folder.name,
                         (uint64_t)json_integer_value(json_object_get(row, "messages")));
    if (import_wire_send(r->wire, fetch, err) != 0 || read_keywords(r, err) != 0 ||
        r->form->begin(r->ctx, &r->folder, err) != 0 || take_messages(r, err) != 0)
        return -1;
    return r->form->end(r->ctx, err);
}

static int take_account(struct run *r, const char *account, const char *root, struct err *err)
{
    json_t *answer, *row;
    size_t i;
    int rc = import_wire_ask(r->wire, json_pack("{ss ss}", "do", "folders", "account", account),
                             &answer, err);

    if (rc != 0)
        return err_context(err, "%s", account);
    if (mkdir(root, 0700) != 0 && errno != EEXIST)
        rc = ERR(err, ERR_PERM, "cannot make %s: %s", root, strerror(errno));
    json_array_foreach(json_object_get(answer, "folders"), i, row)
    {
        if (rc == 0)
            rc = take_folder(r, row, root, str_from(account), err);
    }
    json_decref(answer);
    return rc;
}

/* A folder of the account's name; an address may hold what a path must not. */
static int account_root(struct run *r, const char *account, struct buf *out, struct err *err)
{
    buf_clear(out);
    buf_printf(out, "%s/", r->root);
    size_t at = out->n;
    for (size_t i = 0; account[i]; i++)
        buf_add_char(out, account[i] == '/' || (i == 0 && account[i] == '.') ? '_' : account[i]);
    return export_name_take(r->names, out, at, "") == 0
               ? 0
               : ERR(err, ERR_PERM, "a path that is too long");
}

static int take_accounts(struct run *r, struct err *err)
{
    json_t *answer, *row;
    struct buf path;
    size_t i;
    int rc = import_wire_ask(r->wire, json_pack("{ss}", "do", "accounts"), &answer, err);

    if (rc == 0 && mkdir(r->root, 0700) != 0 && errno != EEXIST)
        rc = ERR(err, ERR_PERM, "cannot make %s: %s", r->root, strerror(errno));
    buf_init(&path, PATH_BYTES);
    json_array_foreach(json_object_get(answer, "accounts"), i, row)
    {
        const char *account = json_string_value(row);
        if (rc == 0)
            rc = account_root(r, account, &path, err);
        if (rc == 0)
            rc = take_account(r, account, buf_z(&path), err);
    }
    buf_fini(&path);
    json_decref(answer);
    return rc;
}

static int take_one(struct run *r, const char *address, struct err *err)
{
    struct buf folded;
    int rc;

    buf_init(&folded, ADDRESS_BYTES);
    rc = address_fold(str_from(address), &folded, err);
    if (rc == 0)
        rc = take_account(r, buf_z(&folded), r->root, err);
    buf_fini(&folded);
    return rc;
}

int export_all(const struct import_call *call, const struct export_form *form, void *ctx)
{
    const char *account = import_option(call, "account");
    struct run r = {.form = form, .ctx = ctx, .root = call->args[0]};
    struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};
    int rc;

    if (import_wire_open(call->data, call->config, true, &r.wire, &err) != 0)
        return import_refused(call, &err);
    import_count_init(&r.count, "export", call->json, call->progress);
    r.mem = arena_new(0);
    r.names = export_names_new();
    rc = account ? take_one(&r, account, &err) : take_accounts(&r, &err);
    import_wire_close(&r.wire);
    arena_free(&r.mem);
    export_names_free(&r.names);
    return import_count_end(&r.count, rc ? &err : NULL);
}
