# SPDX-License-Identifier: MIT
"""Real parts for the end-to-end tests: a registry, its clients, a database, the agent, the truth."""
