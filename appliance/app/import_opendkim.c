/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* posthouse import opendkim: the keys that OpenDKIM signs with, by its KeyTable and SigningTable.
 */
#include "appliance/app/admin.h"
#include "appliance/app/import_commands.h"
#include "appliance/app/import_wire.h"
#include "appliance/app/say.h"
#include "appliance/base/mem.h"
#include "appliance/base/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { TABLE_MAX = 4 << 20, KEY_MAX = 32 << 10, KEYS_MAX = 10000 };

struct key { /* a line of the KeyTable: name domain:selector:file */
    struct str name, domain, selector, file;
};
struct opendkim {
    struct arena *m;
    struct key *keys;
    size_t n_keys;
    json_t *rows;
    unsigned brought, known, failed;
};

static int slurp(struct arena *m, const char *path, size_t max, struct str *out, struct err *err)
{
    FILE *f = fopen(path, "re");
    struct buf b;
    char piece[4096];
    size_t n;

    buf_init(&b, max);
    while (f && (n = fread(piece, 1, sizeof piece, f)) > 0)
        buf_add(&b, piece, n);
    bool ok = f && !ferror(f) && buf_ok(&b) && !(b.n && memchr(b.p, 0, b.n));
    if (ok)
        *out = b.n ? arena_str(m, buf_str(&b)) : STR("");
    else if (!f)
        err_set(err, ERR_PERM, ERR_WHY_OTHER, "%s can't be read: %s", path, strerror(errno));
    else
        err_set(err, ERR_PERM, ERR_WHY_OTHER, "%s is too large, or no text", path);
    if (f)
        fclose(f);
    if (b.p)
        explicit_bzero(b.p, b.cap);
    buf_fini(&b);
    explicit_bzero(piece, sizeof piece);
    return ok ? 0 : -1;
}

/* Two words of a line; false: nothing in it, or a comment. */
static bool cut_line(struct str *rest, struct str *first, struct str *second)
{
    struct str line, word;

    for (*first = STR(""); rest->n;) {
        str_cut(*rest, '\n', &line, rest);
        line = str_trim(line);
        if (!line.n || line.p[0] == '#')
            continue;
        size_t n = 0;
        while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t')
            n++;
        *first = str_take(line, n);
        word = str_trim(str_skip(line, n));
        for (n = 0; n < word.n && word.p[n] != ' ' && word.p[n] != '\t';)
            n++;
        *second = str_take(word, n);
        return true;
    }
    return false;
}

static int read_key_table(struct opendkim *o, struct str text, const char *path, struct err *err)
{
    struct str name, value, domain, selector;

    o->keys = ARENA_ARRAY(o->m, struct key, KEYS_MAX);
    while (cut_line(&text, &name, &value)) {
        if (o->n_keys == KEYS_MAX)
            return ERR(err, ERR_PERM, "%s has more than %d keys", path, KEYS_MAX);
        if (!str_cut(value, ':', &domain, &value) || !str_cut(value, ':', &selector, &value) ||
            !value.n)
            return ERR(err, ERR_PERM, "%s: \"" STR_FMT "\" isn't NAME DOMAIN:SELECTOR:FILE", path,
                       STR_ARG(str_take(name, 80)));
        o->keys[o->n_keys++] = (struct key){.name = arena_str(o->m, name),
                                            .domain = arena_str(o->m, domain),
                                            .selector = arena_str(o->m, selector),
                                            .file = arena_str(o->m, value)};
    }
    return 0;
}

static void note(struct opendkim *o, struct str domain, struct str selector, const char *outcome,
                 const char *why)
{
    json_t *row = json_pack("{so so ss}", "domain", admin_str(domain), "selector",
                            admin_str(selector), "outcome", outcome);

    if (why)
        json_object_set_new(row, "why", json_string(why));
    json_array_append_new(o->rows, row);
}

/* "*@example.com", "example.com", "user@.example.com": whose mail it is for. */
static struct str domain_of_pattern(struct str pattern)
{
    size_t at;

    if (str_rchr(pattern, '@', &at))
        pattern = str_skip(pattern, at + 1);
    while (pattern.n && (pattern.p[0] == '.' || pattern.p[0] == '*'))
        pattern = str_skip(pattern, 1);
    return pattern;
}

/* The key's file, also when the folder was copied from elsewhere: then it lies beside the table. */
static int read_pem(struct opendkim *o, const struct key *k, const char *table, struct str *pem,
                    struct err *err)
{
    struct str dir = str_from(table), base = k->file;
    size_t at;
    struct err first;

    if (slurp(o->m, k->file.p, KEY_MAX, pem, &first) == 0)
        return 0;
    dir = str_rchr(dir, '/', &at) ? str_take(dir, at) : STR(".");
    const char *beside[] = {
        arena_printf(o->m, STR_FMT "/keys/" STR_FMT "/" STR_FMT ".private", STR_ARG(dir),
                     STR_ARG(k->domain), STR_ARG(k->selector))
            .p,
        arena_printf(o->m, STR_FMT "/" STR_FMT, STR_ARG(dir),
                     STR_ARG(str_rchr(base, '/', &at) ? str_skip(base, at + 1) : base))
            .p};
    for (size_t i = 0; i < ARRAY_LEN(beside); i++)
        if (slurp(o->m, beside[i], KEY_MAX, pem, err) == 0)
            return 0;
    *err = first;
    return -1;
}

