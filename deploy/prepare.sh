#!/bin/sh
# Makes the checkout runnable: .venv, the packages Grapevine needs, the compiled room, the `grapevine` command.
#
#   deploy/prepare.sh [run|test|lint]...     (run is always included)
#
# Called by every target of the Makefile, so it has to be quick when there is nothing to do: two stamps in .venv
# remember what was installed and what was built, and `find -newer` is all that a second run costs.
# What pip, Cython and the compiler say goes to .venv/prepare.log; a failure is one line that names the log.
#
# It is a shell script because it has to speak clearly on a machine that has no Python, or too old a one.
set -u

cd "$(dirname "$0")/.." || exit 1
root=$PWD
log=$root/.venv/prepare.log

say() { printf 'grapevine: %s\n' "$*"; }
fail() {
    printf 'grapevine: %s\n' "$*" >&2
    exit 1
}

find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

explain_python() {
    found=$("${PYTHON:-python3}" -c 'import platform; print(platform.python_version())' 2>/dev/null) ||
        fail "no ${PYTHON:-python3} here: install Python 3.11 or newer (Debian, Ubuntu: apt-get install python3-dev python3-venv)"
    fail "Python $found is too old: Grapevine needs 3.11 or newer (name one with: make PYTHON=/path/to/python3.11 ...)"
}

# pip's own words are long and its exit status is always 1, so the log decides which line to print.
pip_install() {
    "$python" -m pip install --disable-pip-version-check --no-input --retries 3 "$@" >>"$log" 2>&1 && return 0
    if grep -qiE 'NewConnectionError|name resolution|ConnectTimeout|ReadTimeout|ProxyError|SSLError|Connection refused|Network is unreachable' "$log"; then
        fail "could not download Python packages: no network, or the package index does not answer (details: .venv/prepare.log)"
    fi
    if grep -q 'No space left on device' "$log"; then
        fail "could not install Python packages: no space left on the disk (details: .venv/prepare.log)"
    fi
    reason=$(grep -E '^ *(ERROR|error): ' "$log" | head -1 | sed 's/^ *//')
    fail "could not install Python packages: ${reason:-pip failed} (details: .venv/prepare.log)"
}

# Args: the Python whose headers count.
check_compiler() {
    [ -z "${compiler_checked:-}" ] || return 0
    # The compiler Python itself was built with may not be the one that is installed here.
    wanted=${CC:-$("$1" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
    if ! command -v "${wanted%% *}" >/dev/null 2>&1; then
        [ -z "${CC:-}" ] || fail "CC=$CC: there is no such compiler"
        for candidate in cc gcc clang; do
            command -v "$candidate" >/dev/null 2>&1 && CC=$candidate && export CC && break
        done
        [ -n "${CC:-}" ] || fail "no C compiler here: install gcc or clang (Debian, Ubuntu: apt-get install gcc libc6-dev)"
        wanted=$CC
    fi
    # shellcheck disable=SC2086  # CC may carry options
    printf '#include <stdio.h>\nint main(void) { return 0; }\n' | $wanted -x c -o /dev/null - >>"$log" 2>&1 ||
        fail "the C compiler '$wanted' cannot build a program: are the C library's headers installed? (Debian, Ubuntu: apt-get install libc6-dev; details: .venv/prepare.log)"
    headers=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -e "$headers/Python.h" ] ||
        fail "Python's C headers are missing ($headers/Python.h): install them (Debian, Ubuntu: apt-get install python3-dev)"
    compiler_checked=yes
}

explain_build() {
    reason=$(grep -E 'error:|Error:' "$log" | head -1 | cut -c1-160)
    fail "could not build node/engine: ${reason:-the compiler failed} (details: .venv/prepare.log)"
}

# Names of distributions from pyproject.toml: the one list of what is needed.
requirements() {
    "$python" - "$@" <<'PY'
import sys
import tomllib

with open("pyproject.toml", "rb") as file:
    settings = tomllib.load(file)
wanted = [*settings["build-system"]["requires"], *settings["project"]["dependencies"]]
for extra in sys.argv[1:]:
    wanted += settings["project"]["optional-dependencies"][extra]
print(*wanted, sep="\n")
PY
}

# A stamp is fresh when it was written for this very checkout, Python and variant, and nothing it depends on is newer.
fresh() {
    stamp=$1
    shift
    [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$identity" ] && [ -z "$(find "$@" -newer "$stamp" 2>/dev/null | head -1)" ]
}

[ "$(uname -s)" = Linux ] || fail "Grapevine runs on Linux only (its nodes stand on epoll)"

extras=
for part in "$@"; do
    case $part in
        run) ;;
        test | lint) extras="$extras $part" ;;
        *) fail "prepare.sh: unknown part '$part': choose run, test or lint" ;;
    esac
