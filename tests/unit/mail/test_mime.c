/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The structure of messages, and that it doesn't depend on how they arrive. */
#include "appliance/mail/mime.h"
#include "mail_test.h"
#include "messages.h"

static struct arena *arena;
static struct buf text;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(0);
    buf_init(&text, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(&arena);
    buf_fini(&text);
    return 0;
}

static void render(const struct mime_part *p, struct str data, int depth)
{
    for (; p; p = p->next) {
        buf_printf(&text, "%*s" STR_FMT "/" STR_FMT " %d %d", depth * 2, "", STR_ARG(p->type),
                   STR_ARG(p->subtype), (int)p->head_size, (int)p->lines);
        buf_add_z(&text, p->params.n > 0 ? " " : "");
        for (size_t i = 0; i < p->params.n; i++)
            buf_printf(&text, "(" STR_FMT "=" STR_FMT ")", STR_ARG(p->params.list[i].name),
                       STR_ARG(p->params.list[i].value));
        struct str body = str_take(str_skip(data, p->body_at), p->body_size);
        assert_int_equal(body.n, p->body_size);
        buf_add_z(&text, p->child ? "" : " ");
        for (size_t i = 0; i < body.n && !p->child; i++) {
            if (body.p[i] == '\r' || body.p[i] == '\n')
                buf_add_z(&text, body.p[i] == '\r' ? "\\r" : "\\n");
            else
                buf_add_char(&text, body.p[i]);
        }
        buf_add_char(&text, '\n');
        render(p->child, data, depth + 1);
    }
}

static void structures(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct str head = exact(str_from(samples[i].head)), data = exact(str_from(samples[i].data));
        struct mime_part *root;
        buf_clear(&text);
        assert_int_equal(mime_parse(arena, head, data, &root), 0);
        exact_free(head);
        render(root, data, 0);
        exact_free(data);
        if (!str_eq(buf_str(&text), str_from(samples[i].want)))
            fail_msg("%s:\n%swanted:\n%s", samples[i].name, buf_z(&text), samples[i].want);
    }
}

static void scan(struct str head, struct str data, size_t step, struct buf *meta)
{
    struct mime_scan *s = mime_scan_new(head);
    buf_clear(meta);
    for (size_t at = 0; at < data.n; at += step) {
        struct str piece = exact(str_take(str_skip(data, at), step));
        mime_scan_feed(s, piece);
        exact_free(piece);
    }
    assert_int_equal(mime_scan_end(&s, head, meta), 0);
    assert_null(s);
}

static void any_pieces(void **state)
{
    (void)state;
    struct buf whole, pieces;
    buf_init(&whole, MIME_META_MAX);
    buf_init(&pieces, MIME_META_MAX);
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct str head = str_from(samples[i].head), data = str_from(samples[i].data);
        scan(head, data, SIZE_MAX >> 1, &whole);
        for (size_t step = 1; step < 40; step++) {
            scan(head, data, step, &pieces);
            if (!str_eq(buf_str(&whole), buf_str(&pieces)))
                fail_msg("%s in pieces of %zu", samples[i].name, step);
        }
    }
    buf_fini(&whole);
    buf_fini(&pieces);
}

static const struct mime_part *part(const struct mime_part *root, unsigned a, unsigned b,
                                    unsigned c)
{
    unsigned path[] = {a, b, c};
    return mime_part_find(root, path, c ? 3 : b ? 2 : a ? 1 : 0);
}

static const struct sample *sample(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(samples); i++)
        if (strcmp(samples[i].name, name) == 0)
            return &samples[i];
    fail_msg("no sample %s", name);
    return NULL;
}

static const struct mime_part *parse(const struct sample *s)
{
    struct mime_part *root;
    assert_int_equal(mime_parse(arena, str_from(s->head), str_from(s->data), &root), 0);
    return root;
}

