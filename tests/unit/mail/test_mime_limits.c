/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* Messages made to hurt: what is kept stays bounded, and each would take hours if the work weren't
 * linear. */
#include "appliance/mail/mime.h"
#include "mail_test.h"

static struct buf data, meta;
static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(0);
    buf_init(&data, 64 << 20);
    buf_init(&meta, MIME_META_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(&arena);
    buf_fini(&data);
    buf_fini(&meta);
    return 0;
}

static void fill(const char *unit, size_t times)
{
    for (size_t i = 0; i < times; i++)
        buf_add_z(&data, unit);
    assert_true(buf_ok(&data));
}

/* Scans what is in `data`, in pieces; the meta fits, decodes, and the tree takes memory in
 * proportion to it. */
static struct mime_part *scan(struct str head)
{
    struct mime_scan *s = mime_scan_new(head);
    struct mime_part *root;
    for (struct str rest = buf_str(&data); rest.n > 0; rest = str_skip(rest, 65536))
        mime_scan_feed(s, str_take(rest, 65536));
    assert_int_equal(mime_scan_end(&s, head, &meta), 0);
    assert_int_equal(mime_meta_decode(arena, buf_str(&meta), &root), 0);
    assert_true(arena_used(arena) < 16 * meta.n + 1000 * MIME_MAX_PARTS);
    assert_int_equal(root->body_size, data.n);
    return root;
}

static unsigned parts(const struct mime_part *p, unsigned *depth_out)
{
    unsigned n = 0, deepest = 0;
    for (; p; p = p->next) {
        unsigned below;
        n += 1 + parts(p->child, &below);
        deepest = below + 1 > deepest ? below + 1 : deepest;
    }
    *depth_out = deepest;
    return n;
}

static void too_many_parts(void **state)
{
    (void)state;
    unsigned depth;
    fill("--b\r\n\r\nx\r\n", 100000);
    buf_add_z(&data, "--b--\r\n");
    struct mime_part *root = scan(STR("Content-Type: multipart/mixed; boundary=b\r\n\r\n"));
    assert_int_equal(parts(root, &depth), MIME_MAX_PARTS);
    const struct mime_part *last = root->child;
    while (last->next)
        last = last->next;
    assert_int_equal(last->body_size, 1); /* ends where it ends */
}

static void too_many_messages(void **state)
{
    (void)state;
    unsigned depth;
    fill("--b\r\n\r\nA: b\r\n\r\n", 100000);
    struct mime_part *root = scan(STR("Content-Type: multipart/digest; boundary=b\r\n\r\n"));
    assert_int_equal(parts(root, &depth), MIME_MAX_PARTS);
    assert_int_equal(depth, 3);
}

static void too_deep(void **state)
{
    (void)state;
    unsigned depth;
    for (int i = 0; i < 20000; i++)
        buf_printf(&data, "--b%05d\r\nContent-Type: multipart/mixed; boundary=b%05d\r\n\r\n", i,
                   i + 1);
    assert_int_equal(
        parts(scan(STR("Content-Type: multipart/mixed; boundary=b00000\r\n\r\n")), &depth),
        MIME_MAX_DEPTH);
    assert_int_equal(depth, MIME_MAX_DEPTH);
    buf_clear(&data);
    buf_clear(&meta);
    fill("Content-Type: message/rfc822\r\n\r\n", 100000);
    assert_int_equal(parts(scan(STR("Content-Type: message/rfc822\r\n\r\n")), &depth),
                     MIME_MAX_DEPTH);
}

/* Every open boundary fits but for its last byte, in every line. */
static void near_misses(void **state)
{
    (void)state;
    char name[240];
    unsigned depth;
    memset(name, '-', sizeof name - 1);
    name[sizeof name - 1] = 0;
    buf_printf(&data, "--%s00\r\n", name);
    for (int i = 1; i < 31; i++)
        buf_printf(&data, "Content-Type: multipart/mixed; boundary=\"%s%02d\"\r\n\r\n--%s%02d\r\n",
                   name, i, name, i);
    buf_add_z(&data, "\r\n");
    for (int i = 0; i < 10000; i++)
        buf_printf(&data, "--%sx\r\n", name);
    fill("-\r\n", 300000);
    struct str head =
        arena_printf(arena, "Content-Type: multipart/mixed; boundary=\"%s00\"\r\n\r\n", name);
    assert_int_equal(parts(scan(head), &depth), 32);
    assert_int_equal(depth, 32);
}

