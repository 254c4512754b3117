"""What the models of the tests do, whatever the framework: find an action, learn that an account is missing, call again."""

import json
import urllib.request

FIND = ("search_skills", {"query": "get a repository", "integration": "github"})


class Plan:
    """A model's next step by what it has been answered so far, and the person who connects what it asks for."""

    def __init__(self, url, key, token, user):
        self.gateway, self.key, self.token, self.user = url.removesuffix("/mcp"), key, token, user
        self.met = {}

    def next(self, tools, answers):
        """The name and the arguments of the next tool; None where there is nothing left to do."""
        call = {"integration": "github", "action": "get_repo", "params": {"repo": "acme/webapp"}, "user": self.user}
        self.met["tools"] = sorted(tools)
        if not answers:
            return FIND
        if len(answers) == 1:
            self.met["found"] = "get_repo" in answers[0]
            return "call_skill", call
        if len(answers) == 2:
            # The model shows the link to its person; here they connect by a token of theirs.
            self.met["link"] = f"{self.gateway}/connect/new?t=" in answers[1]
            self._connect()
            return "call_skill", call
        self.met["answer"] = "full_name" in answers[2]
        return None

    def _connect(self):
        body = {"integration": "github", "user": self.user, "credentials": {"token": self.token}}
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.gateway}/v1/connect", json.dumps(body).encode(), headers)  # noqa: S310
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            assert answer.status == 200