static void section_numbers(void **state)
{
    (void)state;
    const struct mime_part *root = parse(sample("plain"));
    assert_ptr_equal(part(root, 0, 0, 0), root);
    assert_ptr_equal(part(root, 1, 0, 0), root);
    assert_null(part(root, 2, 0, 0));
    assert_null(part(root, 1, 1, 0));

    root = parse(sample("forwarded message with an attachment"));
    assert_str(part(root, 1, 0, 0)->type, "text");
    assert_str(part(root, 2, 0, 0)->type, "message");
    assert_str(part(root, 2, 1, 0)->type, "text");
    assert_str(part(root, 2, 2, 0)->type, "image");
    assert_null(part(root, 2, 3, 0));
    assert_null(part(root, 3, 0, 0));
    assert_null(part(root, 1, 1, 0));
    assert_null(part(root, 2, 2, 1));
    unsigned zero[] = {0};
    assert_null(mime_part_find(root, zero, 1));

    root = parse(sample("digest")); /* a message/rfc822 with a leaf in it: .1 */
    assert_str(part(root, 1, 1, 0)->type, "text");
    assert_null(part(root, 1, 2, 0));
    assert_null(part(root, 1, 1, 1));

    root = parse(sample("messages in messages"));
    assert_ptr_equal(part(root, 1, 0, 0), root);
    assert_ptr_equal(part(root, 1, 1, 0), root->child);
    assert_ptr_equal(part(root, 1, 1, 1), root->child->child);
}

static void inner_message(void **state)
{
    (void)state;
    const struct sample *s = sample("forwarded message with an attachment");
    const struct mime_part *root = parse(s), *m = part(root, 2, 0, 0);
    assert_str(root->envelope->from[0].name, "Karl");
    assert_str(m->envelope->subject, "inner");
    assert_ptr_equal(m->envelope, m->child->envelope);
    assert_int_equal(m->inner_head_at, m->body_at);
    assert_int_equal(m->inner_head_at, m->child->head_at);
    assert_int_equal(m->inner_head_size, m->child->head_size);
    struct str head = str_take(str_skip(str_from(s->data), m->inner_head_at), m->inner_head_size);
    assert_true(str_starts(head, STR("From: vivi")));
    assert_true(str_ends(head, STR("boundary=i\r\n\r\n")));
    assert_str(m->disposition.main, "inline");
    m = part(root, 2, 2, 0);
    assert_str(m->disposition.main, "attachment");
    assert_str(m->disposition.list[0].value, "x.png");
    assert_null(m->envelope);

    root = parse(sample("a message is all there is"));
    assert_null(root->envelope->subject.p); /* its own */
    assert_str(root->child->envelope->subject, "a");
}

static void fields(void **state)
{
    (void)state;
    struct mime_part *root;
    struct str head = STR("Content-Type: text/html (c); Charset=UTF-8\r\n"
                          "Content-ID:\r\n <a@b>\r\nContent-Description: a\r\n b\r\n"
                          "Content-Transfer-Encoding: Base64 (c)\r\nContent-MD5: x==\r\n"
                          "Content-Language: de, en\r\nContent-Location: http://a/\r\n"
                          "Content-Disposition: attachment; filename*=utf-8''%e2%82%ac\r\n"
                          "content-id: second\r\n\r\n");
    assert_int_equal(mime_parse(arena, head, STR(""), &root), 0);
    assert_str(root->type, "text");
    assert_str(root->subtype, "html");
    assert_str(root->id, "<a@b>");
    assert_str(root->description, "a b");
    assert_str(root->encoding, "Base64");
    assert_str(root->md5, "x==");
    assert_str(root->language, "de, en");
    assert_str(root->location, "http://a/");
    assert_str(root->disposition.list[0].name, "filename*");
    assert_str(root->disposition.list[0].value, "utf-8''%e2%82%ac");

    assert_int_equal(mime_parse(arena, STR("\r\n"), STR(""), &root), 0);
    assert_str(root->encoding, "7BIT");
    assert_null(root->id.p);
    assert_null(root->disposition.main.p);
    assert_int_equal(root->params.n, 0);
}