static void long_lines(void **state)
{
    (void)state;
    fill("--b\r\n\r\n-", 1);
    fill("-", 1 << 20);
    fill("\r\n", 1);
    fill("x", 8 << 20);
    fill("\r\n--b--", 1);
    struct mime_part *root = scan(STR("Content-Type: multipart/mixed; boundary=b\r\n\r\n"));
    assert_int_equal(root->child->body_size, (9 << 20) + 3);
    assert_int_equal(root->child->lines, 1);
}

static void long_boundary(void **state)
{
    (void)state;
    char name[1001];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = 0;
    buf_printf(&data, "--%s\r\n\r\na\r\n--%s\r\n\r\nb\r\n", name, name);
    struct str head =
        arena_printf(arena, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n", name);
    struct mime_part *root = scan(head);
    assert_int_equal(root->child->next->body_size, 3);
}

/* Heads: what is beyond 64 KB isn't looked at, what all of them may keep is limited; the ranges
 * stay exact. */
static void huge_heads(void **state)
{
    (void)state;
    fill("--b\r\nContent-Type: text/html\r\nSubject: ", 1);
    fill("x", 5 << 20);
    fill("\r\nContent-ID: late\r\n\r\nbody\r\n--b\r\n", 1);
    fill("A: b\r\n", 100000);
    fill("\r\nbody\r\n--b--\r\n", 1);
    struct mime_part *root = scan(STR("Content-Type: multipart/mixed; boundary=b\r\n\r\n"));
    assert_true(str_eq(root->child->subtype, STR("html")));
    assert_null(root->child->id.p);
    assert_int_equal(root->child->body_size, 4);
    assert_int_equal(root->child->next->head_size, 600002);
    assert_int_equal(root->child->next->body_size, 4);
}

/* Where the 64 KB end doesn't depend on the pieces. */
static void huge_head_in_pieces(void **state)
{
    (void)state;
    struct str head = STR("Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    struct buf other;
    buf_init(&other, MIME_META_MAX);
    fill("--b\r\nContent-ID: ", 1);
    fill("x", 70000);
    fill("\r\n\r\nbody\r\n--b--\r\n", 1);
    scan(head);
    for (size_t step = 1; step < 100000; step = step * 9 + 1) {
        struct mime_scan *s = mime_scan_new(head);
        for (struct str rest = buf_str(&data); rest.n > 0; rest = str_skip(rest, step))
            mime_scan_feed(s, str_take(rest, step));
        buf_clear(&other);
        assert_int_equal(mime_scan_end(&s, head, &other), 0);
        assert_true(str_eq(buf_str(&meta), buf_str(&other)));
    }
    buf_fini(&other);
}

static void fat_parts(void **state)
{
    (void)state;
    unsigned depth;
    for (int i = 0; i < 998; i++) {
        fill("--b\r\nContent-Type: message/rfc822\r\nContent-ID: ", 1);
        fill("i", 20000);
        fill("\r\nContent-Disposition: a", 1);
        fill("; name=value", 500);
        fill("\r\n\r\nTo: ", 1);
        fill("a@b,", 4000);
        fill("\r\n\r\n", 1);
    }
    struct mime_part *root = scan(STR("Content-Type: multipart/mixed; boundary=b\r\n\r\n"));
    assert_int_equal(parts(root, &depth), MIME_MAX_PARTS);
    assert_int_equal(root->child->id.n, 20000);
    assert_int_equal(root->child->envelope->n_to, 4000);
}

static void fat_root(void **state)
{
    (void)state;
    struct buf head;
    buf_init(&head, 8 << 20);
    for (int i = 0; i < 60000; i++)
        buf_add_z(&head, "To: karl.meier@a.long.domain.example.com, vivi@example.com\r\nCc: x\r\n");
    buf_add_z(&head, "Subject: ");
    while (head.n < (7 << 20))
        buf_add_z(&head, "long ");
    buf_add_z(&head, "\r\n\r\n");
    struct mime_part *root = scan(buf_str(&head));
    assert_int_equal(root->envelope->subject.n, 512 * 1024);
    assert_int_equal(root->envelope->n_to, 0);
    const struct mime_envelope *e = mime_envelope_parse(arena, buf_str(&head));
    assert_int_equal(e->n_to, 4096);
    assert_true(e->n_cc <= 4096);
    buf_fini(&head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(too_many_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_many_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_deep, set_up, tear_down),
        cmocka_unit_test_setup_teardown(near_misses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(long_boundary, set_up, tear_down),
        cmocka_unit_test_setup_teardown(huge_heads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(huge_head_in_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fat_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fat_root, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
