"""Who is given what: each part of the gateway, put together from the parts before it."""
