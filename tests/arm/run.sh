#!/bin/sh
# Builds the sdist with gcc in Debian userlands of other CPUs (qemu) and runs tests there.
#   tests/arm/run.sh [armhf|arm64]...        both by default; as root, on a Debian-like machine
# Userlands and wheels stay in $EDGEMSE_ARM_CACHE (default ~/.cache/edgemse-arm, about 1 GiB).
set -eu
cd "$(dirname "$0")/../.."

cache=${EDGEMSE_ARM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/edgemse-arm}
mirror=${EDGEMSE_ARM_MIRROR:-http://deb.debian.org/debian}
suite=bookworm  # Raspberry Pi OS 12; its Python is 3.11, the oldest that edgemse runs on
python=.venv/bin/python

stop() {
    echo "test-arm: $*" >&2
    exit 1
}

see_to_tools() {
    [ "$(id -u)" = 0 ] ||
        stop "needs root, for debootstrap, chroot and binfmt_misc; say: sudo make test-arm"
    missing=""
    command -v debootstrap > /dev/null || missing="$missing debootstrap"
    command -v qemu-arm-static > /dev/null || missing="$missing qemu-user-static"
    [ -z "$missing" ] && return
    command -v apt-get > /dev/null || stop "missing:$missing (Debian packages)"
    echo "installing:$missing"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $missing \
        > /dev/null
}

# The kernel must hand programs of the other CPU to qemu, inside the userland too: Debian's own
# registration ("F": the interpreter is opened now, so the userland needs no copy of it).
see_to_binfmt() {
    formats=/proc/sys/fs/binfmt_misc
    [ -e $formats/register ] || mount -t binfmt_misc binfmt_misc $formats ||
        stop "cannot mount binfmt_misc; in a container the host must have registered qemu"
    [ -e "$formats/qemu-$1" ] || cat "/usr/lib/binfmt.d/qemu-$1.conf" > $formats/register
}

see_to_userland() {
    [ -d "$cache/$1/root" ] && return
    rm -rf "$cache/$1/root.new"
    mkdir -p "$cache/$1"
    echo "$1: making a Debian $suite userland; minutes, once"
    debootstrap --arch="$1" --variant=minbase --include=gcc,libc6-dev,python3-dev,python3-venv \
        $suite "$cache/$1/root.new" "$mirror" > "$cache/$1/debootstrap.log" 2>&1 ||
        stop "debootstrap failed; see $cache/$1/debootstrap.log"
    rm -rf "$cache/$1/root.new/var/cache/apt/archives"
    mv "$cache/$1/root.new" "$cache/$1/root"
}

# Fetched outside, with the proxy, certificates and indexes that pip knows here; the userland
# stays offline. msgspec has no wheel for armv7: there it is built from its sdist, once.
see_to_wheels() {
    wheels="$cache/$1/root/wheels"
    [ -e "$wheels/complete" ] && cmp -s tests/arm/wheels.txt "$wheels/complete" && return
    echo "$1: fetching wheels"
    mkdir -p "$wheels"
    platforms=""
    for glibc in 2_17 2_28 2_31 2_34; do
        platforms="$platforms --platform manylinux_${glibc}_$2"
    done
    fetch="$python -m pip --disable-pip-version-check download --quiet --dest $wheels"
    while read -r requirement; do
        # shellcheck disable=SC2086
        $fetch --only-binary :all: --python-version 3.11 --implementation cp --abi cp311 \
            --abi abi3 --abi none $platforms "$requirement" 2> "$cache/$1/pip.log" ||
            $fetch --no-deps --no-binary "${requirement%%[<>=]*}" "$requirement" \
                2> "$cache/$1/pip.log" ||
            { cat "$cache/$1/pip.log"; stop "cannot fetch $requirement for $1"; }
    done < tests/arm/wheels.txt
    cp tests/arm/wheels.txt "$wheels/complete"
}

# The sdist and the tests of it, taken together: a run lasts long enough for the sources to change.
make_sdist() {
    rm -rf "$cache/sdist" "$cache/tested"
    $python -m build --quiet --sdist --outdir "$cache/sdist" . > "$cache/sdist.log" 2>&1 ||
        { cat "$cache/sdist.log"; stop "cannot build the sdist"; }
    mkdir "$cache/tested"
    # pytest's settings and the vectors of the documentation, but not the packages' sources
    cp -r "$cache"/sdist/*.tar.gz tests/arm/inside.sh tests/arm/wheels.txt tests docs pyproject.toml \
        "$cache/tested"
}

# Its own mounts and processes, so that nothing is left mounted or running, however this ends.
run_inside() {
    root="$cache/$1/root"
    rm -rf "$root/edgemse"
    cp -r "$cache/tested" "$root/edgemse"
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        unshare --mount --pid --fork --mount-proc="$root/proc" \
        chroot "$root" /bin/sh /edgemse/inside.sh "$1"
}

# The batch kernel exists three times on x86-64; the CPU at hand runs one of them.
test_other_clones() {
    [ "$(uname -m)" = x86_64 ] || return 0
    for model in Nehalem Haswell; do # without AVX, with AVX2
        echo "x86-64: testing the same bits on a $model"
        qemu-x86_64-static -cpu $model $python -m pytest -q -p no:cacheprovider --timeout 1800 \
            tests/stats/test_same_bits.py
    done
}

cpu() {
    case $1 in
    armhf) echo arm armv7l ;;
    arm64) echo aarch64 aarch64 ;;
    *) stop "armhf and arm64 are known, not '$1'" ;;
    esac
}

see_to_tools
mkdir -p "$cache"
exec 9> "$cache/lock"
flock --nonblock 9 || { echo "another run uses $cache; waiting for it"; flock 9; }
[ $# -gt 0 ] || test_other_clones
[ $# -gt 0 ] || set -- armhf arm64
make_sdist
for architecture in "$@"; do
    names=$(cpu "$architecture")  # qemu's name and that of wheels
    see_to_binfmt "${names% *}"
    see_to_userland "$architecture"
    see_to_wheels "$architecture" "${names#* }"
    run_inside "$architecture"
done
