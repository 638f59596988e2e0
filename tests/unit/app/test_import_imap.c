/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Folders of other servers: which of them, and where to; URLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "appliance/app/import_imap.h"
#include "appliance/base/mem.h"

enum { MAX = 16 };
struct row {
    const char *raw;
    enum imap_folder_use use;
    const char *place; /* NULL: not taken */
};

static void on_unnamed(void *ctx, struct str raw)
{
    (void)raw;
    ++*(unsigned *)ctx;
}

static void maps(char delimiter, const char *own, const char *patterns, const struct row *rows)
{
    struct arena *a = arena_new(0);
    struct imap_folder list[MAX];
    struct imap_folders in = {.list = list};
    struct import_imap_folder *out;
    unsigned unnamed = 0;
    size_t n;

    for (; rows[in.n].raw; in.n++)
        list[in.n] = (struct imap_folder){
            .raw = str_from(rows[in.n].raw), .delimiter = delimiter, .use = rows[in.n].use};
    in.spaces.own = str_from(own);
    in.spaces.has_own = own != NULL;
    import_imap_map(&in, patterns, false, a, &out, &n, on_unnamed, &unnamed);
    assert_int_equal(n, in.n);
    assert_int_equal(unnamed, 0);
    for (size_t i = 0; i < n; i++) {
        if (out[i].taken != (rows[i].place != NULL))
            fail_msg("%s: taken %d", rows[i].raw, out[i].taken);
        if (rows[i].place && !str_eq(out[i].place, str_from(rows[i].place)))
            fail_msg("%s became " STR_FMT, rows[i].raw, STR_ARG(out[i].place));
        assert_true(str_eq(out[i].raw, str_from(rows[i].raw)));
    }
    arena_free(&a);
}

static void test_gmail(void **state)
{
    (void)state;
    maps('/', "", NULL,
         (const struct row[]){{"INBOX", IMAP_FOLDER_NORMAL, "INBOX"},
                              {"[Gmail]/All Mail", IMAP_FOLDER_VIEW, NULL},
                              {"[Gmail]/Gesendet", IMAP_FOLDER_SENT, "Sent"},
                              {"[Gmail]/Spam", IMAP_FOLDER_JUNK, "Junk"},
                              {"[Gmail]/Starred", IMAP_FOLDER_VIEW, NULL},
                              {"[Gmail]/Papierkorb", IMAP_FOLDER_TRASH, "Trash"},
                              {"Work/B&APY-rse", IMAP_FOLDER_NORMAL, "Work/B\xc3\xb6rse"},
                              {0}});
    maps('/', "", "INBOX, [Gmail]/All*",
         (const struct row[]){{"inbox", IMAP_FOLDER_NORMAL, "INBOX"},
                              {"[Gmail]/All Mail", IMAP_FOLDER_VIEW, "[Gmail]/All Mail"},
                              {"Work", IMAP_FOLDER_NORMAL, NULL},
                              {0}});
    maps('/', "", NULL, /* attributes aren't told */
         (const struct row[]){{"[Gmail]/All Mail", IMAP_FOLDER_NORMAL, NULL},
                              {"INBOX", IMAP_FOLDER_NORMAL, "INBOX"},
                              {0}});
}

/* All below INBOX: said by NAMESPACE, or seen. */
static void test_courier(void **state)
{
    const struct row rows[] = {{"INBOX", IMAP_FOLDER_NORMAL, "INBOX"},
                               {"INBOX.Sent", IMAP_FOLDER_NORMAL, "Sent"},
                               {"INBOX.Lists.Dev", IMAP_FOLDER_NORMAL, "Lists/Dev"},
                               {"INBOX.a/b", IMAP_FOLDER_NORMAL, "a_b"},
                               {"INBOX.a_b", IMAP_FOLDER_NORMAL, "a_b (2)"},
                               {"INBOX.INBOX", IMAP_FOLDER_NORMAL, "INBOX/INBOX"},
                               {0}};

    (void)state;
    maps('.', "INBOX.", NULL, rows);
    maps('.', NULL, NULL, rows);
    maps('.', "", NULL,
         (const struct row[]){{"INBOX", IMAP_FOLDER_NORMAL, "INBOX"},
                              {"INBOX.Sent", IMAP_FOLDER_NORMAL, "INBOX/Sent"},
                              {0}});
    maps('.', NULL, NULL,
         (const struct row[]){{"INBOX", IMAP_FOLDER_NORMAL, "INBOX"},
                              {"INBOX.Lists", IMAP_FOLDER_NORMAL, "INBOX/Lists"},
                              {"Lists", IMAP_FOLDER_NORMAL, "Lists"},
                              {0}});
}

/* What the server says a folder is for counts more than its name, but nothing goes where another
 * folder of that name goes. */
static void test_uses(void **state)
{
    (void)state;
    maps('/', "", NULL,
         (const struct row[]){{"Sent Items", IMAP_FOLDER_NORMAL, "Sent Items"},
                              {"Gesendetes", IMAP_FOLDER_SENT, "Sent"},
                              {"Versandt", IMAP_FOLDER_SENT, "Versandt"},
                              {"Deleted Items", IMAP_FOLDER_NORMAL, "Trash"},
                              {"Junk", IMAP_FOLDER_NORMAL, "Junk"},
                              {"Werbung", IMAP_FOLDER_JUNK, "Werbung"},
                              {0}});
    maps('\0', "", NULL, (const struct row[]){{"a.b/c", IMAP_FOLDER_NORMAL, "a.b_c"}, {0}});
}

static void url(const char *text, const char *user, const char *host, unsigned port, bool implicit)
{
    struct import_imap j = {.mem = arena_new(0)};
    struct err err = {ERR_NONE, ERR_WHY_OTHER, ""};
    int rc = import_imap_url(&j, text, &err);

    if (rc != (host ? 0 : -1))
        fail_msg("%s: %s", text, err.text);
    if (host) {
        assert_string_equal(j.host, host);
        assert_string_equal(j.user ? j.user : "", user);
        assert_int_equal(j.port, port);
        assert_int_equal(j.implicit, implicit);
    }
    arena_free(&j.mem);
}

static void test_urls(void **state)
{
    (void)state;
    url("imap://host.example", "", "host.example", 143, false);
    url("imaps://a%40b.example@host.example/", "a@b.example", "host.example", 993, true);
    url("IMAPS://a@b.example@host.example:1993", "a@b.example", "host.example", 1993, true);
    url("imap://a*boss@[2001:db8::1]:14", "a*boss", "2001:db8::1", 14, false);
    url("imap://100%25@[::1]", "100%", "::1", 143, false);
    static const char *const wrong[] = {"host.example",  "http://a@b",      "imap://",
                                        "imap://a@",     "imap://@b",       "imap://a:pw@b",
                                        "imap://a%4@b",  "imap://a%zz@b",   "imap://a%00@b",
                                        "imap://a@b:0",  "imap://a@b:x",    "imap://a@b:65536",
                                        "imap://a@[::1", "imap://a@[::1]x", "imap://a@b/INBOX"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        url(wrong[i], NULL, NULL, 0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gmail),
        cmocka_unit_test(test_courier),
        cmocka_unit_test(test_uses),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
