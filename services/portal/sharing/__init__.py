"""Sharing: what a learner shows to whom, for how long, and what a stranger is told when looking."""
