"""The commands about accounts, clients, sessions, tokens and signing keys: one module for each group, named as the group.

A command reads the settings, opens a store, does one thing, and prints what it did. A slow import that only one command of a
module needs stands inside that command.
"""
