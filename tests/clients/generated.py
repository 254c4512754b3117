"""Uses the client that openapi-python-client made: argv has the gateway's address and a key. Prints what came back."""

import json
import sys

from skillway_client import AuthenticatedClient
from skillway_client.api.discovery import search_actions
from skillway_client.api.github import github_create_issue
from skillway_client.models import GithubCreateIssue, GithubCreateIssueBody, Refusal, Result

url, key = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=key)

found = search_actions.sync(client=client, q="create issue", limit=1)
params = GithubCreateIssue(repo="acme/webapp", title="Bug report", labels=["bug"])
opened = github_create_issue.sync(client=client, body=GithubCreateIssueBody(params=params))
assert isinstance(opened, Result)
nameless = GithubCreateIssue(repo="acme/webapp", title="")
refused = github_create_issue.sync(client=client, body=GithubCreateIssueBody(params=nameless))
assert isinstance(refused, Refusal)
met = {
    "found": [skill.action for skill in found.skills],
    "opened": [opened.status, opened.data["title"]],
    "refused": [refused.error, refused.message],
}
print(json.dumps(met))
