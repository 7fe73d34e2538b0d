"""What Vitne costs: ``make bench``. Loads go through the real contracts; nothing here gates a test."""
