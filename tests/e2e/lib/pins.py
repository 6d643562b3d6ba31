# SPDX-License-Identifier: MIT
"""
The agent's maps as memory, and the probed instructions in the registry's own text: both can be
looked at thousands of times a second, which no command can.
"""
import ctypes
import mmap
import os
import struct

from .proc import Failed

_libc = ctypes.CDLL(None, use_errno=True)
_BPF, _OBJ_GET, _OBJ_GET_INFO_BY_FD = 321, 7, 15
# struct pt_site: hook at byte 6, hits at 8, inode at 136, file_offset at 144
_HOOK, _HITS, _INODE, _FILE_OFFSET = 6, 8, 136, 144


def _bpf(command, attributes):
    got = _libc.syscall(_BPF, command, attributes, len(attributes))
    if got < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return got


class Array:
    """A pinned array that can be mapped. entry(i) is where its value lies in memory."""

    def __init__(self, path):
        name = ctypes.create_string_buffer(path.encode())
        fd = _bpf(_OBJ_GET, ctypes.create_string_buffer(
            struct.pack("QII", ctypes.addressof(name), 0, 0)))
        try:
            info = ctypes.create_string_buffer(80)
            _bpf(_OBJ_GET_INFO_BY_FD, ctypes.create_string_buffer(
                struct.pack("IIQ", fd, len(info), ctypes.addressof(info))))
            _, _, _, value, self.entries = struct.unpack_from("IIIII", info)
            self.value_bytes = (value + 7) // 8 * 8
            size = -(-self.value_bytes * self.entries // mmap.PAGESIZE) * mmap.PAGESIZE
            self.memory = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            os.close(fd)

    def entry(self, index):
        return index * self.value_bytes

    def close(self):
        self.memory.close()


class Pins:
    """
    off() and hits() cost a microsecond; probed() reads the text of a process.
    only: of the sites of this binary, where the agent watches others as well
    """

    def __init__(self, bpffs, pid, binary, only=False):
        self._off = Array(f"{bpffs}/off")
        self._sites = Array(f"{bpffs}/sites")
        memory = self._sites.memory
        self._used = [at for at in map(self._sites.entry, range(self._sites.entries))
                      if memory[at + _HOOK] and not (only and self._other(memory, at, binary))]
        if not self._used:
            raise Failed("nothing is probed")
        self._text = [self._place(pid, binary, struct.unpack_from("Q", memory, at + _FILE_OFFSET)[0])
                      for at in self._used]
        self._mem = open(f"/proc/{pid}/mem", "rb", buffering=0)

    @staticmethod
    def _other(memory, at, binary):
        return struct.unpack_from("Q", memory, at + _INODE)[0] != os.stat(binary).st_ino

    @staticmethod
    def _place(pid, binary, offset):
        """(address, the byte that the file has there)"""
        with open(f"/proc/{pid}/maps") as maps:
            for line in maps:
                addresses, rights, start, _, _, *name = line.split()
                low, high = (int(word, 16) for word in addresses.split("-"))
                start = int(start, 16)
                if "x" in rights and name == [binary] and start <= offset < start + high - low:
                    with open(binary, "rb") as file:
                        file.seek(offset)
                        return low + offset - start, file.read(1)
        raise Failed(f"{binary} has no text at {offset:#x} in {pid}")

    def off(self):
        return struct.unpack_from("I", self._off.memory, 0)[0]

    def hits(self):
        return sum(struct.unpack_from("Q", self._sites.memory, at + _HITS)[0]
                   for at in self._used)

    def probed(self):
        """How many instructions are not what the file has: probes that stand there."""
        found = 0
        for address, byte in self._text:
            self._mem.seek(address)
            found += self._mem.read(1) != byte
        return found

    @property
    def sites(self):
        return len(self._used)

    def close(self):
        self._mem.close()
        self._off.close()
        self._sites.close()
