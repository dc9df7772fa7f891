#!/bin/sh
# Makes .venv beside this folder with what is asked for: "run", "test" or "lint". Says what it does; does
# nothing when all is there. On Debian it fetches missing system packages through apt where it may.
set -eu
cd "$(dirname "$0")/.."
purpose=${1:?usage: scripts/environment.sh run|test|lint|docs}

say() { printf '==> %s\n' "$1"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then sudo "$@"
    else return 1
    fi
}

# apt_get PACKAGE...: installs those that are missing.
apt_get() {
    command -v dpkg-query >/dev/null 2>&1 || return 0 # not Debian: the person knows their package manager
    missing=""
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "Installing system packages:$missing"
    # shellcheck disable=SC2086 # a list of package names
    if ! { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $missing >/dev/null; }; then
        echo "Could not install them. As root, run:  apt-get install$missing" >&2
        exit 1
    fi
}

find_python() {
    for name in python3.13 python3.12 python3.11 python3 python; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
}

python=$(find_python)
if [ -z "$python" ]; then
    apt_get python3 python3-venv
    python=$(find_python)
fi
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed and was not found. Install it, then run this again." >&2
    exit 1
fi

if ! .venv/bin/python -c '' 2>/dev/null; then
    "$python" -c 'import ensurepip' 2>/dev/null || apt_get python3-venv
    say "Making the environment .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

case $purpose in
    run) packages="-e ." ;;
    test) packages="-e .[all,test]" ;;
    lint) packages="-e .[all,test] --group lint" ;;
    docs) packages="-e .[docs]" ;;
    *) echo "unknown purpose $purpose: run, test, lint or docs" >&2; exit 2 ;;
esac

if [ "$purpose" != run ] && [ "$purpose" != docs ] && [ "$(uname)" = Linux ]; then
    apt_get xvfb xauth libgl1 libegl1 libgl1-mesa-dri libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 \
        libxcb-keysyms1 libxcb-image0 libxcb-render-util0 libxcb-xinerama0 libxcb-shape0 libdbus-1-3 \
        libglib2.0-0 libfontconfig1 fontconfig fonts-dejavu-core
fi

stamp=.venv/.made-for-$purpose
wanted=$(cksum <pyproject.toml)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    say "Installing Python packages for: $purpose (the first time: several GB, mostly torch)"
    .venv/bin/python -m pip install -q --disable-pip-version-check uv
    # shellcheck disable=SC2086 # a list of arguments
    .venv/bin/python -m uv pip install -q --python .venv/bin/python $packages
    printf '%s' "$wanted" >"$stamp"
fi
