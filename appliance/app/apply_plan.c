/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* apply_plan.c - what is wrong with a file of accounts; which commands it comes to. Pure. */
#include "appliance/app/apply.h"
#include "appliance/base/mem.h"
#include "appliance/base/settings.h"
#include "appliance/base/str.h"
#include "appliance/base/text.h"
#include "appliance/directory/password_schemes.h"
#include "appliance/mail/address.h"
#include <string.h>

/* ---- Is it well-formed? */

enum kind { TEXT, FLAG, WORDS, SOME_WORDS, ADDRESS, SIZE, HASH };
struct member {
    const char *name;
    enum kind kind;
    bool needed;
};
enum { FOLDED_MAX = 512 };
static const struct member domain_members[] = {
    {"domain", TEXT, true}, {"quota", SIZE, false}, {NULL, TEXT, false}};
static const struct member user_members[] = {{"address", ADDRESS, true}, {"name", TEXT, false},
                                             {"password", TEXT, false},  {"hash", HASH, false},
                                             {"quota", SIZE, false},     {"enabled", FLAG, false},
                                             {"allow", TEXT, false},     {"forward", WORDS, false},
                                             {"copy", FLAG, false},      {NULL, TEXT, false}};
static const struct member alias_members[] = {
    {"address", TEXT, true}, {"destinations", SOME_WORDS, true}, {NULL, TEXT, false}};
static const struct section {
    const char *name;
    const struct member *members;
} sections[] = {{"domains", domain_members}, {"users", user_members}, {"aliases", alias_members}};

static const struct member *find_member(const struct member *list, const char *name)
{
    while (list->name && strcmp(list->name, name) != 0)
        list++;
    return list->name ? list : NULL;
}

/* A value that begins with "--" would be taken for an option. */
static bool is_word(const json_t *v)
{
    return json_is_string(v) && strncmp(json_string_value(v), "--", 2) != 0;
}

/* "2G" as octets; -1: it isn't a size. */
static int64_t octets(const char *size)
{
    struct {
        uint64_t size;
    } word = {0};
    const struct ph_setting table[] = {
        {.name = "size", .type = PH_SIZE, .def = "0", .max = INT64_MAX}, PH_SETTING_END};
    struct err err;

    return settings_set(table, &word, STR("size"), str_from(size), &err) ? -1 : (int64_t)word.size;
}

static bool is_address(const char *word)
{
    struct buf folded;
    struct err err;

    buf_init(&folded, FOLDED_MAX);
    bool yes = address_fold(str_from(word), &folded, &err) == 0;
    buf_fini(&folded);
    return yes;
}

static bool is_hash(const char *word)
{
    struct password_form form;

    password_form_read(str_from(word), &form);
    bool yes = form.kind != PASSWORD_UNKNOWN;
    explicit_bzero(&form, sizeof form);
    return yes;
}

static bool fits(const json_t *v, enum kind kind)
{
    size_t i;
    const json_t *one;

    if (kind == TEXT)
        return is_word(v);
    if (kind == ADDRESS)
        return is_word(v) && is_address(json_string_value(v));
    if (kind == HASH)
        return is_word(v) && is_hash(json_string_value(v));
    if (kind == SIZE)
        return json_is_integer(v) ? json_integer_value(v) >= 0
                                  : is_word(v) && octets(json_string_value(v)) >= 0;
    if (kind == FLAG)
        return json_is_boolean(v);
    if (kind == SOME_WORDS && !json_array_size(v))
        return false;
    json_array_foreach((json_t *)(uintptr_t)v, i, one)
    {
        if (!is_word(one) || !json_string_value(one)[0])
            return false;
    }
    return json_is_array(v);
}

static int check_members(const struct section *s, size_t i, json_t *item, struct err *err)
{
    static const char *const kinds[] = {"text",
                                        "true or false",
                                        "a list of texts",
                                        "a list of texts, with at least one",
                                        "an address",
                                        "a size, 2G or a number of octets",
                                        "a hash of a password that can be read"};
    const char *key;
    json_t *value;

    json_object_foreach(item, key, value)
    {
        const struct member *m = find_member(s->members, key);
        if (!m)
            return ERR(err, ERR_PERM, "%s[%zu]: there is no member \"%.50s\"", s->name, i, key);
        if (!fits(value, m->kind))
            return ERR(err, ERR_PERM, "%s[%zu].%s: want %s", s->name, i, key, kinds[m->kind]);
    }
    for (const struct member *m = s->members; m->name; m++)
        if (m->needed && !json_object_get(item, m->name))
            return ERR(err, ERR_PERM, "%s[%zu]: \"%s\" is missing", s->name, i, m->name);
    return 0;
}

