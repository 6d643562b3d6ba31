# SPDX-License-Identifier: MIT
"""What every test asks of the database at its end."""
from .truth import SentTruth, changes


def check(postgres, truth, registry="test", hits=None):
    """
    Every total of every tag and manifest equals the access log; the kernel lost nothing; every
    window's conservation ledger balances. hits: what the windows must have seen together.
    """
    differences = truth.differences(postgres.tags(registry), postgres.manifests(registry))
    assert not differences, (f"{len(differences)} totals differ, the first ones:\n"
                             + "\n".join(differences[:20]) + "\n" + describe(postgres))
    check_windows(postgres)
    sums = postgres.rows("select coalesce(sum(seen), 0) as seen, coalesce(sum(counted), 0) as "
                         "counted, coalesce(sum(filtered), 0) as filtered from pulltap.windows")[0]
    if hits is not None:
        # a function that starts over on a larger stack is a hit of its own
        restarts = counter(postgres, "filtered_stack_growth")
        assert sums["seen"] - restarts == hits, (sums, restarts, describe(postgres))
    return sums


def check_windows(postgres):
    """Every window balances, nothing was lost or refused."""
    lost = postgres.rows("select reason, sum(count) as count from pulltap.losses group by 1")
    assert lost == [], lost
    unbalanced = postgres.rows("select * from pulltap.windows where not balanced or lost <> 0")
    assert unbalanced == [], unbalanced[:5]
    assert postgres.rows("select * from pulltap.rejects") == []


def check_front_end(database, server, agent, since=0, hints=False):
    """Everything that the server logged is in the books, to the unit."""
    server.settle()
    agent.stop()
    logged = server.requests(since)
    truth = SentTruth(hints).feed(logged)
    check(database, truth, hits=len(logged))
    return logged, truth


def check_tls(database, server, agent):
    """
    The same by what passes through OpenSSL, where connections are hits as well. The agent may be
    started again.
    """
    server.settle()
    agent.pause()
    logged = server.requests()
    truth = SentTruth().feed(logged)
    sums = check(database, truth)
    assert sums["counted"] == changes(logged), describe(database)
    return logged, truth


def counter(postgres, name):
    return postgres.value(f"select coalesce(sum((counters ->> '{name}')::bigint), 0) as sum "
                          "from pulltap.windows")


def describe(postgres):
    """The books in a line, for a failure's message."""
    rows = postgres.rows("select c.key, sum(c.value::bigint) as sum from pulltap.windows w "
                         "cross join lateral jsonb_each_text(w.counters) c group by 1 order by 1")
    return "books: " + " ".join(f"{row['key']}={row['sum']}" for row in rows)