static int bring(struct opendkim *o, struct import_wire *w, const struct key *k, struct str domain,
                 struct str pem, struct err *err)
{
    json_t *answer = NULL;
    json_t *request =
        json_pack("{ss s[ssooo] so}", "do", "command", "argv", "dkim", "import", admin_str(domain),
                  admin_str(k->selector), admin_str(k->file), "file", admin_str(pem));
    int rc = import_wire_ask(w, request, &answer, err);

    if (rc == 0) {
        o->brought++;
        note(o, domain, k->selector, "brought", NULL);
        json_decref(answer);
    } else if (err->kind != ERR_TEMP) {
        bool known = strstr(err->text, "has a key with selector") != NULL;
        known ? o->known++ : o->failed++;
        note(o, domain, k->selector, known ? "known" : "refused", known ? NULL : err->text);
        rc = 0;
    }
    return rc;
}

/* Each pair of a key and a domain once: OpenDKIM's "%" as a key's domain is the sender's. */
static int bring_line(struct opendkim *o, struct import_wire *w, const char *table,
                      struct str pattern, struct str name, struct err *err)
{
    struct str of = domain_of_pattern(pattern), pem;
    struct err why;
    const struct key *k = NULL;

    for (size_t i = 0; i < o->n_keys && !k; i++)
        if (str_eq(o->keys[i].name, name))
            k = &o->keys[i];
    if (!k) {
        o->failed++;
        note(o, of, name, "refused", "the KeyTable has no key of this name");
        return 0;
    }
    struct str domain = str_eq(k->domain, STR("%")) ? of : k->domain;
    size_t i;
    json_t *row;
    json_array_foreach(o->rows, i, row)
    {
        const char *d = json_string_value(json_object_get(row, "domain"));
        const char *s = json_string_value(json_object_get(row, "selector"));
        if (str_ieq(str_from(d), domain) && str_ieq(str_from(s), k->selector))
            return 0;
    }
    if (read_pem(o, k, table, &pem, &why)) {
        o->failed++;
        note(o, domain, k->selector, "refused", why.text);
        return 0;
    }
    if (!str_ieq(of, domain) && of.n)
        fprintf(stderr,
                "posthouse: mail of " STR_FMT " was signed as " STR_FMT
                "; here a domain signs with keys of its own\n",
                STR_ARG(of), STR_ARG(domain));
    return bring(o, w, k, domain, pem, err);
}

static int bring_all(struct opendkim *o, const struct import_call *call, const char *key_table,
                     const char *signing_table, struct err *err)
{
    struct str keys, lines, pattern, name;
    struct import_wire *w;
    int rc = 0;

    if (slurp(o->m, key_table, TABLE_MAX, &keys, err) ||
        slurp(o->m, signing_table, TABLE_MAX, &lines, err) ||
        read_key_table(o, keys, key_table, err) ||
        import_wire_open(call->data, call->config, false, &w, err))
        return -1;
    while (rc == 0 && cut_line(&lines, &pattern, &name))
        rc = bring_line(o, w, key_table, pattern, name, err);
    import_wire_close(&w);
    return rc;
}

static int show(const struct opendkim *o, const struct import_call *call)
{
    json_t *out = json_pack("{si si si sO}", "brought", (int)o->brought, "known", (int)o->known,
                            "refused", (int)o->failed, "keys", o->rows);

    if (call->json) {
        (void)say_json(out);
    } else {
        struct buf text;
        buf_init(&text, 8 << 20);
        admin_render(o->rows, &text);
        fwrite(text.p, 1, text.n, stdout);
        buf_fini(&text);
        printf("%u brought, %u known, %u refused\n", o->brought, o->known, o->failed);
    }
    json_decref(out);
    return o->failed ? ADMIN_REFUSED : ADMIN_OK;
}

static int opendkim_run(const struct import_call *call)
{
    struct opendkim o = {.m = arena_new(0)};
    const char *key_table = call->args[0], *signing_table = call->n_args > 1 ? call->args[1] : NULL;
    struct err err;

    o.rows = json_array();
    if (!signing_table) { /* the folder of both */
        key_table = arena_printf(o.m, "%s/KeyTable", call->args[0]).p;
        signing_table = arena_printf(o.m, "%s/SigningTable", call->args[0]).p;
    }
    int code = bring_all(&o, call, key_table, signing_table, &err) ? import_refused(call, &err)
                                                                   : show(&o, call);
    json_decref(o.rows);
    arena_free(&o.m);
    return code;
}

const struct import_command import_opendkim = {
    "import",
    "opendkim",
    "KEYTABLE SIGNINGTABLE|FOLDER",
    1,
    2,
    NULL,
    opendkim_run,
    "Take over the private keys that OpenDKIM signs with: those of its KeyTable that its "
    "SigningTable names. Their records are in the DNS already, so each signs at once for its "
    "domain. A key that is known is left as it is."};
