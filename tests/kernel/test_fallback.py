# SPDX-License-Identifier: MIT
"""A build host without BTF: the kernel side made from vmlinux/fallback.h loads on this kernel."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINS = Path("/sys/fs/bpf/pulltap-test-fallback")
BPFTOOL = shutil.which("bpftool", path=os.environ["PATH"] + ":/usr/sbin")


def test_build_without_btf_loads(tmp_path):
    build = tmp_path / "build"
    subprocess.run(
        ["make", "-s", f"BUILD={build}", "VMLINUX_BTF=/nonexistent", str(build / "pulltap.bpf.o"),
         str(build / "entry.bpf.o")],
        cwd=ROOT, check=True, capture_output=True, text=True)
    assert (build / "vmlinux.h").read_text() == (ROOT / "vmlinux/fallback.h").read_text()
    try:
        subprocess.run([BPFTOOL, "prog", "loadall", str(build / "pulltap.bpf.o"), str(PINS)],
                       check=True, capture_output=True, text=True)
        assert {"go_http1", "go_http2", "exec_watch"} <= {p.name for p in PINS.iterdir()}
    finally:
        shutil.rmtree(PINS, ignore_errors=True)
