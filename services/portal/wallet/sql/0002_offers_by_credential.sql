-- Offers of a credential that is withdrawn from this hub end with it, whosever they are.
CREATE INDEX wallet_offer_handle ON wallet_offer (handle);
