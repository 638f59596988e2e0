/* SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception */
#include "appliance/mail/delivered.h"

static const struct str return_path = {"Return-Path: <", 14};

static void add_sender(struct buf *out, struct str sender)
{
    buf_add_str(out, return_path);
    buf_add_str(out, sender);
    buf_add_z(out, ">\r\n");
}

void delivered_prefix(struct buf *out, struct str sender, struct str account)
{
    add_sender(out, sender);
    buf_add_z(out, "Delivered-To: ");
    buf_add_str(out, account);
    buf_add_z(out, "\r\n");
}

void delivered_change_sender(struct buf *out, struct str prefix, struct str sender)
{
    size_t at;

    add_sender(out, sender);
    if (str_starts(prefix, return_path) && str_find(prefix, STR("\r\n"), &at))
        prefix = str_skip(prefix, at + 2);
    buf_add_str(out, prefix);
}
