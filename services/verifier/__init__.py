"""The verifier: what a relying party may believe of a credential, check by check, and why."""
