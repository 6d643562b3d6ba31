# SPDX-License-Identifier: MIT
"""
Other builds of pulltap, for tests of upgrades: a copy of the sources with a change.

    variant.py other|longer FOLDER

other: its BPF object differs, its structs do not. longer: a later version, whose structs got
further fields and whose ledger got one more counter. Files that are right already are left alone,
so that make builds only what changed.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARTS = ("Makefile", "VERSION", "bpf", "user", "vmlinux", "deploy/rules.mk", "deploy/sql",
         "tests/rules.mk", "tests/kernels/rules.mk")
LONGER = ("pt_control", "pt_site", "pt_hint", "pt_registry")


def other(path, text):
    if path == "bpf/maps.h":
        text, count = re.subn(r"(#define PT_SCRATCHES) 4\b", r"\1 5", text)
        assert count == 1
    return text


def longer(path, text):
    if path == "bpf/abi.h":
        for name in LONGER:
            text, count = re.subn(rf"(struct {name} {{\n(?:.*\n)*?)}};\n",
                                  r"\1\t__u64 added_later;\n};\n", text, count=1)
            assert count == 1, name
        # the ledger's last counter is the last line of its list that has no backslash
        text, count = re.subn(r'(#define PT_LEDGER\(X\)(?:.*\\\n)+.*\))\n',
                              r'\1 \\\n\tX(lost_later, LOST, "what a later version loses")\n',
                              text, count=1)
        assert count == 1
    return text


CHANGES = {"other": other, "longer": longer}


def main():
    name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", *PARTS],
                            stdout=subprocess.PIPE, text=True, check=True).stdout.split("\n")
    for path in filter(None, listed):
        source, to = ROOT / path, folder / path
        if not source.exists():
            continue
        text = CHANGES[name](path, source.read_text())
        if to.exists() and to.read_text() == text:
            continue
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(text)
    for old in folder.rglob("*.[ch]"):
        if not (ROOT / old.relative_to(folder)).exists():
            old.unlink()


if __name__ == "__main__":
    main()