static int check_section(const struct section *s, json_t *list, struct err *err)
{
    json_t *item;
    size_t i;

    if (!json_is_array(list))
        return ERR(err, ERR_PERM, "\"%s\" is not a list", s->name);
    json_array_foreach(list, i, item)
    {
        if (json_is_string(item) && s->members == domain_members && is_word(item))
            continue;
        if (!json_is_object(item))
            return ERR(err, ERR_PERM, "%s[%zu] is not an object", s->name, i);
        if (check_members(s, i, item, err))
            return -1;
    }
    return 0;
}

int apply_check(const json_t *file, struct err *err)
{
    const char *key;
    json_t *value;

    if (!json_is_object(file))
        return ERR(err, ERR_PERM, "the file is not one JSON object");
    json_object_foreach((json_t *)(uintptr_t)file, key, value)
    {
        const struct section *found = NULL;
        for (size_t i = 0; i < ARRAY_LEN(sections); i++)
            if (strcmp(sections[i].name, key) == 0)
                found = &sections[i];
        if (!found)
            return ERR(err, ERR_PERM, "\"%.50s\" is none of domains, users, aliases", key);
        if (check_section(found, value, err))
            return -1;
    }
    return 0;
}

/* ---- What is there */

static const char *text(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

static const char *domain_name(const json_t *item)
{
    return json_is_string(item) ? json_string_value(item) : text(item, "domain");
}

/* The one of a list whose member has this value, in any case. */
static const json_t *find(const json_t *list, const char *member, const char *value)
{
    size_t i;
    const json_t *one;

    json_array_foreach((json_t *)(uintptr_t)list, i, one)
    {
        const char *v = json_is_string(one) ? json_string_value(one) : text(one, member);
        if (v && str_ieq(str_from(v), str_from(value)))
            return one;
    }
    return NULL;
}

static bool same_words(const json_t *a, const json_t *b)
{
    size_t i;
    const json_t *one;

    if (json_array_size(a) != json_array_size(b))
        return false;
    json_array_foreach((json_t *)(uintptr_t)a, i, one)
    {
        if (!find(b, "", json_string_value(one)))
            return false;
    }
    return true;
}

static bool other_size(const json_t *item, const json_t *there)
{
    const json_t *wanted = json_object_get(item, "quota");

    return wanted && (json_is_string(wanted) ? octets(json_string_value(wanted))
                                             : json_integer_value(wanted)) !=
                         json_integer_value(json_object_get(there, "quota"));
}

/* ---- The plan */

static json_t *command(json_t *plan, const char *group, const char *verb, const char *what)
{
    json_t *argv = json_pack("[sss]", group, verb, what);

    json_array_append_new(plan, json_pack("{so}", "argv", argv));
    return argv;
}

static void add_word(json_t *argv, const char *word)
{
    json_array_append_new(argv, json_string(word));
}

static void add_quota(json_t *argv, const char *option, const json_t *item)
{
    const json_t *quota = json_object_get(item, "quota");

    json_array_append_new(argv, json_is_string(quota)
                                    ? json_sprintf("%s%s", option, json_string_value(quota))
                                    : json_sprintf("%s%lld", option, json_integer_value(quota)));
}

/* Of the command that was planned last. */
static void with_password(json_t *plan, const char *password)
{
    json_object_set_new(json_array_get(plan, json_array_size(plan) - 1), "password",
                        json_string(password));
}

static void add_words(json_t *argv, const json_t *words)
{
    size_t i;
    const json_t *one;

    json_array_foreach((json_t *)(uintptr_t)words, i, one)
    {
        json_array_append(argv, (json_t *)(uintptr_t)one);
    }
}

static void plan_domain(json_t *plan, const json_t *item, const struct apply_state *now)
{
    const char *name = domain_name(item);
    const json_t *there = find(now->domains, "domain", name);

    if (!there)
        command(plan, "domain", "add", name);
    if (json_is_object(item) && other_size(item, there))
        add_quota(command(plan, "domain", "quota", name), "", item);
}

static void plan_wishes(json_t *plan, const json_t *item, const json_t *are)
{
    const json_t *forward = json_object_get(item, "forward");
    const char *allow = text(item, "allow"), *address = text(item, "address");
    bool sends = !are || json_is_true(json_object_get(are, "sends"));
    bool receives = !are || json_is_true(json_object_get(are, "receives"));
    const char *allowed = sends ? (receives ? "both" : "send") : receives ? "receive" : "neither";
    bool copy = !json_is_false(json_object_get(item, "copy"));
    bool keeps = !are || json_is_true(json_object_get(are, "copy"));

    if (allow && strcmp(allow, allowed) != 0)
        add_word(command(plan, "user", "allow", address), allow);
    if (!forward || (same_words(forward, json_object_get(are, "destinations")) &&
                     (copy == keeps || !json_array_size(forward))))
        return;
    if (!json_array_size(forward)) {
        command(plan, "forward", "remove", address);
        return;
    }
    json_t *argv = command(plan, "forward", "set", address);
    add_words(argv, forward);
    if (!copy)
        add_word(argv, "--no-copy");
}

static void plan_new_user(json_t *plan, const json_t *item)
{
    const char *address = text(item, "address"), *name = text(item, "name");
    json_t *argv = command(plan, "user", "add", address);

    if (name)
        json_array_append_new(argv, json_sprintf("--name=%s", name));
    if (json_object_get(item, "quota"))
        add_quota(argv, "--quota=", item);
    if (text(item, "password"))
        with_password(plan, text(item, "password"));
}

static void plan_password(json_t *plan, const json_t *item, bool is_new)
{
    const char *address = text(item, "address");

    if (text(item, "hash")) {
        add_word(command(plan, "password", "import", address), "--if-other");
        with_password(plan, text(item, "hash"));
    } else if (text(item, "password") && !is_new) {
        add_word(command(plan, "password", "set", address), "--if-other");
        with_password(plan, text(item, "password"));
    }
}

static void plan_user(json_t *plan, const json_t *item, const struct apply_state *now,
                      const struct apply_how *how)
{
    const char *address = text(item, "address"), *name = text(item, "name");
    const json_t *there = find(now->users, "address", address);
    const json_t *enabled = json_object_get(item, "enabled");
    bool is_on = !there || json_is_true(json_object_get(there, "enabled"));

    if (!there) {
        plan_new_user(plan, item);
    } else {
        if (name && strcmp(name, text(there, "name") ? text(there, "name") : "") != 0)
            add_word(command(plan, "user", "name", address), name);
        if (other_size(item, there))
            add_quota(command(plan, "user", "quota", address), "", item);
    }
    if (!there || how->passwords)
        plan_password(plan, item, !there);
    if (enabled && json_is_true(enabled) != is_on)
        command(plan, "user", json_is_true(enabled) ? "enable" : "disable", address);
}

static void plan_alias(json_t *plan, const json_t *item, const struct apply_state *now)
{
    const char *address = text(item, "address");
    const json_t *to = json_object_get(item, "destinations");
    const json_t *there = find(now->aliases, "address", address);

    if (there && same_words(to, json_object_get(there, "destinations")))
        return;
    json_t *argv = command(plan, "alias", "add", address);
    add_words(argv, to);
    if (there)
        add_word(argv, "--replace");
}

static void prune(json_t *plan, const json_t *file, const char *section, const json_t *there,
                  const char *group, const char *member)
{
    size_t i;
    const json_t *one;

    if (!json_object_get(file, section)) /* it says nothing of them */
        return;
    json_array_foreach((json_t *)(uintptr_t)there, i, one)
    {
        if (!find(json_object_get(file, section), member, text(one, member)))
            command(plan, group, "remove", text(one, member));
    }
}

#define EACH(section, item)                                                                        \
    json_array_foreach(json_object_get((json_t *)(uintptr_t)file, section), i, item)

/* In whatever form each is written. */
static bool has_domain(const json_t *list, const char *domain)
{
    struct buf a, b;
    bool found = false;
    size_t i;
    const json_t *one;

    buf_init(&a, FOLDED_MAX);
    buf_init(&b, FOLDED_MAX);
    bool readable = text_domain(str_from(domain), &a) == 0;
    json_array_foreach((json_t *)(uintptr_t)list, i, one)
    {
        buf_clear(&b);
        found = found || (readable && text_domain(str_from(domain_name(one)), &b) == 0 &&
                          str_eq(buf_str(&a), buf_str(&b)));
    }
    buf_fini(&a);
    buf_fini(&b);
    return found;
}

int apply_check_domains(const json_t *file, const struct apply_state *now, struct err *err)
{
    static const char *const lists[] = {"users", "aliases"};
    json_t *item;
    size_t i;

    for (size_t k = 0; k < ARRAY_LEN(lists); k++)
        EACH(lists[k], item)
        {
            const char *address = text(item, "address"), *at = strrchr(address, '@');
            if (!at || (!has_domain(now->domains, at + 1) &&
                        !has_domain(json_object_get(file, "domains"), at + 1)))
                return ERR(err, ERR_PERM, "%s[%zu]: there is no domain %.200s", lists[k], i,
                           at ? at + 1 : address);
        }
    return 0;
}

json_t *apply_plan(const json_t *file, const struct apply_state *now, const struct apply_how *how)
{
    json_t *plan = json_array(), *item;
    size_t i;

    EACH("domains", item)
    {
        plan_domain(plan, item, now);
    }
    EACH("users", item)
    {
        plan_user(plan, item, now, how);
    }
    EACH("aliases", item)
    {
        plan_alias(plan, item, now);
    }
    EACH("users", item)
    {
        plan_wishes(plan, item, json_object_get(now->wishes, text(item, "address")));
    }
    if (how->prune) {
        prune(plan, file, "aliases", now->aliases, "alias", "address");
        prune(plan, file, "users", now->users, "user", "address");
        prune(plan, file, "domains", now->domains, "domain", "domain");
    }
    return plan;
}
