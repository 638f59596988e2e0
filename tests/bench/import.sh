#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# Mail of a large Dovecot Maildir brought over: messages per second, memory of the command and of the server, how long deliveries
# take meanwhile, a second run, and back out; against `doveadm import` and `doveadm backup` (dsync) into another Maildir, same run,
# on one journaled ext4 loop mount; the same mail over IMAP from Dovecot. Needs root (mount, cgroups). It stops by itself.
#   tests/bench/import.sh [--quick] [--no-dovecot] [--only-imap] [--messages N]
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/appliance/setup.sh"

install_packages $build_packages python3 e2fsprogs util-linux
case " $* " in
*" --no-dovecot "*) ;;
*) install_packages dovecot-imapd ;;
esac
build posthouse
exec python3 "$root/tests/bench/import.py" "$root/build/posthouse" "$@"
