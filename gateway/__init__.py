"""The gateway: joins what can be called with how we are let in, and answers over REST, pages and a command line."""
