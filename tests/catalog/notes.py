"""A small definition that uses most of the format, and the way to break it in one place."""

from __future__ import annotations

NOTES = """\
slug: notes
name: Notes
description: Keeps the notes of a team.
categories: [productivity]
version: 1.2.0
docs_url: https://notes.example/docs
base_url: https://{team}.notes.example/v1
headers: {Accept: application/json, X-Team: "{team}"}
auth:
  - name: key
    type: api_key
    title: API key
    in: header
    as: X-API-Key
    pattern: ^nk_
  - name: oauth
    type: oauth2
    authorization_url: https://notes.example/oauth/authorize
    token_url: https://{team}.notes.example/oauth/token
    scopes: {default: [read], separator: ",", implies: {write: [read]}}
    copy_from_token: {team: team.slug}
connection:
  team: {title: Team, host: label}
  folder: {title: Folder, required: false, default_for: folder}
whoami: {action: get_me, account: user.email, account_id: user.id}
upstream_limits:
  per_connection: {requests: 60, window: 1m}
  actions: {create_note: {requests: 10, window: 1h}}
$defs:
  tag: {type: string, minLength: 1, description: One word.}
actions:
  get_me:
    description: Tell whose key this is.
    request: GET /me
    examples:
      - response: {status: 200, data: {user: {id: 7, email: ada@notes.example}}}
  list_notes:
    category: notes
    description: List the notes of a folder.
    request: GET /folders/{folder}/notes
    params:
      folder: {type: string, description: Name of the folder., required: true}
      tags: {type: array, items: {$ref: "#/$defs/tag"}, explode: false, description: Only notes with them.}
      order: {type: string, enum: [newest, oldest], default: newest, description: Which come first.}
      format: {const: full}
    page: {type: page, items: notes, param: order}
    examples:
      - params: {folder: home, tags: [a, b]}
        response: {status: 200, data: {notes: [{id: 1}]}}
  create_note:
    category: notes
    description: Write a note into a folder.
    request: POST /folders/{folder}/notes
    effect: create
    scopes: [write]
    timeout: 1m
    params:
      folder: {type: string, description: Name of the folder., required: true}
      title: {type: string, maxLength: 200, description: Its title., required: true}
      author: {type: string, as: meta.author, description: Who wrote it.}
      language: {type: string, in: header, as: Accept-Language, description: Language of it.}
    poll: {action: get_note, id: note.id, status: state, done: [ready], every: 3s}
    errors:
      - {status: 409, fix: Take another title.}
    examples:
      - params: {folder: home, title: Milk}
        response: {status: 201, data: {note: {id: 9}}}
  get_note:
    category: notes
    description: Read a note by its id.
    request: GET /notes/{id}
    params:
      id: {type: integer, description: Its id., required: true}
    examples:
      - params: {id: 9}
        response: {status: 200, data: {id: 9, state: ready}}
  attach_file:
    category: files
    description: Attach a file to a note.
    request: POST /notes/{id}/files
    effect: create
    auth: [key]
    params:
      id: {type: integer, description: Its id., required: true}
      file: {in: file, description: The file., required: true}
      caption: {type: string, description: Words under it.}
    examples:
      - params: {id: 9, file: {content: aGk=, filename: hi.txt}}
        response: {status: 201, data: {id: 3}}
"""


def broken(old: str, new: str) -> str:
    """The definition with one place changed."""
    assert NOTES.count(old) >= 1, f"{old!r} is not in the definition"
    return NOTES.replace(old, new, 1)


def line_of(text: str, part: str) -> int:
    """The line where a part of the text begins, from 1."""
    assert part in text, part
    return text[: text.index(part)].count("\n") + 1
