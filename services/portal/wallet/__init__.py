"""Transfer to a wallet: OpenID for Verifiable Credential Issuance 1.0, pre-authorized code flow (decision 37)."""
