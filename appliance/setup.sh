# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# setup.sh - sourced by appliance/run.sh and tests/run.sh: installs what is missing and builds. Expects $root.

build_packages="gcc libc6-dev cmake ninja-build pkg-config libuv1-dev libssl-dev libsqlite3-dev default-libmysqlclient-dev
 libcrypt-dev libargon2-dev libpam0g-dev libidn2-dev zlib1g-dev libconfuse-dev libseccomp-dev libjansson-dev libmicrohttpd-dev libunbound-dev
 dns-root-data libcurl4-openssl-dev libopendkim-dev libspf2-dev libclamav-dev ca-certificates"

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

# On a young machine others install, too; and mirrors fail for a moment.
apt_get() {
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 "$@"
}

install_packages() {
    missing=$(missing_packages "$@")
    [ -z "$missing" ] && return 0
    as_root true || return 1
    say "installing $(echo $missing | wc -w) packages"
    for pause in 10 30 0; do
        apt_get update && apt_get install -y --no-install-recommends $missing && return 0
        sleep $pause
    done
    return 1
}

# The version of clang that Debian's package of that name stands for.
clang_version() {
    apt-cache show clang 2>/dev/null | sed -n 's/^Depends:.*clang-\([0-9]*\).*/\1/p' | head -n 1
}

# build_in FOLDER OPTIONS TARGET...: OPTIONS are CMake's, blanks within one behind a backslash
build_in() {
    folder=$root/$1 options=$2
    shift 2
    [ -f "$folder/build.ninja" ] || say "building in $(basename "$folder")/ (cmake, ninja)"
    eval "quietly cmake -S \"\$root\" -B \"\$folder\" -G Ninja $options" || return 1
    quietly ninja -C "$folder" "$@"
}

# build TARGET...
build() {
    build_in build -DCMAKE_BUILD_TYPE=Release "$@"
}
