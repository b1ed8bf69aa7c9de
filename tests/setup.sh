# SPDX-License-Identifier: Apache-2.0
# Sourced by tests/run and sidecar/demo: installs Debian packages that are missing.

# setup_packages NAME...: apt-get install of those that are not there; sudo when not root.
setup_packages() {
    missing=""
    for package in "$@"; do
        case "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" in
        installed) ;;
        *) missing="$missing $package" ;;
        esac
    done
    [ -z "$missing" ] && return 0
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "missing packages:$missing; install them as root: apt-get install$missing" >&2
            exit 1
        fi
        sudo=sudo
    fi
    echo "installing$missing"
    setup_log=$(mktemp)
    trap 'rm -f "$setup_log"; exit 130' INT TERM HUP
    # What a Ctrl-C left half-installed is finished first. The index next: a fresh machine has none,
    # an old one may name versions that are gone. A machine that is just updating itself holds the
    # lock for a while.
    if ! {
        $sudo env DEBIAN_FRONTEND=noninteractive dpkg --configure -a ||
            echo "dpkg --configure -a failed; apt-get may mend it"
        $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q \
            -y --fix-broken --no-install-recommends -o DPkg::Lock::Timeout=300 $missing
    } >"$setup_log" 2>&1; then
        tail -20 "$setup_log" >&2
        echo "cannot install$missing; the whole log is $setup_log" >&2
        exit 1
    fi
    trap - INT TERM HUP
    rm -f "$setup_log"
}
