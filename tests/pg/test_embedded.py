# SPDX-License-Identifier: MIT
"""The private cluster of a machine without configuration."""
import os
import shutil
import stat
import subprocess
import tempfile
import time

import pytest
from model import GET, digest, record, window


@pytest.fixture
def place():
    """A folder that an unprivileged user may walk through; pytest's own are closed."""
    folder = tempfile.mkdtemp(prefix="pulltap-embedded-")
    os.chmod(folder, 0o755)
    yield folder
    pid_files = [os.path.join(path, "postmaster.pid") for path, _, files in os.walk(folder)
                 if "postmaster.pid" in files]
    for path in pid_files:
        with open(path) as file:
            os.kill(int(file.readline()), 3)
    shutil.rmtree(folder, ignore_errors=True)


def start(tools, folder, **more):
    tool = tools("dbname=unused")
    return tool, tool.ask("embedded", dir=folder, migrate=True, **more)


def connect(conninfo, sql):
    return subprocess.run(["psql", "-XAtqc", sql, conninfo], capture_output=True, text=True)


def test_first_start_makes_a_cluster_that_windows_go_to(tools, place):
    tool, answer = start(tools, place + "/state")
    assert answer["err"] == 0, tool.stderr()
    assert not answer["before"] and answer["during"]
    tools(answer["conninfo"]).apply(window(record(GET, "v1", digest(1))))
    assert connect(answer["conninfo"], "select pulls from pulltap.tags").stdout == "1\n"
    assert connect(answer["conninfo"], "show listen_addresses").stdout == "\n"


def test_second_start_uses_the_running_one_and_leaves_it(tools, place):
    _, first = start(tools, place + "/state")
    _, second = start(tools, place + "/state", stop=True)
    assert first["err"] == second["err"] == 0
    assert second["before"] and second["after"]  # not its own: not stopped
    assert connect(first["conninfo"], "select 1").stdout == "1\n"


def test_starts_at_once_share_one_cluster(tools, place):
    made = [tools("dbname=unused") for _ in range(3)]
    import json
    for tool in made:
        tool.process.stdin.write(json.dumps({"cmd": "embedded", "dir": place + "/s",
                                             "migrate": True}) + "\n")
        tool.process.stdin.flush()
    answers = [json.loads(tool.process.stdout.readline()) for tool in made]
    assert [a["err"] for a in answers] == [0, 0, 0], [tool.stderr() for tool in made]


def test_stop_and_start_keep_what_was_counted(tools, place):
    tool, answer = start(tools, place + "/state")
    tools(answer["conninfo"]).apply(window(record(GET, "v1", digest(1))))
    with open(place + "/state/postgres/postmaster.pid") as file:
        os.kill(int(file.readline()), 9)
    tool.close()  # the agent dies with it: nobody is left to collect the dead server
    time.sleep(0.5)
    for _ in range(2):  # after a crash, and after a stop of its own
        tool, again = start(tools, place + "/state", stop=True)
        assert again["err"] == 0, tool.stderr()
        assert not again["after"]
    _, last = start(tools, place + "/state")
    assert connect(last["conninfo"], "select pulls from pulltap.tags").stdout == "1\n"


def test_path_too_long_for_a_socket_gets_a_short_one(tools, place):
    deep = place + "/" + "d" * 60 + "/" + "e" * 60
    os.makedirs(deep)
    tool, answer = start(tools, deep, stop=True)
    assert answer["err"] == 0, tool.stderr()
    folder = answer["conninfo"].split("'")[1]
    assert "/pulltap-" in folder and len(folder) < 80
    shutil.rmtree(folder)


def test_odd_characters_in_the_path_are_no_trouble(tools, place):
    tool, answer = start(tools, place + "/it's a \"state\" $HOME \\ ;x", stop=False)
    assert answer["err"] == 0, tool.stderr()
    assert connect(answer["conninfo"], "select 1").stdout == "1\n"


def test_leftover_of_an_interrupted_initdb_is_removed(tools, place):
    os.makedirs(place + "/state/postgres.new/base")
    tool, answer = start(tools, place + "/state")
    assert answer["err"] == 0, tool.stderr()
    assert not os.path.exists(place + "/state/postgres.new")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user run the server")
def test_root_runs_it_as_another_user_behind_closed_folders(tools, place):
    _, answer = start(tools, place + "/state")
    assert answer["err"] == 0
    socket = os.stat(place + "/state/socket")
    assert stat.S_IMODE(socket.st_mode) & 0o007 == 0
    assert os.stat(place + "/state/postgres").st_uid == socket.st_uid != 0
    as_nobody = subprocess.run(["setpriv", "--reuid", "nobody", "--regid", "nogroup",
                                "--clear-groups", "psql", "-XAtqc", "select 1",
                                answer["conninfo"]], capture_output=True, text=True)
    assert "Permission denied" in as_nobody.stderr
    # root without its right to override permissions, as a hardened service has it
    bare = subprocess.run(["setpriv", "--bounding-set=-dac_override,-dac_read_search",
                           "psql", "-XAtqc", "select 1", answer["conninfo"]],
                          capture_output=True, text=True)
    assert bare.stdout == "1\n", bare.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user run the server")
def test_folder_that_the_server_can_not_reach_is_named(tools, place):
    os.mkdir(place + "/closed", 0o700)
    tool, answer = start(tools, place + "/closed/state")
    assert answer["err"] == -5
    assert f'path="{place}/closed"' in tool.stderr() and "chmod o+x" in tool.stderr()


def test_state_that_can_not_be_written_is_named(tools, place):
    with open(place + "/file", "w"):
        pass
    tool, answer = start(tools, place + "/file/state")
    assert answer["err"] == -5
    assert "the state folder can't be used" in tool.stderr()


def test_cluster_of_a_version_that_is_not_installed_is_named(tools, place):
    start(tools, place + "/state", stop=True)
    with open(place + "/state/postgres/PG_VERSION", "w") as file:
        file.write("9.6\n")
    tool, answer = start(tools, place + "/state")
    assert answer["err"] in (-2, -5), answer
    assert "postgresql-9.6" in tool.stderr() or "not compatible" in tool.stderr()
