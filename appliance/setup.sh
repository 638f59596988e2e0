# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# setup.sh - sourced by appliance/run.sh and tests/run.sh: installs what is missing and builds. Expects $root.

build_packages="gcc libc6-dev cmake ninja-build pkg-config libuv1-dev libssl-dev libsqlite3-dev libcrypt-dev
 libidn2-dev libconfuse-dev libseccomp-dev libjansson-dev libmicrohttpd-dev"

say() { printf '%s\n' "== $*" >&2; } # progress; standard output belongs to the program

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1; then sudo "$@"
    else echo "posthouse: installing packages needs root or sudo: $*" >&2; return 1
    fi
}

# Runs a command quietly; its output is shown only when it fails.
quietly() {
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then rm -f "$log"; return 0; fi
    cat "$log" >&2
    rm -f "$log"
    return 1
}

missing_packages() {
    for p in "$@"; do
        case $(dpkg-query -W -f='${Status}' "$p" 2>/dev/null) in
        *" installed") ;;
        *) printf '%s ' "$p" ;;
        esac
    done
}

install_packages() {
    missing=$(missing_packages "$@")
    [ -z "$missing" ] && return 0
    say "installing $(echo $missing | wc -w) packages"
    quietly as_root apt-get update -q || return 1
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
}

# build TARGET...
build() {
    [ -f "$root/build/build.ninja" ] || say "building (cmake, ninja)"
    quietly cmake -S "$root" -B "$root/build" -G Ninja -DCMAKE_BUILD_TYPE=Release || return 1
    quietly ninja -C "$root/build" "$@"
}
