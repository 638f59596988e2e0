/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* The words that say which mail of the queue is meant. */
#include "appliance/app/admin_queue.h"
#include "appliance/base/clock.h"
#include "appliance/base/text.h"

enum { DOMAIN_MAX = 300 };

struct older_words {
    uint64_t older;
};
/* As times are written in the configuration. */
static const struct ph_setting older_settings[] = {
    PH_SETTING(TIME, older_words, older, 0, "0", 1, INT64_C(3650) * 24 * 3600 * 1000, "How old."),
    PH_SETTING_END};

int queue_id_word(const char *word, uint64_t *out, struct err *err)
{
    if (str_to_u64(str_from(word), INT64_MAX, out) || *out == 0)
        return ERR(err, ERR_PROTO, "'%s' is not an id (posthouse queue list)", word);
    return 0;
}

int queue_domain_word(const char *word, struct buf *out, struct err *err)
{
    struct str s = str_from(word);

    if (str_starts(s, STR("[")) && str_ends(s, STR("]")))
        return buf_add_str(out, s) ? ERR(err, ERR_PROTO, "it is too long") : 0;
    if (text_domain(s, out))
        return ERR(err, ERR_PROTO, "'%s' is not a domain name", word);
    return 0;
}

static int read_domain(struct queue_words *w, const char *value, struct err *err)
{
    if (value[0] == '.') {
        buf_add_char(&w->domain, '.');
        value++;
    }
    if (queue_domain_word(value, &w->domain, err))
        return err_context(err, "--domain");
    w->filter.domain = buf_str(&w->domain);
    return 0;
}

static int read_older(struct queue_words *w, const char *value, struct err *err)
{
    struct older_words words = {0};

    if (settings_set(older_settings, &words, STR("older"), str_from(value), err))
        return err_context(err, "--older");
    w->filter.older_ms = clock_wall_ms() - (int64_t)words.older;
    return 0;
}

static int read_text(struct str *out, const char *name, const char *value, struct err *err)
{
    *out = str_from(value);
    return value[0] ? 0 : ERR(err, ERR_PROTO, "--%s wants a value", name);
}

int queue_words_read(struct admin_call *c, struct queue_words *w)
{
    const char *domain = admin_option(c, "domain"), *sender = admin_option(c, "sender"),
               *error = admin_option(c, "error"), *older = admin_option(c, "older");

    *w = (struct queue_words){.filter = {.state = -1}, .any = domain || sender || error || older};
    buf_init(&w->domain, DOMAIN_MAX);
    if ((domain && read_domain(w, domain, &c->err)) ||
        (sender && read_text(&w->filter.sender, "sender", sender, &c->err)) ||
        (error && read_text(&w->filter.error, "error", error, &c->err)) ||
        (older && read_older(w, older, &c->err))) {
        queue_words_free(w);
        return -1;
    }
    return 0;
}

void queue_words_free(struct queue_words *w)
{
    buf_fini(&w->domain);
}
