"""What happens to a call. No web framework, no database driver.

`gateway.py` is the way of a call; its parts stand in packages that import downwards only: `runs`, `messages` and
`people` on `calls`, those on `connections`, `requests` and `tenants`. What all of them use stands beside this file.
"""
