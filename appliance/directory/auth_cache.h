/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* auth_cache.h - which logins succeeded lately, so that a client that logs in often costs one hash
 * an hour, and gets in while the database is away. Floor 3 (directory, private). Threads: one at a
 * time. Positive only: failures are never remembered. It keeps no password: HMAC-SHA-256 under a
 * key drawn at start over account and password, and over these and what is stored of the password,
 * so a changed hash misses. Of an account the main password and some app passwords; the account not
 * used for the longest gives way. */
#ifndef PH_DIRECTORY_AUTH_CACHE_H
#define PH_DIRECTORY_AUTH_CACHE_H
#include "appliance/base/str.h"
#include "appliance/directory/scram.h"

struct auth_cache;
/* ttl_ms: how long a login is taken as checked; 0: none is. stale_ms: how long while the database
 * can't be asked. Both 0: remembers nothing. */
struct auth_cache *auth_cache_new(uint64_t ttl_ms, uint64_t stale_ms, size_t max);
void auth_cache_free(struct auth_cache **c);
/* A login with a password that was right when this was stored of it. What was stored otherwise and
 * is known is forgotten. */
bool auth_cache_knows(struct auth_cache *c, struct str account, struct str password,
                      struct str stored, uint64_t now_ms);
/* app: an app password; a main password takes the place of the one before. */
void auth_cache_add(struct auth_cache *c, struct str account, struct str password,
                    struct str stored, bool app, uint64_t quota_bytes, uint64_t now_ms);
/* Was it right not too long ago, whatever is stored now? */
bool auth_cache_stale(struct auth_cache *c, struct str account, struct str password,
                      uint64_t *quota_out, uint64_t now_ms);
/* The same of SCRAM, where no password comes by: the verifier that a login was right with. */
void auth_cache_add_verifier(struct auth_cache *c, struct str account,
                             const struct scram_verifier *v, uint64_t quota_bytes, uint64_t now_ms);
bool auth_cache_verifier(struct auth_cache *c, struct str account, struct scram_verifier *out,
                         uint64_t *quota_out, uint64_t now_ms);
/* Has this account logged in lately, with whatever password? */
bool auth_cache_recent(const struct auth_cache *c, struct str account, uint64_t now_ms);
/* "@domain": all of that domain. */
void auth_cache_forget(struct auth_cache *c, struct str account);
size_t auth_cache_count(const struct auth_cache *c); /* accounts */
#endif
