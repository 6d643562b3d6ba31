# SPDX-License-Identifier: MIT
"""
What rules, trusted proxies and kinds of client add to one hit: build/tools/go_memory replays one
GET by tag, with each of them on against none of it, in alternated rounds. CPU of the calling process
per call.

    make tools && /usr/bin/python3 tests/bench/rules.py [ROUNDS]
"""
import os
import statistics
import sys
import tempfile

import attribution

# its User-Agent is docker's, its peer 192.0.2.1, which 198.51.100.7 stands behind
CASES = {
    "one rule by reference": ("exclude a reference=sha256-*\n", []),
    "32 rules by reference": ("exclude a reference=sha256-*\n" * 32, []),
    "one rule by peer": ("exclude a peer=10.0.0.0/8\n", []),
    "one rule by User-Agent, beginning": ("exclude a user-agent=trivy*\n", []),
    "one rule by User-Agent, any part": ("exclude a user-agent=*trivy*\n", []),
    "--clients": ("", ["--clients"]),
    "trusted proxy, another's peer": ("exclude a peer=10.0.0.0/8\n",
                                      ["--trusted-proxy", "10.0.0.0/8"]),
    "trusted proxy, X-Forwarded-For": ("exclude a peer=10.0.0.0/8\n",
                                       ["--trusted-proxy", "192.0.2.0/24"]),
    "excluded": ("exclude a peer=192.0.2.0/24\n", []),
}


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    with tempfile.TemporaryDirectory(prefix="pulltap-bench-") as folder:
        agents = {"none": attribution.Agent(0)}
        try:
            for number, (name, (text, arguments)) in enumerate(CASES.items()):
                path = os.path.join(folder, str(number))
                with open(path, "w") as file:
                    file.write(text)
                agents[name] = attribution.Agent(0, ["--rules", path, *arguments])
            spent = {name: [] for name in agents}
            for _ in range(rounds):
                for name, agent in agents.items():
                    spent[name].append(agent.cost("small", "none"))
        finally:
            for agent in agents.values():
                agent.stop()
    print("CPU of one call, ns: median (least..most)")
    print(f"  {'no rules':<36} {attribution.text(spent['none'])}")
    for name in CASES:
        added = [on - off for on, off in zip(spent[name], spent["none"])]
        print(f"  {name:<36} {attribution.text(spent[name])}  "
              f"added {statistics.median(added):5.0f}")


if __name__ == "__main__":
    main()
