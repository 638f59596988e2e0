/* SPDX-License-Identifier: MIT */
/* subject.c - a filter stage for posthouse as a plug-in, to begin one's own with.
 *
 * It looks for a word in the Subject and does what the administrator has chosen. Build it with
 * nothing but the installed header, and load it:
 *
 *     cc -shared -fPIC -O2 -Wall -o subject.so subject.c
 *     posthouse dev --plugin ./subject.so --set subject.word=viagra --set subject.then=junk
 *
 * It is of lane style: work() runs on a thread of its lane and may take its time. */
#define _GNU_SOURCE /* strcasestr */
#include <posthouse/stage.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum then { THEN_TAG, THEN_JUNK, THEN_QUARANTINE, THEN_DISCARD, THEN_DEFER, THEN_REJECT };
struct subject_conf {
    const char *word;
    int then;
    int64_t points;
};
static const char *const thens[] = {"tag",   "junk",   "quarantine", "discard",
                                    "defer", "reject", NULL};
static const struct ph_setting settings[] = {
    PH_SETTING(TEXT, subject_conf, word, PH_RELOAD, "", 0, 0, "The word to look for; empty: none."),
    PH_SETTING_ENUM(subject_conf, then, PH_RELOAD, "tag", thens,
                    "What to do with mail that has it in its Subject."),
    PH_SETTING(INT, subject_conf, points, PH_RELOAD, "5", 0, 1000, "Added to the message's score."),
    PH_SETTING_END};

/* The stage needs nothing of its own but the server's services, so these are its instance. */
static int subject_open(const struct ph_host *host, const void *conf, void **inst,
                        struct ph_err *err)
{
    const struct subject_conf *c = conf;
    if (strchr(c->word, ' ')) {
        snprintf(err->text, sizeof err->text, "subject.word must be one word, not '%s'", c->word);
        return -1;
    }
    *inst = (void *)(uintptr_t)host;
    return 0;
}

static int subject_reload(void *inst, const void *new_conf, struct ph_err *err)
{
    void *again;
    return subject_open(inst, new_conf, &again,
                        err); /* refuses the same; work() gets the new conf by itself */
}

/* The value of the first Subject, without its folds. */
static void find_subject(const struct ph_view *v, char *to, size_t room)
{
    const char *p = v->head, *end = v->head + v->head_size;
    size_t n = 0;
    while (p < end &&
           strncasecmp(p, "Subject:", (size_t)(end - p) < 8 ? (size_t)(end - p) : 8) != 0) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        p = line ? line + 1 : end;
    }
    for (p += p < end ? 8 : 0; p < end && n + 1 < room; p++) {
        if (*p == '\n' && (p + 1 == end || (p[1] != ' ' && p[1] != '\t')))
            break;
        if (*p != '\r' && *p != '\n')
            to[n++] = *p;
    }
    to[n] = '\0';
}

static void subject_work(void *inst, const void *conf, enum ph_point at, const struct ph_view *v,
                         struct ph_result *r)
{
    static const enum ph_verdict verdicts[] = {PH_PASS,    PH_JUNK,  PH_QUARANTINE,
                                               PH_DISCARD, PH_DEFER, PH_REJECT};
    const struct ph_host *host = inst;
    const struct subject_conf *c = conf;
    char subject[1000];
    (void)at;
    find_subject(v, subject, sizeof subject);
    host->fact_set(r->acts, "subject.looked", "yes");
    if (!c->word[0] || !strcasestr(subject, c->word))
        return; /* a zeroed result is PASS */
    host->tag(r->acts, "subject");
    host->score(r->acts, (double)c->points);
    host->header_insert(r->acts, 0, "X-Subject-Stage", c->word);
    host->log(host, v, PH_LOG_INFO, "found the word %s", c->word);
    r->verdict = verdicts[c->then];
    snprintf(r->reason, sizeof r->reason, "its Subject holds %s", c->word);
    if (c->then == THEN_REJECT)
        snprintf(r->reply, sizeof r->reply, "554 5.7.1 We don't want to hear of %s", c->word);
}

PH_EXPORT const struct ph_stage ph_stage_export = {
    PH_STAGE_HEAD,        .points = PH_AT(PH_MESSAGE),
    .name = "subject",    .doc = "Looks for a word in the Subject.",
    .settings = settings, .conf_size = sizeof(struct subject_conf),
    .open = subject_open, .reload = subject_reload,
    .work = subject_work};
