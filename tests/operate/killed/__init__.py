"""A sequencer that is killed."""
