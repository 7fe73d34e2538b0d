"""Runs the road again and again with a synthetic learner, and says where it is blocked."""