static void envelope(void **state)
{
    (void)state;
    struct mime_part *root;
    struct str head =
        STR("Date: Fri, 20 Nov 2026 06:29:08 +0000\r\nSubject: =?utf-8?Q?a?=\r\n =?utf-8?Q?b?=\r\n"
            "From: Karl <karl@example.com>\r\nReply-To: r@example.com\r\n"
            "To: a@b, g: c@d;\r\nTo: e@f\r\nCc:\r\n"
            "In-Reply-To: <1@x>\r\n <2@x>\r\nMessage-ID: <3@x>\r\nSubject: second\r\n\r\n");
    assert_int_equal(mime_parse(arena, head, STR("Bcc: x@y\r\n"), &root), 0);
    const struct mime_envelope *e = root->envelope;
    assert_str(e->date, "Fri, 20 Nov 2026 06:29:08 +0000");
    assert_str(e->subject, "=?utf-8?Q?a?= =?utf-8?Q?b?=");
    assert_str(e->in_reply_to, "<1@x> <2@x>");
    assert_str(e->message_id, "<3@x>");
    assert_int_equal(e->n_from, 1);
    assert_int_equal(e->n_sender, 1);
    assert_str(e->sender[0].mailbox, "karl");
    assert_str(e->reply_to[0].mailbox, "r");
    assert_int_equal(e->n_to, 5); /* both fields, and the group's marks */
    assert_str(e->to[4].mailbox, "e");
    assert_int_equal(e->n_cc, 0);
    assert_int_equal(e->n_bcc, 0);

    const struct mime_envelope *none =
        mime_envelope_parse(arena, STR("Sender: a@b\r\nSubject:\r\n\r\n"));
    assert_null(none->date.p);
    assert_non_null(none->subject.p);
    assert_int_equal(none->subject.n, 0);
    assert_int_equal(none->n_from, 0);
    assert_int_equal(none->n_sender, 1);
    assert_int_equal(none->n_reply_to, 0);
}

/* The head may be edited between new and end: structure from the first, ENVELOPE from the second.
 */
static void edited_head(void **state)
{
    (void)state;
    struct buf meta;
    struct mime_part *root;
    struct mime_scan *s = mime_scan_new(STR("Content-Type: text/html\r\n\r\n"));
    buf_init(&meta, MIME_META_MAX);
    mime_scan_feed(s, STR("x\r\n"));
    assert_int_equal(mime_scan_end(&s, STR("Message-ID: <added>\r\n\r\n"), &meta), 0);
    assert_int_equal(mime_meta_decode(arena, buf_str(&meta), &root), 0);
    assert_str(root->subtype, "html");
    assert_str(root->envelope->message_id, "<added>");
    buf_fini(&meta);
    s = mime_scan_new(STR("Content-Type: multipart/mixed; boundary=b\r\n\r\n"));
    mime_scan_feed(s, STR("--b\r\nA: "));
    mime_scan_free(&s);
    mime_scan_free(&s);
}

/* Damage is either seen or harmless: every byte changed, every length cut. */
static void damaged_meta(void **state)
{
    (void)state;
    struct buf meta;
    buf_init(&meta, MIME_META_MAX);
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct str data = str_from(samples[i].data);
        struct mime_part *root;
        scan(str_from(samples[i].head), data, 100, &meta);
        for (size_t n = 0; n < meta.n; n++) {
            struct str cut = exact(str_take(buf_str(&meta), n));
            assert_int_equal(mime_meta_decode(arena, cut, &root), -1);
            exact_free(cut);
            for (int change = 1; change < 256; change *= 2) {
                struct str all = exact(buf_str(&meta));
                memset(meta.p + n, meta.p[n] ^ change, 1);
                struct str bad = exact(buf_str(&meta));
                memcpy(meta.p, all.p, all.n);
                (void)!mime_meta_decode(arena, bad, &root);
                exact_free(bad);
                exact_free(all);
            }
            arena_clear(arena);
        }
    }
    buf_fini(&meta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(structures, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(section_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(inner_message, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fields, set_up, tear_down),
        cmocka_unit_test_setup_teardown(envelope, set_up, tear_down),
        cmocka_unit_test_setup_teardown(edited_head, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damaged_meta, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
