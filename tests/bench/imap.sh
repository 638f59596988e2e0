#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# Reading mail: memory, idle connections, opening, fetching and searching large mailboxes, posthouse against Dovecot on
# Maildir (the same messages), same run, both on one journaled ext4 loop mount. Needs root (mount, cgroups). Everything
# stays on loopback and stops by itself.
#   tests/bench/imap.sh [--quick] [--no-dovecot] [--only idle|large|search]
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/appliance/setup.sh"

install_packages $build_packages python3 e2fsprogs util-linux
case " $* " in
*" --no-dovecot "*) ;;
*) install_packages dovecot-imapd ;;
esac
build posthouse
exec python3 "$root/tests/bench/imap.py" "$root/build/posthouse" "$@"
