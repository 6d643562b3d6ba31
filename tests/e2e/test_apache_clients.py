# SPDX-License-Identifier: MIT
"""
Who asks, where apache alone is watched: kinds of client, rules by User-Agent and address, trusted
proxies before it, mod_remoteip's word, and an index's children, out of what its clients send.
"""
import pytest

from lib.apache import Apache, installed
from lib.crowd import Stock, crowd
from lib.forwarder import Forwarder
from lib.frontends import REQUESTS
from lib.proc import CI
from lib.registry import Registry
from test_counting_crowd import APPENDED, WAYS, check, forged
from test_nginx_clients import check_clients_are_known, finish, watch

pytestmark = [pytest.mark.needs_pulltap,
              pytest.mark.skipif(not installed() and not CI, reason="apache2 is not installed")]
REMOTEIP = """
RemoteIPHeader X-Forwarded-For
RemoteIPInternalProxy 127.0.2.0/24
"""


@pytest.fixture
def registry(keep):
    return keep(Registry()).start()


# the others as well in `make test-frontends`
@pytest.mark.parametrize("way", WAYS if REQUESTS >= 50000 else list(WAYS)[:1])
def test_64_clients_behind_a_trusted_proxy_of_apache_each_get_their_own(keep, registry, database,
                                                                        way):
    apache = keep(Apache(registry.port)).start()
    stock = Stock(registry)
    proxy = keep(Forwarder(apache.port, WAYS[way], "127.0.2.1")).start()
    agent = watch(keep, apache, database, "--trusted-proxy", "127.0.2.0/24")
    clients = crowd(stock, proxy.port, headers=forged)
    finish(apache, agent)
    check(database, clients)


def test_with_remoteip_the_address_is_the_one_that_apache_believes(keep, registry, database):
    apache = keep(Apache(registry.port, modules=("remoteip",), main=REMOTEIP)).start()
    stock = Stock(registry)
    proxy = keep(Forwarder(apache.port, APPENDED, "127.0.2.1")).start()
    agent = watch(keep, apache, database)
    clients = crowd(stock, proxy.port)
    finish(apache, agent)
    check(database, clients)


@pytest.mark.parametrize("tls,http2", [(False, False), (True, True)], ids=["plain", "http2"])
def test_apache_knows_its_clients(keep, registry, database, folder, tls, http2):
    apache = keep(Apache(registry.port, tls, http2)).start()
    check_clients_are_known(keep, registry, database, folder, apache, http2)