done

mkdir -p .venv 2>/dev/null && : 2>/dev/null >.venv/.writable && rm -f .venv/.writable ||
    fail "cannot write to $root/.venv: make the directory writable, or use a checkout that is"
exec 9>.venv/.lock
if command -v flock >/dev/null 2>&1; then
    flock -n 9 || { say "waiting for another make that prepares .venv"; flock 9; }
fi

python=$root/.venv/bin/python
identity="$root ${GRAPEVINE_BUILD:-release}"

if ! "$python" -m pip --version >/dev/null 2>&1 || ! grep -qs "^command = .* $root/.venv\$" .venv/pyvenv.cfg; then
    system_python=$(find_python) || explain_python
    : >"$log"
    check_compiler "$system_python" # a missing compiler is worth knowing before anything is downloaded
    say "creating .venv with Python $("$system_python" -c 'import platform; print(platform.python_version())')"
    rm -f .venv/.installed-* .venv/.registered .venv/.built
    "$system_python" -m venv "$root/.venv" >>"$log" 2>&1 || {
        if grep -q 'No space left on device' "$log"; then fail "cannot create .venv: no space left on the disk"; fi
        fail "cannot create .venv: Python's venv module does not work (Debian, Ubuntu: apt-get install python3-venv; details: .venv/prepare.log)"
    }
fi

for part in run $extras; do
    fresh ".venv/.installed-$part" pyproject.toml && continue
    : >"$log"
    [ "$part" = run ] && wanted= || wanted=$part
    # shellcheck disable=SC2086  # no extra means no argument
    requirements $wanted >.venv/requirements.txt || fail "cannot read pyproject.toml"
    if [ "$part" = run ]; then say "installing what Grapevine needs"; else say "installing what 'make $part' needs"; fi
    pip_install --quiet -r .venv/requirements.txt
    printf '%s\n' "$identity" >".venv/.installed-$part"
done

# The `grapevine` command. Editable: the packages stay where they are; what is compiled is built beside its sources below.
if ! fresh .venv/.registered pyproject.toml; then
    : >"$log"
    GRAPEVINE_BUILD=none pip_install --quiet --no-deps --no-build-isolation --editable .
    printf '%s\n' "$identity" >.venv/.registered
fi

if ! fresh .venv/.built setup.py node/engine/*.p[yx][xd] node/engine/*.h; then
    : >"$log"
    check_compiler "$python"
    # Objects of another variant or of other options are worth nothing, and file times do not show them.
    fresh .venv/.built setup.py || rm -rf build node/engine/*.so node/engine/*.c
    printf '%s\n' "$identity" >.venv/.building # its time is the beginning: what changes meanwhile is built next time
    say "compiling node/engine (a minute or two the first time)"
    "$python" setup.py --quiet build_ext --inplace >>"$log" 2>&1 || explain_build
    mv .venv/.building .venv/.built
fi

# Seven processes that start at once would each compile the same Python files.
if ! fresh .venv/.compiled gossip node router chaos deploy bench -name '*.py'; then
    "$python" -m compileall -q gossip node router chaos deploy bench >>"$log" 2>&1 || fail "Python files cannot be compiled (details: .venv/prepare.log)"
    printf '%s\n' "$identity" >.venv/.compiled
fi
