#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# Acknowledged 10 KB messages per second into mailboxes, posthouse against Postfix delivering to Maildir, same run, both on
# one journaled ext4 loop mount. Needs root (mount, cgroups). Everything stays on loopback and stops by itself.
#   tests/bench/smtp.sh [--quick] [--no-postfix] [--only rates|large|copy|stalled]
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/appliance/setup.sh"

install_packages $build_packages python3 e2fsprogs util-linux
case " $* " in
*" --no-postfix "*) ;;
*) install_packages postfix ;;
esac
build posthouse
mkdir -p "$root/build/bench"
gcc -O2 -o "$root/build/bench/smtp_load" "$root/tests/bench/smtp_load.c"
exec python3 "$root/tests/bench/smtp.py" "$root/build/posthouse" "$root/build/bench/smtp_load" "$@"
