# SPDX-License-Identifier: MIT
"""bpf/apache_layout.h against the public headers of several versions: a C compiler that has both is
asked whether they agree."""
import subprocess

import pytest

import watching
from watching import Folder

from lib.apache import fetched
from lib.proc import REPOSITORY_ROOT

FIELDS = {"POOL": "pool", "CONNECTION": "connection", "NEXT": "next", "PREV": "prev",
          "THE_REQUEST": "the_request", "STATUS": "status", "METHOD_NUMBER": "method_number",
          "HEADERS_IN": "headers_in", "HEADERS_OUT": "headers_out",
          "ERR_HEADERS_OUT": "err_headers_out", "CONTENT_TYPE": "content_type",
          "UNPARSED_URI": "unparsed_uri", "USERAGENT_IP": "useragent_ip"}
TABLE = {"SIZE": "elt_size", "COUNT": "nelts", "ROOM": "nalloc", "ELEMENTS": "elts"}
CLAIMS = [f"offsetof(request_rec, {name}) == APACHE_{field}" for field, name in FIELDS.items()]
CLAIMS += [f"offsetof(apr_array_header_t, {name}) == APACHE_TABLE_{field}"
           for field, name in TABLE.items()]
CLAIMS += ["sizeof(request_rec) >= APACHE_REQUEST_BYTES",
           "sizeof(apr_array_header_t) == APACHE_TABLE_BYTES",
           "sizeof(apr_table_entry_t) == APACHE_ENTRY_BYTES",
           "offsetof(apr_table_entry_t, val) == 8", "offsetof(apr_table_entry_t, key_checksum) == 16",
           "MODULE_MAGIC_NUMBER_MAJOR == APACHE_MAGIC_MAJOR",
           "MODULE_MAGIC_COOKIE == APACHE_MODULE_COOKIE", "offsetof(module, version) == 0",
           "offsetof(module, magic) == 40", "M_GET == APACHE_METHOD_GET",
           "M_PUT == APACHE_METHOD_PUT", "M_DELETE == APACHE_METHOD_DELETE",
           "METHODS == APACHE_METHODS"]
HEAD = """#include <stddef.h>
#include "httpd.h"
#include "http_config.h"
#include "bpf/apache_layout.h"
"""


def compiles(headers, claims):
    """What the compiler says of the claims; empty: all hold."""
    with Folder("pulltap-headers-") as folder:
        source = folder.write("claims.c", HEAD + "".join(
            f'_Static_assert({claim}, "does not hold");\n' for claim in claims))
        done = subprocess.run(
            ["gcc", "-fsyntax-only", "-D_GNU_SOURCE", f"-I{headers}/apache2",
             f"-I{headers}/apr-1.0", f"-I{REPOSITORY_ROOT}", source],
            capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr or "gcc failed"


def test_every_version_has_the_layout_that_is_read():
    _, headers, said = fetched()
    if len(headers) < 2:
        watching.missing(f"the headers of two versions are wanted: {said}")
    for suite, folder in headers.items():
        assert compiles(folder, CLAIMS) == "", suite


@pytest.mark.parametrize("claim", ["offsetof(request_rec, status) == APACHE_METHOD_NUMBER"])
def test_a_wrong_claim_is_found(claim):
    _, headers, said = fetched()
    if not headers:
        watching.missing(f"no headers: {said}")
    assert "does not hold" in compiles(next(iter(headers.values())), [claim])
