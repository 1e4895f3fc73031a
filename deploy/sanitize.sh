#!/bin/sh
# Runs a command with the compiled room built for the sanitizers (addresses, undefined behaviour):
#
#   deploy/sanitize.sh python -m pytest tests/node/engine
#
# `python` means the one of .venv, or $PYTHON. The command runs in build/sanitize, a copy of the checkout as it is now:
# the release objects stay what they are, and neither build ever loads the other's. Compiled is what changed since.
#
# A shell script, because the sanitizer's run-time library has to be in the process before Python is.
set -eu

cd "$(dirname "$0")/.."
root=$PWD
copy=$root/build/sanitize
python=${PYTHON:-$root/.venv/bin/python}
compiler=${CC:-gcc}

mkdir -p "$copy"
exec 9>"$copy.lock"
if command -v flock >/dev/null 2>&1; then flock 9; fi
# What was deleted or renamed must not linger; objects stay, for file times to judge.
(cd "$copy" && find . -type f ! -path './build/*' ! -name '*.so' ! -path './node/engine/*.c') | while read -r file; do
    [ -e "$file" ] || rm -f "$copy/$file"
done
tar -cf - --exclude-vcs --exclude=./build --exclude=./.venv --exclude=./.cluster --exclude='__pycache__' \
    --exclude='*.so' --exclude='./node/engine/*.c' --exclude='./.*_cache' --exclude=./.hypothesis . | tar -xf - -C "$copy"
cd "$copy"

# Other flags make other objects, and file times do not show it.
cmp -s setup.py build/setup.py || rm -rf build node/engine/*.so node/engine/*.c
mkdir -p build
find build -name '*.o' -size 0 -delete # of a build that was cut short
log=$copy/build/sanitize.log
GRAPEVINE_BUILD=sanitize CC="$compiler" "$python" setup.py --quiet build_ext --inplace >"$log" 2>&1 || {
    grep -E 'error:|Error:' "$log" | head -3 >&2
    echo "grapevine: could not build node/engine with sanitizers (details: $log)" >&2
    exit 1
}
cp setup.py build/setup.py
$compiler -O2 -shared -fPIC -o build/coverage.so tests/fuzz/coverage.c

runtime=$($compiler -print-file-name=libasan.so)
[ -e "$runtime" ] || { echo "grapevine: $compiler has no libasan.so: install gcc (Debian, Ubuntu: apt-get install gcc)" >&2; exit 1; }

exec 9>&-

[ "$1" != python ] || { shift; set -- "$python" "$@"; }
# Python's own pools would hide what is before and behind a bytes object. Leaks are not looked for: an interpreter
# that ends leaves much behind; our own memory is audited instead (node/engine/audit.pyx).
LD_PRELOAD="$runtime $copy/build/coverage.so" \
    PYTHONMALLOC=malloc \
    ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=0:${ASAN_OPTIONS:-}" \
    UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:${UBSAN_OPTIONS:-}" \
    exec "$@"
