# SPDX-License-Identifier: MIT
"""curl as the plainest client there is: GET, and If-None-Match for what it fetched before."""
import json
import os
from urllib.parse import quote

from .clients import Client
from .images import ACCEPT
from servers.token_server import SERVICE


class Curl(Client):
    name, programs, package = "curl", ("curl",), "curl"

    def _get(self, url, *arguments):
        return self.run([self.path["curl"], "--fail-with-body", "--silent", "--show-error",
                         "--http1.1", *arguments, url]).stdout

    def _access(self, registry, repository):
        made = ["--cacert", registry.ca] if registry.tls else []
        if registry.tokens:
            scope = quote(f"repository:{repository}:pull")
            answer = self._get(f"{registry.tokens.realm}?service={quote(SERVICE)}&scope={scope}",
                               "--user", ":".join(registry.user))
            made += ["--header", "Authorization: Bearer " + json.loads(answer)["token"]]
        elif registry.user:
            made += ["--user", ":".join(registry.user)]
        return made

    def pull(self, registry, repository, name):
        """The manifest and, where it is an index, the one for this platform."""
        access = self._access(registry, repository)
        base = f"{registry.url}/v2/{repository}/manifests/"
        kept = self.folder / quote(f"{repository}@{name}", safe="")
        known = ["--etag-compare", kept] if os.path.exists(kept) else []
        text = self._get(base + name, "--header", "Accept: " + ACCEPT, *access, *known,
                         "--etag-save", kept)
        if not text:
            return  # 304
        for one in json.loads(text).get("manifests", []):
            if one["platform"]["architecture"] == "amd64":
                self._get(base + one["digest"], "--header", "Accept: " + ACCEPT, *access)
