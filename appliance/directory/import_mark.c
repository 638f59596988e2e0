/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/directory/import_mark.h"

#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <openssl/evp.h>

static bool add(EVP_MD_CTX *ctx, struct str s)
{
    uint64_t length = s.n;
    return EVP_DigestUpdate(ctx, &length, sizeof length) && EVP_DigestUpdate(ctx, s.p, s.n);
}

struct str import_mark(struct arena *m, const char *kind, struct str name, const char *column,
                       struct str value)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    struct buf text;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) && add(ctx, str_from(kind)) &&
              add(ctx, name) && add(ctx, str_from(column)) && add(ctx, value) &&
              EVP_DigestFinal_ex(ctx, md, &n);
    CHECK(ok && n >= 6);
    EVP_MD_CTX_free(ctx);
    buf_init(&text, 16);
    text_base64_encode(str_of(md, 6), &text);
    struct str out = arena_str(m, str_take(buf_str(&text), IMPORT_MARK));
    buf_fini(&text);
    return out;
}

bool import_is_upgrade(struct str note, struct str ours, struct str theirs)
{
    return note.n == 2 * IMPORT_MARK && str_eq(str_take(note, IMPORT_MARK), ours) &&
           str_eq(str_skip(note, IMPORT_MARK), theirs);
}

/* The digest of that row, memory from m; .p NULL: there is none. */
static int read_row(struct sql *db, struct arena *m, const char *kind, struct str name,
                    struct str *out, struct err *err)
{
    struct sql_stmt *st;
    *out = STR_NULL;
    if (sql_prepare(db, "SELECT digest FROM directory_import WHERE kind = ? AND name = ?", &st,
                    err) < 0)
        return -1;
    sql_bind_text(st, 1, str_from(kind));
    sql_bind_text(st, 2, name);
    int r = sql_step(st, err);
    if (r == 1)
        *out = arena_str(m, sql_text(st, 0));
    sql_reset(st);
    return r < 0 ? -1 : 0;
}

static int note(struct sql *db, struct arena *m, struct str account, struct str old,
                struct str hash, struct err *err)
{
    struct str brought, last;
    struct sql_stmt *st;
    struct str was = import_mark(m, "user", account, IMPORT_PASSWORD, old);
    struct str is = import_mark(m, "user", account, IMPORT_PASSWORD, hash);
    if (read_row(db, m, "user", account, &brought, err) < 0 ||
        read_row(db, m, IMPORT_UPGRADED, account, &last, err) < 0)
        return -1;
    if (!brought.p)
        return 0;
    /* What is upgraded twice stands for what there was before the first time. */
    if (last.n == 2 * IMPORT_MARK && str_eq(str_take(last, IMPORT_MARK), was))
        was = str_skip(last, IMPORT_MARK);
    const char *text = last.p
                           ? "UPDATE directory_import SET digest = ? WHERE kind = ? AND name = ?"
                           : "INSERT INTO directory_import (digest, kind, name) VALUES (?, ?, ?)";
    if (sql_prepare(db, text, &st, err) < 0)
        return -1;
    sql_bind_text(st, 1, arena_printf(m, STR_FMT STR_FMT, STR_ARG(is), STR_ARG(was)));
    sql_bind_text(st, 2, STR(IMPORT_UPGRADED));
    sql_bind_text(st, 3, account);
    return sql_run(st, err);
}

int import_note_upgrade(struct sql *db, struct str account, struct str old, struct str hash,
                        struct err *err)
{
    struct arena *m = arena_new(0);
    int r = note(db, m, account, old, hash, err);
    arena_free(&m);
    return r;
}
