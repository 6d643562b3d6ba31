# SPDX-License-Identifier: MIT
"""What the programs make of a server's reads and writes, call by call: each request ends in the
counter that says what became of it, and no reply is ever joined to another's request.
build/tools/tls_memory makes the calls."""

import pytest

import watching
from watching import MemoryTool, TOOLS, Watch

DIGEST = "sha256:" + "00112233445566778899aabbccddeeff" * 2
END = "\r\n\r\n"


@pytest.fixture(scope="module")
def watch():
    if not (TOOLS / "tls_memory").exists():
        watching.missing(f"{TOOLS}/tls_memory is not built")
    watch = Watch(window=3600, hint=300)  # nothing is drained while the test looks
    yield watch
    watch.close()


@pytest.fixture
def act(watch):
    """act(seen, CALL...) -> the counters that rose."""
    with MemoryTool(watch, "tls_memory") as tool:
        def do(seen, *calls, whose="own"):
            rose = tool.run(whose, *calls, seen)
            do.keys = {(name, tag): count for (name, tag, _), count in tool.keys.items()}
            do.digests = {digest for _, _, digest in tool.keys}
            return rose

        yield do


def get(tag="t", method="GET", name="a", headers="Host: x"):
    return f"{method} /v2/{name}/manifests/{tag} HTTP/1.1\r\n{headers}{END}"


def reply(status=200, body="", digest=DIGEST, length=None, headers=""):
    named = f"docker-content-digest: {digest}\r\n" if digest else ""
    return (f"HTTP/1.1 {status} X\r\n{named}{headers}Content-Length: "
            f"{len(body) if length is None else length}{END}{body}")


def test_a_request_and_its_reply_are_one_count_with_the_replys_digest(act):
    assert act(1, "0.r:" + get(), "0.w:" + reply(body="{}")) == {"counted": 1}
    assert act.keys == {("a", "t"): 1}
    assert act.digests == {DIGEST}


def test_a_reply_cut_at_any_byte_is_the_same(act):
    request, answer = get(), reply(body="{}")
    for cut in range(1, len(request), 7):
        assert act(1, "0.r:" + request[:cut], "0.r:" + request[cut:],
                   "0.w:" + answer) == {"counted": 1}
    for cut in range(1, len(answer), 7):
        assert act(1, "0.r:" + request, "0.w:" + answer[:cut],
                   "0.w:" + answer[cut:]) == {"counted": 1}
        assert act.digests == {DIGEST}


def test_pipelined_requests_have_their_replies_in_order(act):
    asks = get("one") + get("two", "HEAD") + "GET /v2/ HTTP/1.1" + END + get("three")
    answers = (reply(body="HTTP/1.1 200 OK" + END) + reply(length=99) + reply(body="x")
               + reply(404, "gone"))
    expected = {"counted": 2, "filtered_not_manifest": 1, "filtered_status_404": 1}
    assert act(4, "0.r:" + asks, "0.w:" + answers) == expected
    assert act.keys == {("a", "one"): 1, ("a", "two"): 1}
    assert act(4, "0.r:" + asks, *["0.w:" + answers[i:i + 50]
                                   for i in range(0, len(answers), 50)]) == expected


def test_a_body_is_never_taken_for_a_reply(act):
    """Also when the next request is there before the body is out."""
    fake = reply()
    assert act(2, "0.r:" + get("one"), "0.w:" + reply(length=3 * len(fake)), "0.w:" + fake,
               "0.r:" + get("two"), "0.w:" + fake, "0.w:" + fake, "0.w:" + reply(404)) == {
                   "counted": 1, "filtered_status_404": 1}
    assert act.keys == {("a", "one"): 1}


def test_a_pushs_body_is_never_taken_for_a_request(act):
    push = get("new", "PUT", headers=f"Content-Length: {2 * len(get())}")
    assert act(2, "0.r:" + push + get(), "0.r:" + get(), "0.w:" + reply(201),
               "0.r:" + get("next"), "0.w:" + reply()) == {"counted": 2}
    assert act.keys == {("a", "new"): 1, ("a", "next"): 1}
    chunks = get("new", "PUT", headers="Transfer-Encoding: chunked")
    body = f"{len(get()):x}\r\n{get()}\r\n"
    assert act(1, "0.r:" + chunks, "0.r:" + body[:9], "0.r:" + body[9:] + body,
               "0.r:0" + END, "0.w:HTTP/1.1 100 Continue" + END, "0.w:" + reply(201)) == {
                   "counted": 1}


