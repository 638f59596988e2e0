#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# Installs what is missing, builds, and starts the sealed test mail server in the foreground.
# Options go to `posthouse dev` (see build/posthouse dev --help).
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/appliance/setup.sh"

install_packages $build_packages ca-certificates curl
build posthouse
exec "$root/build/posthouse" dev "$@"
