#!/usr/bin/env python3
"""Holds the order of the rooms: a room includes only itself and rooms below it, and every header compiles alone.

    rooms.py               both checks
    rooms.py --order-only  only the order (needs no compiler)

Prints one line per violation and exits with 1 if there is any.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOMS = ("model", "kernels", "traces", "sim", "calibrate", "reports", "cli")  # from the floor up
HEADERS = (".h", ".cuh")
SOURCES = HEADERS + (".cpp", ".cu")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')


def files_of(root, room, suffixes):
    return sorted(p for p in (root / room).rglob("*") if p.suffix in suffixes and p.is_file())


def order_violations(root):
    """Lines "file:line: ..." for includes that go up, leave the rooms, or name one relative to the including file."""
    for height, room in enumerate(ROOMS):
        for file in files_of(root, room, SOURCES):
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                bracket, target = match.groups()
                where = f"{file.relative_to(root)}:{number}"
                first = target.split("/")[0]
                if bracket == "<":
                    if first in ROOMS and (root / target).exists():
                        yield f'{where}: own header included with <{target}>, expected "{target}"'
                elif first not in ROOMS or "/" not in target:
                    yield f'{where}: "{target}" does not start with a room ({", ".join(ROOMS)})'
                elif ROOMS.index(first) > height:
                    yield f'{where}: {room}/ includes "{target}", but {first}/ stands above {room}/'
                elif not (root / target).exists():
                    yield f'{where}: "{target}" does not exist'


def compiles_alone(root, header, compiler, flags):
    result = subprocess.run(
        [compiler, "-fsyntax-only", "-x", "c++", *flags, "-include", str(header.relative_to(root)), "/dev/null"],
        cwd=root, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return None
    first = next((line for line in result.stderr.splitlines() if "error" in line), result.stderr.strip())
    return f"{header.relative_to(root)}: does not compile alone: {first}"


def header_violations(root, compiler):
    flags = ["-std=c++20", "-I", str(root), "-I", "/usr/include/eigen3"]
    headers = []
    for room in ROOMS:
        for header in files_of(root, room, HEADERS):
            needs_cuda = header.suffix == ".cuh" or re.search(r"#\s*include\s*<cu", header.read_text(encoding="utf-8"))
            if needs_cuda:
                continue  # device code: nvcc compiles it through the .cu files that include it
            headers.append(header)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for violation in pool.map(lambda header: compiles_alone(root, header, compiler, flags), headers):
            if violation:
                yield violation


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--order-only", action="store_true", help="skip compiling the headers")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--compiler", default=os.environ.get("CXX", "g++"))
    arguments = parser.parse_args()

    violations = list(order_violations(arguments.root))
    if not arguments.order_only:
        violations += header_violations(arguments.root, arguments.compiler)
    for violation in violations:
        print(violation)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
