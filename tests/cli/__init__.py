"""Tests of the command line, against a small gateway of their own."""
