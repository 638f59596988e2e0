/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* map.h - hash map from bytes (or a 64-bit id) to a pointer.
 * Floor 0 (base). Threads: one at a time.
 * Ownership: keys are copied, values are the caller's. Iteration order is unspecified. */
#ifndef PH_BASE_MAP_H
#define PH_BASE_MAP_H
#include "appliance/base/str.h"

struct map;
struct map *map_new(void);
void map_free(struct map **m); /* values are not freed: iterate first where they are owned */
size_t map_count(const struct map *m);
void *map_get(const struct map *m, struct str key);        /* NULL: absent */
void *map_set(struct map *m, struct str key, void *value); /* returns the value replaced, or NULL */
void *map_del(struct map *m, struct str key);              /* returns the value removed, or NULL */
void *map_get_id(const struct map *m, uint64_t id);
void *map_set_id(struct map *m, uint64_t id, void *value);
void *map_del_id(struct map *m, uint64_t id);
/* Visits all; *pos starts at 0. The map must not change meanwhile, except by map_del of the visited
 * key. */
bool map_next(const struct map *m, size_t *pos, struct str *key_out, void **value_out);
#endif
