/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* admin_policy.h - posthouse policy, in parts. Floor 6 (app). Threads: those of admin.h. */
#ifndef PH_APP_ADMIN_POLICY_H
#define PH_APP_ADMIN_POLICY_H
#include "appliance/app/admin.h"
#include "filters/alias.h"
#include "filters/policy_rows.h"

int policy_cmd_alias(struct admin_call *c); /* admin_policy_alias.c */
int policy_cmd_test(struct admin_call *c);  /* admin_policy_test.c */
json_t *policy_rule_json(const struct policy_rule *r);
#endif
