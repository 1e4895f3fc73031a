"""Builds the compiled room. Everything else about the project is in pyproject.toml.

GRAPEVINE_BUILD selects a variant: `release` (default), `debug` (assertions, line tracing) or
`sanitize` (address and undefined-behaviour sanitizers, and a call at every branch that tells the fuzzer where
it has been; deploy/sanitize.sh builds it aside and runs it with what it needs). With `none` nothing is
compiled: deploy/prepare.sh installs the rest that way and has the room built in place, where file times tell
what is due (an editable install by pip would compile everything each time).
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOM = Path("node/engine")
VARIANT = os.environ.get("GRAPEVINE_BUILD", "release")
FLAGS: dict[str, tuple[list[str], list[str]]] = {
    "none": ([], []),
    "release": (["-O2", "-fno-strict-aliasing", "-fno-plt"], []),
    "debug": (["-O0", "-g", "-fno-strict-aliasing"], []),
    "sanitize": (
        [
            *("-O1", "-g", "-fno-omit-frame-pointer", "-fno-strict-aliasing"),
            *("-fsanitize=address,undefined", "-fsanitize-coverage=trace-pc"),
        ],
        ["-fsanitize=address,undefined"],
    ),
}
if VARIANT not in FLAGS:
    raise SystemExit(f"GRAPEVINE_BUILD={VARIANT!r}: choose one of {', '.join(FLAGS)}")
compile_args, link_args = FLAGS[VARIANT]

extensions = [
    Extension(
        f"node.engine.{path.stem}",
        [str(path)],
        extra_compile_args=[*compile_args, "-Wno-unused-function", "-Wno-unreachable-code"],
        extra_link_args=link_args,
        # The sanitizers watch malloc's blocks, not those that our own arenas hand out.
        define_macros=[("GRAPEVINE_PLAIN_MALLOC", "1" if VARIANT == "sanitize" else "0")],
    )
    for path in (sorted(ROOM.glob("*.pyx")) if VARIANT != "none" else [])
]

setup(
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
    ext_modules=cythonize(
        extensions,
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": 3,
            "boundscheck": VARIANT != "release",
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": VARIANT != "release",
            "embedsignature": False,
        },
    ),
)
