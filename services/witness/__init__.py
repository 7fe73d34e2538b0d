"""A witness (C2SP tlog-witness): watches that logs only grow, and says so with a time."""
