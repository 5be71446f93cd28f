"""The `mma` command: its commands, what they print, and the codes they exit with."""
