#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# Mixed SMTP and IMAP traffic with reloads against `posthouse serve`, and a look at its memory, which must stay flat.
#   tests/soak.sh [MINUTES]   (10). Not part of tests/run.sh. POSTHOUSE names another binary than build/posthouse.
# With one that was built with ASan, and not as root, it looks for leaks at the end instead.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/appliance/setup.sh"

install_packages $build_packages ca-certificates python3 python3-pytest openssl
[ -n "${POSTHOUSE-}" ] || build posthouse
exec /usr/bin/python3 "$root/tests/soak.py" "${1:-10}"