def test_a_write_that_is_made_again_is_one(act):
    first, second = reply(body="1"), reply(404)
    for again in (["0.x:" + first], ["0.x:" + first] * 3,
                  ["0.x:" + first, "0.r:" + get("three")]):  # the state says reading then
        count = 3 if len(again) > 1 and "three" in again[1] else 2
        more = ["0.w:" + reply()] if count == 3 else []
        rose = act(count, "0.r:" + get("one") + get("two"), *again, "0.w:" + first,
                   "0.w:" + second, *more)
        assert rose == {"counted": count - 1, "filtered_status_404": 1}
        assert ("a", "two") not in act.keys
    # a piece of a body as well
    assert act(2, "0.r:" + get("one"), "0.w:" + reply(length=200), "0.x:" + "b" * 100,
               "0.x:" + "b" * 100, "0.w:" + "b" * 100, "0.r:" + get("two"), "0.w:" + "b" * 100,
               "0.w:" + second) == {"counted": 1, "filtered_status_404": 1}


def test_a_write_that_was_accepted_in_part_goes_on(act):
    body = "HTTP/1.1 200 OK" + END
    answer = reply(body=body * 2000)
    assert act(2, "0.r:" + get("one") + get("two"), "0.p:16384:" + answer,
               "0.w:" + reply(404)) == {"counted": 1, "filtered_status_404": 1}


def test_replies_of_information_end_no_request(act):
    early = "HTTP/1.1 103 Early Hints\r\nLink: x" + END
    assert act(1, "0.r:" + get(), "0.w:HTTP/1.1 100 Continue" + END + early,
               "0.w:" + early + reply()) == {"counted": 1}


def test_a_connection_that_ends_without_a_reply_is_unanswered(act):
    assert act(2, "0.r:" + get() + get(), "0.f:") == {"filtered_unanswered": 2}
    # and its address is the next one's
    assert act(1, "0.r:" + get(), "0.w:" + reply()) == {"counted": 1}


def test_what_is_no_request_leaves_its_connection_alone(act):
    assert act(1, "0.r:PRI * HTTP/2.0" + END + "SM" + END, "0.w:" + reply(),
               "0.r:" + get()) == {"lost_h2_unparsed": 1}
    assert act(1, "1.w:" + get(), "1.r:" + reply(), "1.w:" + get()) == {"filtered_client_role": 1}
    assert act(1, "2.r:" + reply(), "2.w:" + get()) == {"filtered_client_role": 1}
    mail = ["3.r:EHLO\r\n", "3.w:250 X\r\n", "3.r:QUIT\r\n"]
    assert act(1, *mail) == {"filtered_not_http": 1}
    # it may be one that was there before the probe: what is a request is not silent
    assert act(2, *mail, "3.r:" + get()) == {"filtered_not_http": 1, "lost_out_of_step": 1}
    assert act.keys == {}


def test_a_tunnel_is_left_alone(act):
    assert act(1, "0.r:CONNECT a:1 HTTP/1.1" + END, "0.w:HTTP/1.1 200 X" + END,
               "0.r:" + get(), "0.w:" + reply()) == {"filtered_method": 1}
    assert act(1, "1.r:" + get("t", headers="Upgrade: x"), "1.w:HTTP/1.1 101 X" + END,
               "1.r:" + get(), "1.w:" + reply()) == {"filtered_status_1xx": 1}


@pytest.mark.parametrize("head", [
    "Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Host: x\r\n folded", "Content-Length : 5", "Host: x\nHost: y"])
