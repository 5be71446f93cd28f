"""`pytest scenarios/` runs the scenarios, not the tests of what they work on."""

collect_ignore_glob = ["*/tests"]
