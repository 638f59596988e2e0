/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* auth_cache.h - which logins succeeded lately, so that a client that logs in often costs one hash
 * an hour. Floor 3 (directory, private). Threads: one at a time. Positive only: failures are never
 * remembered. It keeps no password: HMAC-SHA-256 under a key drawn at start over account, password
 * and stored hash, so a changed hash misses. One entry an account, the oldest gives way. */
#ifndef PH_DIRECTORY_AUTH_CACHE_H
#define PH_DIRECTORY_AUTH_CACHE_H
#include "appliance/base/str.h"

struct auth_cache;
struct auth_cache *auth_cache_new(uint64_t ttl_ms, size_t max); /* ttl_ms 0: remembers nothing */
void auth_cache_free(struct auth_cache **c);
bool auth_cache_knows(struct auth_cache *c, struct str account, struct str password,
                      struct str stored, uint64_t now_ms);
void auth_cache_add(struct auth_cache *c, struct str account, struct str password,
                    struct str stored, uint64_t now_ms);
size_t auth_cache_count(const struct auth_cache *c);
#endif