def test_a_head_that_servers_read_differently_counts_nothing_behind_it(act, head):
    """Of itself it is known what it asks; of a refusal, too, whatever follows."""
    bad = get("bad", "PUT", headers=head)
    assert act(3, "0.r:" + bad + get("smuggled"), "0.w:" + reply(201), "0.w:" + reply(),
               "0.r:" + get("more"), "0.w:" + reply()) == {"counted": 1, "lost_head_refused": 2}
    assert act.keys == {("a", "bad"): 1}
    assert act(2, "1.r:" + bad + get("smuggled"), "1.w:" + reply(400),
               "1.w:" + reply(400), "1.f:") == {"filtered_status_4xx": 2}


def test_a_request_line_that_is_none_is_lost_only_if_it_is_answered_well(act):
    line = "GET  /v2/a/manifests/t HTTP/1.1" + END
    assert act(1, "0.r:" + line, "0.w:" + reply(400)) == {"filtered_status_4xx": 1}
    assert act(1, "1.r:" + line, "1.w:" + reply()) == {"lost_head_refused": 1}


def test_more_requests_at_once_than_are_followed_are_lost(act):
    rose = act(33, "0.m:40", *["0.w:" + reply()] * 33)
    assert rose == {"filtered_not_manifest": 32, "lost_pipelined": 1}


def test_a_reply_that_nobody_asked_for_gives_the_connection_up(act):
    assert act(3, "0.r:" + get("one"), "0.w:" + reply(), "0.w:" + reply(),
               "0.r:" + get("two"), "0.w:" + reply()) == {"counted": 1, "lost_out_of_step": 2}
    assert act(2, "1.r:" + get("one"), "1.w:" + reply(), "1.w:" + reply(408)) == {
        "counted": 1, "filtered_status_4xx": 1}
    # a longer body than its length says, and requests that wait
    assert act(3, "2.r:" + get("one") + get("two") + get("three"),
               "2.w:" + reply(body="1", length=0)) == {"counted": 1, "lost_out_of_step": 2}
    assert set(act.keys) == {("a", "one")}


def test_memory_that_is_not_there_is_a_fault(act):
    assert act(1, "0.u:", "0.w:" + reply()) == {"lost_fault": 1}
    assert act(2, "1.r:" + get(), "1.u:", "1.w:" + reply(), "1.w:" + reply()) == {
        "counted": 1, "lost_fault": 1}


def test_a_read_of_unknown_length_loses_the_reply_that_follows(act):
    assert act(1, "2.a:", "2.w:" + reply(), "2.w:" + reply()) == {"lost_fault": 1}
    # a client's connection is left alone all the same
    assert act(1, "3.w:GET / HTTP/1.1" + END, "3.a:", "3.w:" + reply()) == {
        "filtered_client_role": 1}


def test_requests_that_find_no_room_are_lost_by_name(watch, act):
    """16,384 wait for their replies at most; those behind are answered, and in their counter."""
    asked = 600 * 31
    assert act(asked, "0.c:600") == {"counted": 16384, "note_digest_missing": 16384,
                                     "lost_connection_full": asked - 16384}
    assert watching.dump_map(watch.agent.bpffs + "/tls_requests") == []
    assert act(1, "0.r:" + get(), "0.w:" + reply()) == {"counted": 1}, "there is room again"


def test_a_process_of_another_program_is_nobodys(act):
    assert act(0, "0.r:" + get(), "0.w:" + reply(), "0.f:", whose="other") == {}


def test_a_head_and_its_get_on_one_connection_are_one_pull(watch, act):
    fetched = f"GET /v2/a/manifests/{DIGEST} HTTP/1.1{END}"
    assert act(2, "0.r:" + get("t", "HEAD"), "0.w:" + reply(length=9), "0.r:" + fetched,
               "0.w:" + reply(body="123456789")) == {"counted": 2}
    hinted = [entry["key"] for entry in watching.dump_map(
        watching.active_window(watch) + "/counts") if entry["key"]["op"] == "PT_OP_HINTED_GET"]
    assert [(key["tag"], key["digest"]) for key in hinted] == [("t", DIGEST)]


def test_a_connection_that_was_closed_uncounted_takes_no_room(watch, act):
    for _ in range(3):
        act(1, "0.r:" + get(), "0.w:" + reply(), "0.r:" + get()[:30], "0.f:")
    assert watching.dump_map(watch.agent.bpffs + "/tls_requests") == []
