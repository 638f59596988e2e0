/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
/* mail_test.h - what the tests of this room share. */
#ifndef PH_TEST_MAIL_H
#define PH_TEST_MAIL_H
#include "appliance/base/arena.h"
#include "appliance/base/buf.h"
#include "appliance/base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Views with exact allocations behind them, so that sanitizers see an overread. */
static inline struct str exact(struct str s)
{
    return str_of(memcpy(malloc(s.n ? s.n : 1), s.p, s.n), s.n);
}
static inline void exact_free(struct str s)
{
    void *p;
    memcpy(&p, &s.p, sizeof p);
    free(p);
}
#define assert_str(got, want)                                                                      \
    do {                                                                                           \
        struct str got_ = (got), want_ = str_from(want);                                           \
        if (!str_eq(got_, want_))                                                                  \
            fail_msg("got \"" STR_FMT "\", want \"" STR_FMT "\"", STR_ARG(got_), STR_ARG(want_));  \
    } while (0)
#endif
